import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import type { Verdict } from "../../src/streams/verdict.ts";
import { judge, originOf } from "../../src/streams/verdict.ts";
import { assert, suite } from "../harness.ts";
import type { FrameCall, FrameServer } from "./frames.ts";
import { frameServer, head, ok } from "./frames.ts";
import type { Caller } from "./server.ts";
import { action, beat, caller, envelope, listen, pause, rawServer, until } from "./server.ts";

const test = suite("transport faults");

/** What a peer does, and what a stream on it is told. */
interface Fault {
  readonly name: string;
  readonly act: FrameCall;
  readonly verdict: Verdict | "ok";
  /** Left out where it is a matter of luck, or of the runtime. */
  readonly code?: Code;
}

let server: FrameServer | undefined;
let open: Caller | undefined;

async function connect(act: FrameCall): Promise<Caller> {
  server = await frameServer(act);
  return open = caller(server.hostPort);
}

test.after.each(async () => {
  await open?.channel.close();
  await server?.close();
});

/** Words for what Connect made of it and what we make of that. */
function verdict(error: unknown): string {
  if (error === undefined) return "ok";
  return judge({ alone: false, error, heard: false, origin: originOf(error), sent: true, wasLive: false }, () => "end");
}

const html = { ":status": "200", "content-type": "text/html" };
const page = (status: number): Fault => ({
  name: `HTTP ${status}`,
  act: (connection, id) => {
    connection.headers(id, { ":status": String(status), "content-type": "text/plain", "retry-after": "7" });
    connection.data(id, new TextEncoder().encode("no"), true);
  },
  verdict: "transient",
  code:
    { 401: Code.Unauthenticated, 403: Code.PermissionDenied, 404: Code.Unimplemented, 429: Code.Unavailable }[status] ??
      (status === 500 ? Code.Unknown : Code.Unavailable),
});
const reset = (code: number): Fault => ({
  name: `RST_STREAM ${code}`,
  act: (connection, id) => connection.reset(id, code),
  verdict: "transient",
  code: code === 8 ? Code.Canceled : Code.Internal,
});

/** Faults that may hit a stream at any moment. */
const anytime: readonly Fault[] = [
  { name: "FIN", act: ({ socket }) => socket.end(), verdict: "transient" },
  { name: "RST", act: ({ socket }) => socket.resetAndDestroy(), verdict: "transient" },
  {
    name: "GOAWAY and then the close",
    act: (connection, id) => {
      connection.goaway(id, 0);
      setTimeout(() => connection.socket.end(), 10);
    },
    verdict: "transient",
  },
  {
    name: "GOAWAY for too many pings",
    act: (connection, id) => connection.goaway(id, 11),
    verdict: "transient",
    code: Code.Internal,
  },
  {
    name: "GOAWAY, and the stream finishes",
    act: (connection, id) => {
      connection.goaway(id, 0);
      connection.headers(id, connection.answered.has(id) ? ok : { ...head, ...ok }, true);
    },
    verdict: "ok",
  },
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13].map(reset),
];

/** Faults in place of an answer. */
const before: readonly Fault[] = [
  { ...reset(0), code: Code.Unavailable },
  ...[401, 403, 404, 429, 500, 502, 503, 504].map(page),
  {
    name: "a page that says 200",
    act: (connection, id) => {
      connection.headers(id, html);
      connection.data(id, new TextEncoder().encode("<html>"), true);
    },
    verdict: "transient",
    code: Code.Unknown,
  },
  {
    name: "a status of the engine's own",
    act: (connection, id) => connection.headers(id, { ...head, "grpc-status": "5" }, true),
    verdict: "fatal",
    code: Code.NotFound,
  },
];

/** Faults behind headers and a message. */
const after: readonly Fault[] = [
  reset(0),
  {
    name: "an end without trailers",
    act: (connection, id) => connection.data(id, new Uint8Array(), true),
    verdict: "transient",
    code: Code.Internal,
  },
  {
    name: "a message cut in the middle",
    act: (connection, id) => connection.data(id, action("b").subarray(0, -1), true),
    verdict: "transient",
    code: Code.InvalidArgument,
  },
  {
    name: "trailing garbage",
    act: (connection, id) => {
      connection.data(id, Uint8Array.of(0, 0, 0));
      connection.headers(id, ok, true);
    },
    verdict: "transient",
    code: Code.InvalidArgument,
  },
  {
    name: "a message that is none",
    act: (connection, id) => connection.data(id, envelope(Uint8Array.of(10, 200))),
    verdict: "suspect",
    code: Code.Internal,
  },
  {
    name: "a compressed message that nobody asked for",
    act: (connection, id) => connection.data(id, envelope(new Uint8Array(3), 3, 1)),
    verdict: "suspect",
    code: Code.Internal,
  },
  {
    name: "a status of the engine's own",
    act: (connection, id) => connection.headers(id, { "grpc-status": "14", "grpc-message": "later" }, true),
    verdict: "transient",
    code: Code.Unavailable,
  },
];

