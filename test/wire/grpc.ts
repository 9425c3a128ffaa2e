import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { isDeepStrictEqual } from "node:util";
import type { CallOptions, Client, Interceptor, ServiceImpl, Transport } from "@connectrpc/connect";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { Compression } from "@connectrpc/connect/protocol";
import { create, toBinary } from "@bufbuild/protobuf";
import { StreamError } from "../../src/streams/errors.ts";
import { createTransport } from "../../src/transport/transport.ts";
import type { Note } from "../fixtures/echo/gen/echo_pb.ts";
import { Echo, NoteSchema } from "../fixtures/echo/gen/echo_pb.ts";
import type { Test } from "../harness.ts";
import { assert } from "../harness.ts";
import type { FrameCall, FrameServer } from "./frames.ts";
import { frameServer } from "./frames.ts";
import type { Handler, RawServer } from "./server.ts";
import { envelope, pause, rawServer } from "./server.ts";

/** Options that both transports have, by the same names. */
interface Calling {
  readonly interceptors?: Interceptor[];
  readonly defaultTimeoutMs?: number;
  readonly readMaxBytes?: number;
  readonly writeMaxBytes?: number;
  readonly acceptCompression?: Compression[];
  readonly sendCompression?: Compression;
  readonly compressMinBytes?: number;
}

/** Who answers: handlers of connect-node's server, a server made by hand, or one that writes frames as told. */
export type Serve =
  | { readonly routes: Partial<ServiceImpl<typeof Echo>> }
  | { readonly handle: Handler }
  | { readonly frames: FrameCall };

/** One transport before one server. */
export interface Stage {
  readonly transport: Transport;
  readonly client: Client<typeof Echo>;
  readonly baseUrl: string;
  /** What came of it so far, in order; whoever sees something says so. */
  readonly log: string[];
  readonly raw: RawServer | undefined;
  readonly framed: FrameServer | undefined;
}

/** One thing that a caller may see of a transport. */
export interface Row {
  readonly serve: (log: string[]) => Serve;
  readonly options?: (log: string[]) => Calling;
  /** Calls, and says in the log what was seen. */
  readonly play: (stage: Stage) => Promise<unknown>;
  /** What the log must say, of our transport and of connect-node's. */
  readonly seen: readonly string[];
  /** Why connect-node's transport sees something else, where it does: everywhere, or on these runtimes. */
  readonly differs?: string;
  readonly on?: readonly Runtime[];
}

type Runtime = "node" | "deno" | "bun";
export const runtime: Runtime = "bun" in process.versions ? "bun" : "deno" in process.versions ? "deno" : "node";

/** As long as a transport that does not settle is waited for. */
const patienceMs = 2000;

/** A test for each row: both transports see the same, or the row says why not. */
export function rows(test: Test, table: Readonly<Record<string, Row>>): void {
  for (const [title, row] of Object.entries(table)) {
    test(title, { limitMs: 10_000 }, async () => {
      const [ours, theirs] = [await see(row, true), await see(row, false)];

      assert.equal(ours, row.seen);
      if (row.differs === undefined || row.on?.includes(runtime) === false) {
        assert.equal(theirs, row.seen, "connect-node");
      } else assert.not(isDeepStrictEqual(theirs, row.seen), `they agree after all, although: ${row.differs}`);
    });
  }
}

async function see({ options = () => ({}), play, serve }: Row, own: boolean): Promise<readonly string[]> {
  const log: string[] = [];
  const { baseUrl, close, framed, raw } = await serving(serve(log));
  const { end, transport } = dialing(baseUrl, own, options(log));
  const stage = { baseUrl, client: createClient(Echo, transport), framed, log, raw, transport };
  const settled = (async () => {
    await play(stage);
    return true;
  })();
  try {
    const inTime = await Promise.race([settled, pause(patienceMs)]);
    return [...log, ...(inTime === true ? [] : ["does not settle"])];
  } finally {
    settled.catch(() => {
      // It came too late for anybody.
    });
    await end();
    await close();
  }
}

function dialing(baseUrl: string, own: boolean, options: Calling): { transport: Transport; end: () => Promise<void> } {
  if (own) {
    const transport = createTransport({ baseUrl, ...options });
    return { transport, end: () => transport.close() };
  }
  const sessionManager = new Http2SessionManager(baseUrl);
  return {
    transport: createGrpcTransport({ baseUrl, sessionManager, ...options }),
    end: () => Promise.resolve(sessionManager.abort()),
  };
}

