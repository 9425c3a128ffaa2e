import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import process from "node:process";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ActionType,
  AssignedActionSchema,
  ResourceEventType,
  ResourceType,
  SubscribeToWorkflowRunsRequestSchema,
  WorkflowEventSchema,
  WorkflowRunEventSchema,
} from "../../gen/dispatcher/dispatcher_pb.ts";
import type { DurableTaskRequest } from "../../gen/v1/dispatcher_pb.ts";
import {
  DurableEventSchema,
  DurableTaskRequestSchema,
  DurableTaskResponseSchema,
  ListenForDurableEventRequestSchema,
} from "../../gen/v1/dispatcher_pb.ts";
import { GetRunDetailsRequestSchema } from "../../gen/v1/workflows_pb.ts";
import { id } from "../remote.ts";
import { beat, envelope } from "../wire/server.ts";

/** How a stream is cut: with OK, with a status, by a reset, or with its whole connection. */
const fates = ["ok", "status", "reset", "connection"] as const;

/** The run that never ends. */
export const resting: string = id(3);

/** The signal, and the label of a durable step, that come to something. */
export const answered = "now";

/** The streams that stay open until they are cut, and how many of each a client at rest has. */
const streams = {
  DurableTask: 1,
  ListenForDurableEvent: 1,
  ListenV2: 1,
  SubscribeToWorkflowEvents: 2,
  SubscribeToWorkflowRuns: 1,
};
type StreamName = keyof typeof streams;

const head = { ":status": 200, "content-type": "application/grpc" };
const action = message(AssignedActionSchema, {
  actionId: "double:double",
  actionPayload: `{"input":{"number":21}}`,
  actionType: ActionType.START_STEP_RUN,
  taskRunExternalId: id(1),
  workflowRunId: id(1),
});
const chunk = message(WorkflowEventSchema, {
  eventPayload: "twenty-one",
  eventType: ResourceEventType.STREAM,
  resourceId: id(1),
  resourceType: ResourceType.STEP_RUN,
  workflowRunId: resting,
});
const nothing = envelope(new Uint8Array());
const batchSize = 100;
const batches = new Map([["ListenV2", batch(action)], ["SubscribeToWorkflowEvents", batch(chunk)]]);

/** A server that keeps nothing of what it served, so that whatever grows is the client's. */
export class Peer {
  readonly #server: Http2Server;
  readonly #open = new Map<ServerHttp2Stream, StreamName>();
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