/** Runs each fault on a stream, and says which did not go as the table says. */
async function deviations(faults: readonly Fault[], messages: readonly Uint8Array[]): Promise<string[]> {
  let fault: Fault | undefined;
  const { client } = await connect((connection, id) => {
    if (messages.length > 0) connection.headers(id, head);
    for (const message of messages) connection.data(id, message);
    // So that the reader has what came before the fault.
    setTimeout(() => fault?.act(connection, id), messages.length > 0 ? 10 : 0);
  });
  const deviating: string[] = [];
  for (fault of faults) {
    const { error, heard } = await listen(client);
    const code = (error as ConnectError | undefined)?.code;
    const asSaid = verdict(error) === fault.verdict && heard.length === messages.length &&
      (fault.code === undefined || fault.code === code);
    if (!asSaid) deviating.push(`${fault.name}: ${verdict(error)}, heard ${heard.length}, ${error}`);
  }
  return deviating;
}

test("a stream that hears a fault instead of an answer ends as the table says", async () => {
  const faults = [...anytime, ...before];

  const deviating = await deviations(faults, []);

  assert.equal(deviating, []);
});

test("a stream that hears a fault behind a message delivers it and ends as the table says", async () => {
  const faults = [...anytime, ...after];

  const deviating = await deviations(faults, [action("a")]);

  assert.equal(deviating, []);
});

test("a proxy's page says when to come back", async () => {
  const { client } = await connect(page(429).act);

  const { error } = await listen(client);

  assert.is((error as ConnectError).metadata.get("retry-after"), "7");
});

test("a unary call that hears a fault ends as a stream would", async () => {
  const wire = [...anytime, ...before].filter(({ verdict }) => verdict === "transient");
  let fault: Fault | undefined;
  const { client } = await connect((connection, id) => fault?.act(connection, id));
  const deviating: string[] = [];

  for (fault of wire) {
    const error: unknown = await client.heartbeat({ workerId: "w" }).catch((reason: unknown) => reason);
    if (originOf(error) !== "wire") deviating.push(`${fault.name}: ${originOf(error)}, ${error}`);
  }

  assert.equal(deviating, []);
});

test("a stream both ways that is cut while it writes is the wire's loss", { limitMs: 4000 }, async () => {
  const cuts = anytime.filter(({ name }) => /^(FIN|RST|GOAWAY and)/.test(name));
  let fault: Fault | undefined;
  const { client } = await connect((connection, id) => {
    connection.headers(id, head);
    setTimeout(() => fault?.act(connection, id), 10);
  });
  const deviating: string[] = [];

  for (fault of [...cuts, ...cuts, ...cuts]) {
    let over = false;
    const requests = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          await pause(1);
          return over ? { done: true as const, value: undefined } : { value: { workflowRunId: "r".repeat(500) } };
        },
        throw: () => Promise.resolve({ done: true as const, value: undefined }),
        return: () => Promise.resolve({ done: true as const, value: undefined }),
      }),
    };
    let error: unknown;
    try {
      for await (const _ of client.subscribeToWorkflowRuns(requests));
    } catch (reason) {
      error = reason;
    }
    over = true;
    if (verdict(error) !== "transient") deviating.push(`${fault.name}: ${verdict(error)}, ${error}`);
  }

  assert.equal(deviating, []);
});

test("a server that is killed takes its streams with it, and calls get through once it is back", async () => {
  const first = await rawServer((stream) => stream.respond({ ":status": 200, "content-type": "application/grpc" }));
  const { channel, client } = open = caller(first.hostPort);
  const course = listen(client);
  await until(() => first.calls.length === 1);

  await first.kill();
  const { error } = await course;
  const refused: unknown = await client.heartbeat({ workerId: "w" }).catch((reason: unknown) => reason);
  const second = await rawServer((stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "0" });
    stream.end(beat);
  }, { port: first.port });
  await channel.ready(new AbortController().signal, 1000);
  await second.kill();

  assert.equal([verdict(error), verdict(refused)], ["transient", "transient"]);
});

test.run();