interface Serving {
  readonly baseUrl: string;
  readonly raw: RawServer | undefined;
  readonly framed: FrameServer | undefined;
  readonly close: () => Promise<void>;
}

async function serving(serve: Serve): Promise<Serving> {
  if ("handle" in serve) {
    const raw = await rawServer(serve.handle);
    return { baseUrl: `http://${raw.hostPort}`, close: () => raw.kill(), framed: undefined, raw };
  }
  if ("frames" in serve) {
    const framed = await frameServer(serve.frames);
    return { baseUrl: `http://${framed.hostPort}`, close: () => framed.close(), framed, raw: undefined };
  }
  const { routes } = serve;
  const server = createServer(connectNodeAdapter({ routes: ({ service }) => service(Echo, routes) }));
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.on("error", () => {
      // The client's side of what the test is about.
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // What listens on TCP has no other.
  const close = () => {
    for (const session of sessions) session.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { baseUrl: `http://127.0.0.1:${port}`, close, framed: undefined, raw: undefined };
}

/** A note on the wire. */
export function note(text: string, flags = 0): Uint8Array {
  return envelope(bytesOf(text), undefined, flags);
}

/** A note without what goes around it. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return toBinary(NoteSchema, create(NoteSchema, { text }));
}

/** What somebody was thrown, in one line. */
export function told(error: unknown): string {
  if (error instanceof StreamError) return `StreamError ${error.code}`;
  if (error instanceof ConnectError) return `${Code[error.code]}: ${error.rawMessage}`;
  return String(error);
}

/** Logs each note, and how it ended. */
export async function heed(log: string[], notes: AsyncIterable<Note>): Promise<void> {
  try {
    for await (const { text } of notes) log.push(text);
    log.push("ended");
  } catch (error) {
    log.push(told(error));
  }
}

/** Logs the answer. */
export async function hear(log: string[], answer: Promise<Note>): Promise<void> {
  try {
    log.push((await answer).text);
  } catch (error) {
    log.push(told(error));
  }
}

/** Makes one call after another of each kind, and logs what came of it. */
export async function everyKind({ client, log }: Stage, options: CallOptions = {}): Promise<void> {
  await hear(log, client.unary({ text: "u" }, options));
  await heed(log, client.down({ text: "d" }, options));
  await hear(log, client.up(texts("a", "b"), options));
  await heed(log, client.both(texts("a", "b"), options));
}

/** Notes to send. */
export async function* texts(...all: string[]): AsyncGenerator<{ text: string }, void> {
  for (const text of all) yield { text };
}

/** A request that yields some notes, then waits until it is let go of, and logs how that is done, once each. */
export function open(log: string[], ...first: string[]): AsyncIterable<{ text: string }> {
  let release = () => {};
  const released = new Promise<void>((resolve) => release = resolve);
  const done = { done: true, value: undefined } as const;
  const say = (what: string) => {
    if (!log.includes(what)) log.push(what);
    release();
  };
  const iterator: AsyncIterator<{ text: string }> = {
    async next() {
      const text = first.shift();
      if (text !== undefined) return { done: false, value: { text } };
      await released;
      return done;
    },
    return() {
      say("request return()");
      return Promise.resolve(done);
    },
    throw(error) {
      say(`request throw(${told(error)})`);
      return Promise.resolve(done);
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** Reads the notes of a request whole. */
export async function all(notes: AsyncIterable<Note>): Promise<string> {
  const heard: string[] = [];
  for await (const { text } of notes) heard.push(text);
  return heard.join();
}

/** Counts who listens to a signal from now on. */
export function listeners(signal: AbortSignal): () => number {
  const { addEventListener, removeEventListener } = signal;
  let count = 0;
  Object.assign(signal, {
    addEventListener: (...args: Parameters<typeof addEventListener>) => {
      count++;
      addEventListener.apply(signal, args);
    },
    removeEventListener: (...args: Parameters<typeof removeEventListener>) => {
      count--;
      removeEventListener.apply(signal, args);
    },
  });
  return () => count;
}
