import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ActionType,
  AssignedActionSchema,
  SubscribeToWorkflowRunsRequestSchema,
  WorkflowRunEventSchema,
} from "../../gen/dispatcher/dispatcher_pb.ts";
import { GetRunDetailsRequestSchema } from "../../gen/v1/workflows_pb.ts";
import { id } from "../remote.ts";
import { beat, envelope } from "../wire/server.ts";

/** How a stream is cut: with OK, with a status, by a reset, or with its whole connection. */
const fates = ["ok", "status", "reset", "connection"] as const;

/** The run that never ends. */
export const resting: string = id(3);

const head = { ":status": 200, "content-type": "application/grpc" };
const start = envelope(toBinary(
  AssignedActionSchema,
  create(AssignedActionSchema, {
    actionId: "double:double",
    actionPayload: `{"input":{"number":21}}`,
    actionType: ActionType.START_STEP_RUN,
    taskRunExternalId: id(1),
    workflowRunId: id(1),
  }),
));
const batchSize = 100;
const batch = new Uint8Array(Array.from({ length: batchSize }, () => [...start]).flat());

/** A server that keeps nothing of what it served, so that whatever grows is the client's. */
export class Peer {
  readonly #server: Http2Server;
  readonly #listeners = new Set<ServerHttp2Stream>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #cutsLeft = 0;
  #cuts = 0;

  private constructor() {
    this.#server = createServer({ streamResetBurst: 1e9, streamResetRate: 1e9 });
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("error", ignore).once("close", () => this.#sessions.delete(session));
    });
    this.#server.on("stream", (stream, headers) => this.#serve(stream, String(headers[":path"]).split("/")[2] ?? ""));
  }

  static async open(): Promise<Peer> {
    const peer = new Peer();
    await new Promise<void>((resolve) => peer.#server.listen(0, "127.0.0.1", resolve));
    return peer;
  }

  get hostPort(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`; // What listens on TCP has no other.
  }

  /** Whether nothing is left to be cut, and an action stream has come in the place of the last. */
  get rests(): boolean {
    return this.#cutsLeft === 0 && this.#listeners.size === 1;
  }

  /** Sends so many actions. */
  async flood(count: number): Promise<void> {
    for (const stream of this.#listeners) {
      for (let left = count; left > 0; left -= batchSize) {
        const more = stream.write(left >= batchSize ? batch : batch.subarray(0, left * start.length));
        if (!more) await new Promise((resolve) => stream.once("drain", resolve));
      }
    }
  }

  /** Cuts the action stream, and each that comes in its place, so many times. */
  cut(count: number): void {
    this.#cutsLeft += count;
    for (const stream of this.#listeners) this.#end(stream);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  #serve(stream: ServerHttp2Stream, method: string): void {
    stream.on("error", ignore);
    switch (method) {
      case "Heartbeat":
        stream.resume();
        return answer(stream, beat, "0");
      case "ListenV2":
        stream.resume();
        stream.respond(head, { waitForTrailers: true });
        stream.write(start);
        this.#listeners.add(stream);
        stream.once("close", () => this.#listeners.delete(stream));
        return void setImmediate(() => this.#end(stream));
      case "SubscribeToWorkflowRuns":
        stream.respond(head);
        return finish(stream);
      case "GetRunDetails":
        return details(stream);
      default:
        stream.resume(); // Never answered: whoever asks must leave by itself.
    }
  }

  #end(stream: ServerHttp2Stream): void {
    if (this.#cutsLeft === 0 || stream.destroyed) return;
    this.#cutsLeft--;
    this.#listeners.delete(stream);
    switch (fates[this.#cuts++ % fates.length]) {
      case "ok":
        return end(stream, "0");
      case "status":
        return end(stream, "14");
      case "reset":
        // Bun's server has no reset that ends a stream with something still to be written.
        if ("bun" in process.versions) stream.session?.destroy();
        else stream.close(8);
        return;
      case "connection":
        stream.session?.destroy();
    }
  }
}

/** Says of the run that is waited for all the time that it goes on; whoever asks for another must leave by itself. */
function details(stream: ServerHttp2Stream): void {
  stream.once("data", (chunk: Uint8Array) => {
    const { externalId } = fromBinary(GetRunDetailsRequestSchema, chunk.subarray(5));
    if (externalId === resting) answer(stream, envelope(new Uint8Array()), "0");
  });
}

/** Tells the end of every other run that is asked for: whoever asked for the rest has to leave. */
function finish(stream: ServerHttp2Stream): void {
  let rest: Uint8Array = new Uint8Array();
  stream.on("data", (chunk: Uint8Array) => {
    rest = rest.length === 0 ? chunk : new Uint8Array([...rest, ...chunk]);
    for (;;) {
      if (rest.length < 5) return;
      const end = 5 + new DataView(rest.buffer, rest.byteOffset).getUint32(1);
      if (rest.length < end) return;
      const { workflowRunId } = fromBinary(SubscribeToWorkflowRunsRequestSchema, rest.subarray(5, end));
      rest = rest.subarray(end);
      if (workflowRunId.endsWith("0")) stream.write(finished(workflowRunId));
    }
  });
}

function finished(workflowRunId: string): Uint8Array {
  const results = [{ output: "{}", taskName: "double", taskRunExternalId: workflowRunId }];
  return envelope(toBinary(WorkflowRunEventSchema, create(WorkflowRunEventSchema, { results, workflowRunId })));
}

function answer(stream: ServerHttp2Stream, message: Uint8Array, status: string): void {
  stream.respond(head, { waitForTrailers: true });
  stream.write(message);
  end(stream, status);
}

function end(stream: ServerHttp2Stream, status: string): void {
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": status }));
  stream.end();
}

function ignore(): void {
  // The client left, or we cut it.
}
