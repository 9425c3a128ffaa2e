import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { createServer } from "node:http2";
import process from "node:process";
import { fromBinary } from "@bufbuild/protobuf";
import { SubscribeToWorkflowEventsRequestSchema } from "../../src/proto.ts";
import { Frames } from "./frames.ts";
import type { Chunk } from "./messages.ts";
import { chunkOf, resultOf } from "./messages.ts";

/** Messages come from here: nothing is computed per message, so that a reader is measured and not its server. */
export interface Source {
  /** `127.0.0.1:port`. */
  readonly hostPort: string;
  /** Sends a GOAWAY on every connection and ends every stream OK, as an engine that is drained. */
  drain(): void;
  close(): Promise<void>;
}

/** How a source behaves. */
export interface SourceOptions {
  /** @default 0, a free one */
  readonly port?: number | undefined;
  /** How often a run must be asked for until its result comes; the earlier requests are lost. @default 2 */
  readonly asks?: number | undefined;
}

/** Runs whose id begins so are done. */
export const done = "d";
/** Runs whose id begins so are answered when they are asked for the second time: what a cut has lost. */
export const lost = "f";

const head = { ":status": 200, "content-type": "application/grpc" };
const runs = /SubscribeToWorkflowRuns$/;
const firstLetter = 2;

/**
 * Serves three paths: `SubscribeToWorkflowEvents` writes as many messages as its request says ("bytes:count" for a run
 * id; none, and the stream stays open), `SubscribeToWorkflowRuns` answers by the first letter of an id, and `/state` tells the
 * server's own CPU time and how many streams are open.
 */
export async function serve({ port = 0, asks = 2 }: SourceOptions = {}): Promise<Source> {
  const sessions = new Set<ServerHttp2Session>();
  const open = new Set<ServerHttp2Stream>();
  const chunks = new Map<number, Chunk>();
  const seen = new Map<string, number>();
  const server = createServer({ settings: { maxConcurrentStreams: 1000 } });
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.on("error", ignore);
  });
  server.on("stream", (stream, headers) => {
    const path = headers[":path"] ?? "";
    stream.on("error", ignore);
    if (path === "/state") return state(stream, open.size);
    open.add(stream);
    stream.once("close", () => open.delete(stream));
    stream.respond(head, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    if (!runs.test(path)) return events(stream, chunks);
    results(stream, seen, asks);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("A port has an address");
  return {
    hostPort: `127.0.0.1:${address.port}`,
    drain() {
      for (const session of sessions) session.goaway(0);
      for (const stream of open) stream.end();
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}

function state(stream: ServerHttp2Stream, streams: number): void {
  const { system, user } = process.cpuUsage();
  stream.respond({ ":status": 200 });
  stream.end(JSON.stringify({ cpuMs: (user + system) / 1000, streams }));
}

/** Writes what the request asks for, as fast as it is read. */
function events(stream: ServerHttp2Stream, chunks: Map<number, Chunk>): void {
  const frames = new Frames();
  stream.on("data", (piece: Uint8Array) => {
    frames.take(piece, (message) => {
      const { workflowRunId = "" } = fromBinary(SubscribeToWorkflowEventsRequestSchema, message);
      const [bytes = 0, count = 0] = workflowRunId.split(":").map(Number);
      const chunk = chunks.get(bytes) ?? chunkOf(bytes);
      chunks.set(bytes, chunk);
      if (count > 0) pour(stream, chunk, count);
    });
  });
}

function pour(stream: ServerHttp2Stream, { bytes, frame, messages }: Chunk, count: number): void {
  let left = count;
  const more = () => {
    while (left > 0) {
      const whole = left >= messages;
      const written = stream.write(whole ? bytes : bytes.subarray(0, left * frame));
      left -= whole ? messages : left;
      if (!written) return;
    }
    stream.end();
  };
  stream.on("drain", more);
  more();
}

/** Answers requests for results, by the first letter of their run's id. */
function results(stream: ServerHttp2Stream, seen: Map<string, number>, asks: number): void {
  const frames = new Frames();
  const decoder = new TextDecoder();
  const [once, twice] = [done, lost].map((letter) => letter.charCodeAt(0));
  stream.on("data", (piece: Uint8Array) => {
    frames.take(piece, (message) => {
      const letter = message[firstLetter];
      if (letter !== once && letter !== twice) return;
      const runId = decoder.decode(message.subarray(firstLetter));
      const times = (seen.get(runId) ?? 0) + 1;
      seen.set(runId, times);
      if (letter === once || times >= asks) stream.write(resultOf(runId));
    });
  });
  stream.on("end", () => stream.end());
}

function ignore(): void {
  // The client left in the middle, which is what some measurements are about.
}