  /** Whether nothing is left to be cut, and each stream that was cut has come again. */
  get rests(): boolean {
    const open = [...this.#open].filter(([stream]) => !stream.destroyed).map(([, name]) => name);
    return this.#cutsLeft === 0 &&
      Object.entries(streams).every(([name, due]) => open.filter((one) => one === name).length === due);
  }

  /** Sends so many actions, and as many chunks to each who listens to them. */
  async flood(count: number): Promise<void> {
    for (const [stream, name] of this.#open) {
      const { all = new Uint8Array(), size = 0 } = batches.get(name) ?? {};
      for (let left = size === 0 ? 0 : count; left > 0; left -= batchSize) {
        const more = stream.write(left >= batchSize ? all : all.subarray(0, left * size));
        if (!more) await new Promise((resolve) => stream.once("drain", resolve));
      }
    }
  }

  /** Cuts all streams, and each that comes in the place of one, until it has cut so many. */
  cut(count: number): void {
    this.#cutsLeft += count;
    for (const stream of [...this.#open.keys()]) this.#end(stream);
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
        this.#keep(stream, method);
        stream.resume();
        return void stream.write(action);
      case "SubscribeToWorkflowEvents":
        this.#keep(stream, method);
        stream.resume();
        return void stream.write(chunk);
      case "SubscribeToWorkflowRuns":
        this.#keep(stream, method);
        return finish(stream);
      case "ListenForDurableEvent":
        this.#keep(stream, method);
        return signal(stream);
      case "DurableTask":
        this.#keep(stream, method);
        return remember(stream);
      case "GetRunDetails":
        return details(stream);
      case "Unary":
        stream.resume();
        if (!stream.destroyed) answer(stream, nothing, "0");
        return;
      case "Down":
        stream.resume();
        if (stream.destroyed) return;
        stream.respond(head);
        return void stream.write(nothing);
      case "Both":
        return void stream.once("data", () => {
          if (!stream.destroyed) answer(stream, nothing, "0");
        });
      default:
        stream.resume(); // Never answered: whoever asks must leave by itself.
    }
  }

  #keep(stream: ServerHttp2Stream, name: StreamName): void {
    stream.respond(head, { waitForTrailers: true });
    this.#open.set(stream, name);
    stream.once("close", () => this.#open.delete(stream));
    setImmediate(() => this.#end(stream));
  }

  #end(stream: ServerHttp2Stream): void {
    if (this.#cutsLeft === 0 || stream.destroyed) return;
    this.#cutsLeft--;
    this.#open.delete(stream);
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

/** Tells the end of every run that is asked for whose id ends in 0: whoever asked for the rest has to leave. */
function finish(stream: ServerHttp2Stream): void {
  each(stream, SubscribeToWorkflowRunsRequestSchema, ({ workflowRunId }) => {
    if (!workflowRunId.endsWith("0")) return;
    const results = [{ output: "{}", taskName: "double", taskRunExternalId: workflowRunId }];
    stream.write(message(WorkflowRunEventSchema, { results, workflowRunId }));
  });
}

/** Tells one signal of each task. */
function signal(stream: ServerHttp2Stream): void {
  each(stream, ListenForDurableEventRequestSchema, ({ signalKey, taskId }) => {
    if (signalKey === answered) stream.write(message(DurableEventSchema, { data: met, signalKey, taskId }));
  });
}

/** Takes every step of every durable task, and completes those that are to come to something. */
function remember(stream: ServerHttp2Stream): void {
  let node = 0n;
  const say = (value: MessageInitShape<typeof DurableTaskResponseSchema>["message"]) => {
    stream.write(message(DurableTaskResponseSchema, value === undefined ? {} : { message: value }));
  };
  const complete = (ref: object, payload: Uint8Array<ArrayBuffer>) => {
    say({ case: "entryCompleted", value: { payload, ref } });
  };
  each(stream, DurableTaskRequestSchema, ({ message: asked }) => {
    const of = names(asked);
    const place = { branchId: 1n, nodeId: ++node };
    const ref = { ...of, ...place };
    switch (asked.case) {
      case "memo":
        return say({ case: "memoAck", value: { ref } });
      case "waitFor":
        say({ case: "waitForAck", value: { ref } });
        return asked.value.label === answered ? complete(ref, met) : undefined;
      case "triggerRuns":
        say({ case: "triggerRunsAck", value: { ...of, runEntries: [{ ...place, workflowRunExternalId: id(1) }] } });
        return complete(ref, output);
      case "evictInvocation":
        return say({ case: "evictionAck", value: of });
    }
  });
}

const met = new TextEncoder().encode(`{"CREATE":{"it":[{"was":true}]}}`);
const output = new TextEncoder().encode(`{"doubled":42}`);

/** Whom a request is about. */
function names({ value }: DurableTaskRequest["message"]): { durableTaskExternalId: string; invocationCount: number } {
  const isOfTask = value !== undefined && "invocationCount" in value;
  const { durableTaskExternalId = "", invocationCount = 0 } = isOfTask ? value : {};
  return { durableTaskExternalId, invocationCount };
}

/** Reads the requests of a stream. */
function each<D extends DescMessage>(stream: ServerHttp2Stream, schema: D, take: (one: MessageShape<D>) => void): void {
  let rest: Uint8Array = new Uint8Array();
  stream.on("data", (part: Uint8Array) => {
    rest = rest.length === 0 ? part : new Uint8Array([...rest, ...part]);
    for (;;) {
      if (rest.length < 5) return;
      const end = 5 + new DataView(rest.buffer, rest.byteOffset).getUint32(1);
      if (rest.length < end) return;
      const one = fromBinary(schema, rest.subarray(5, end));
      rest = rest.subarray(end);
      if (stream.writable) take(one);
    }
  });
}

function message<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Uint8Array {
  return envelope(toBinary(schema, create(schema, init)));
}

function batch(one: Uint8Array): { readonly all: Uint8Array; readonly size: number } {
  return { all: new Uint8Array(Array.from({ length: batchSize }, () => [...one]).flat()), size: one.length };
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
