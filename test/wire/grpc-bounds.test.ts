import { createServer as createTcp } from "node:net";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Echo } from "../fixtures/echo/gen/echo_pb.ts";
import { assert, rejects, suite } from "../harness.ts";
import { frameServer, head } from "./frames.ts";
import { note, open, texts, told } from "./grpc.ts";
import { Links, opened } from "./links.ts";
import type { Handler } from "./server.ts";
import { answer, pause, until } from "./server.ts";

const test = suite("grpc bounds");
const links = new Links(test);

/** Writes notes for as long as the client takes them, and counts the bytes that went. */
function flood(): { readonly handle: Handler; readonly sent: () => number } {
  const bytes = note("x".repeat(10_000));
  let sent = 0;
  const handle: Handler = (stream) => {
    stream.respond(head);
    const more = (error?: Error | null) => {
      if (error || stream.destroyed) return;
      sent += bytes.length;
      stream.write(bytes, (failure) => void setImmediate(more, failure));
    };
    more();
  };
  return { handle, sent: () => sent };
}

test("a stream that is not read takes in no more than its window and its queue hold", { limitMs: 5000 }, async () => {
  const { handle, sent } = flood();
  const transport = await links.serve(handle, { windowBytes: 2 ** 18 });
  const life = new AbortController();
  const { message } = await transport.stream(Echo.method.down, life.signal, undefined, undefined, texts("a"));
  const notes = message[Symbol.asyncIterator]();

  const marks = [];
  for (const reads of [1, 200, 200]) {
    for (let left = reads; left > 0; left--) await notes.next();
    for (let before = -1; before !== sent();) {
      before = sent();
      await pause(60);
    }
    marks.push(sent());
  }
  life.abort();
  await until(() => links.server?.open.size === 0);

  // What waits in the server's own buffers counts too.
  for (const [at, mark] of marks.entries()) assert.ok(mark < 2 ** 20 + at * 2_010_000, `${mark} bytes at ${at}`);
  assert.is(opened(transport), 0);
});

test("a slow reader gets everything, however often reading pauses", { limitMs: 10_000 }, async () => {
  const total = 5000;
  const transport = await links.serve((stream) => answer(stream, Array(total).fill(note("x".repeat(1000))), 0), {
    windowBytes: 2 ** 18,
  });
  let heard = 0;

  for await (const _ of createClient(Echo, transport).down({})) if (++heard % 100 === 0) await pause(1);

  assert.is(heard, total);
});

test("a stream that nobody reads holds up no other call", { limitMs: 5000 }, async () => {
  const { handle } = flood();
  const transport = await links.serve((stream, headers) => {
    if (headers[":path"]?.endsWith("Down")) handle(stream, headers);
    else answer(stream, [note("a")], 0);
  });
  const client = createClient(Echo, transport);
  const life = new AbortController();
  for (let streams = 0; streams < 3; streams++) {
    await transport.stream(Echo.method.down, life.signal, undefined, undefined, texts("a"));
  }
  await pause(200);

  const { text } = await client.unary({}, { timeoutMs: 1500 });
  life.abort();

  assert.is(text, "a");
});

test("an abort while reading is paused closes the stream", async () => {
  const { handle, sent } = flood();
  const transport = await links.serve(handle);
  const life = new AbortController();
  const { message } = await transport.stream(Echo.method.down, life.signal, undefined, undefined, texts("a"));
  await until(() => sent() > 2 ** 19);
  await pause(50);

  life.abort(new ConnectError("left", Code.Aborted));
  const error = await rejects(message[Symbol.asyncIterator]().next());
  await until(() => links.server?.open.size === 0 && opened(transport) === 0);

  assert.is(told(error), "Aborted: left");
});

test("a request that is answered before all of it was taken leaves no stream open", { limitMs: 5000 }, async () => {
  // It widens no window: no more than 64 KiB of a request get through.
  const statuses = ["0", "5"];
  const framed = await frameServer((connection, id) => {
    connection.headers(id, head);
    connection.data(id, note("a"));
    connection.headers(id, { "grpc-status": statuses.shift() ?? "0" }, true);
  });
  const transport = links.to(framed.hostPort);
  const client = createClient(Echo, transport);
  const body = new Uint8Array(2_000_000);

  const answers = [];
  for (let calls = 0; calls < 2; calls++) answers.push(await client.unary({ body }).then(({ text }) => text, told));
  answers.push(await client.up(open([], "a", "b")).then(({ text }) => text, told));
  await until(() => opened(transport) === 0 && framed.connections[0]?.resets.size === 3);
  await framed.close();

  assert.equal(answers, ["a", "NotFound: ", "a"]);
});

test("a dial counts: a deadline and an abort end it, and nothing is left of it", { limitMs: 5000 }, async () => {
  const silent = createTcp();
  let sockets = 0;
  silent.on("connection", (socket) => {
    sockets++;
    socket.on("error", () => {}).once("close", () => sockets--);
    socket.resume();
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as AddressInfo; // What listens on TCP has no other.
  const hostPort = `127.0.0.1:${port}`;
  const own = new AbortController();
  const plain = createClient(Echo, links.to(hostPort));
  const within = createClient(
    Echo,
    links.to(hostPort, { interceptors: [(next) => (request) => next({ ...request, signal: own.signal })] }),
  );
  const log: string[] = [];

  const seen: string[] = [];
  for (const client of [plain, within]) {
    const life = new AbortController();
    setTimeout(() => life.abort(new ConnectError("left", Code.Aborted)), 60);
    const calls = [
      client.unary({}, { timeoutMs: 50 }),
      client.up(open(log, "a"), { timeoutMs: 50 }),
      client.unary({}, life),
    ];
    for (const error of await Promise.all(calls.map((call) => rejects(call)))) seen.push(told(error));
  }
  await until(() => sockets === 0);
  silent.close();

  const late = "DeadlineExceeded: the operation timed out";
  assert.equal(seen, [late, late, "Aborted: left", late, late, "Aborted: left"]);
  assert.equal(log.sort(), ["request return()", `request throw(${late})`]);
});

test.run();
