import process from "node:process";
import { createServer as createTcp } from "node:net";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { systemClock } from "../../src/streams/clock.ts";
import { isCaller, isUnsent } from "../../src/streams/errors.ts";
import { linked } from "../../src/streams/signal.ts";
import { seeded } from "../../src/testing/random.ts";
import type { GrpcTransport, TransportOptions } from "../../src/transport/transport.ts";
import { createTransport } from "../../src/transport/transport.ts";
import type { Session } from "../../src/transport/session.ts";
import { Echo } from "../fixtures/echo/gen/echo_pb.ts";
import { assert, rejects, suite } from "../harness.ts";
import { frameServer, head } from "./frames.ts";
import { listeners, note, open, runtime, texts, told } from "./grpc.ts";
import type { Handler, RawServer } from "./server.ts";
import { answer, pause, rawServer, trailersOnly, until } from "./server.ts";

const test = suite("grpc bounds");

let server: RawServer | undefined;
const transports: GrpcTransport[] = [];

function link(hostPort: string, options: Partial<TransportOptions> = {}): GrpcTransport {
  const transport = createTransport({ baseUrl: `http://${hostPort}`, ...options });
  transports.push(transport);
  return transport;
}

async function serve(handle: Handler, options: Partial<TransportOptions> = {}): Promise<GrpcTransport> {
  server = await rawServer(handle);
  return link(server.hostPort, options);
}

/** How many streams are open on our side. */
const opened = ({ connection }: GrpcTransport): number => (connection as Session | undefined)?.open ?? 0;

test.after.each(async () => {
  await Promise.all(transports.splice(0).map((transport) => transport.close()));
  await server?.kill();
  server = undefined;
});

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
  const transport = await serve(handle, { windowBytes: 2 ** 18 });
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
  await until(() => server?.open.size === 0);

  // What waits in the server's own buffers counts too.
  for (const [at, mark] of marks.entries()) assert.ok(mark < 2 ** 20 + at * 2_010_000, `${mark} bytes at ${at}`);
  assert.is(opened(transport), 0);
});

test("a slow reader gets everything, however often reading pauses", { limitMs: 10_000 }, async () => {
  const total = 5000;
  const transport = await serve((stream) => answer(stream, Array(total).fill(note("x".repeat(1000))), 0), {
    windowBytes: 2 ** 18,
  });
  let heard = 0;

  for await (const _ of createClient(Echo, transport).down({})) if (++heard % 100 === 0) await pause(1);

  assert.is(heard, total);
});

test("a stream that nobody reads holds up no other call", { limitMs: 5000 }, async () => {
  const { handle } = flood();
  const transport = await serve((stream, headers) => {
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
  const transport = await serve(handle);
  const life = new AbortController();
  const { message } = await transport.stream(Echo.method.down, life.signal, undefined, undefined, texts("a"));
  await until(() => sent() > 2 ** 19);
  await pause(50);

  life.abort(new ConnectError("left", Code.Aborted));
  const error = await rejects(message[Symbol.asyncIterator]().next());
  await until(() => server?.open.size === 0 && opened(transport) === 0);

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
  const transport = link(framed.hostPort);
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
  const plain = createClient(Echo, link(hostPort));
  const within = createClient(
    Echo,
    link(hostPort, { interceptors: [(next) => (request) => next({ ...request, signal: own.signal })] }),
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

test("a peer that keeps the deadline too may be first to leave: it is the deadline all the same", async () => {
  let skewMs = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + skewMs };
  const framed = await frameServer((connection, id) => {
    skewMs = 60_000;
    connection.reset(id, 8);
  });
  const client = createClient(Echo, link(framed.hostPort, { clock }));

  const errors = [await rejects(client.unary({}, { timeoutMs: 30_000 })), await rejects(client.unary({}))];
  await framed.close();

  assert.is(told(errors[0]), "DeadlineExceeded: the operation timed out");
  assert.match(told(errors[1]), /^Canceled: /);
});

test("a call that was under way when its connection broke over what nobody can read may have been worked on", async () => {
  const framed = await frameServer((connection, id) => {
    connection.frame(1, 4, id, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)); // Headers that are none.
  });
  const client = createClient(Echo, link(framed.hostPort));

  const error = await rejects(client.unary({}), ConnectError);
  await framed.close();

  assert.not(isUnsent(error), told(error));
});

test("a server stream whose request never comes is left all the same", async () => {
  const transport = await serve((stream) => answer(stream, [note("a")], 0));
  const life = new AbortController();
  const call = transport.stream(Echo.method.down, life.signal, undefined, undefined, open([]));

  life.abort(new ConnectError("left", Code.Aborted));

  assert.is(told(await rejects(call)), "Aborted: left");
});

test("a request that is answered for good is asked for no more messages", async () => {
  const framed = await frameServer((connection, id) => {
    connection.headers(id, head);
    setTimeout(() => {
      connection.data(id, note("a"));
      connection.headers(id, { "grpc-status": "0" }, true);
    }, 30);
  });
  const transport = link(framed.hostPort);
  let [asked, left] = [0, 0];
  const body = new Uint8Array(100_000);
  const requests: AsyncIterator<{ body: Uint8Array<ArrayBuffer> }> = {
    next: () => {
      if (left > 0) asked++;
      return Promise.resolve({ done: false, value: { body } });
    },
    return: () => {
      left++;
      return Promise.resolve({ done: true, value: undefined });
    },
  };

  const { text } = await createClient(Echo, transport).up({ [Symbol.asyncIterator]: () => requests });
  await until(() => left > 0 && opened(transport) === 0);
  await pause(10);
  await framed.close();

  assert.equal([text, left, asked], ["a", 1, 0]);
});

test("what a request yields behind its answer is not sent", async () => {
  const log: string[] = [];
  const transport = await serve((stream) => {
    stream.once("data", () => answer(stream, [note("a")], 0));
    stream.on("data", () => log.push("got"));
  });
  let answered = () => {};
  const waiting = new Promise<void>((resolve) => answered = resolve);
  const requests = (async function* () {
    yield { text: "a" };
    await waiting;
    yield { text: "b" };
    log.push("asked again");
  })();

  log.push((await createClient(Echo, transport).up(requests)).text);
  answered();
  await pause(20);

  assert.equal(log, ["got", "a"]);
});

test("headers that HTTP/2 does not have are the caller's mistake, and nothing was sent", async () => {
  const transport = await serve((stream) => answer(stream, [note("a")], 0));
  const client = createClient(Echo, transport);

  const error = await rejects(client.unary({}, { headers: { connection: "close" } }));
  const { text } = await client.unary({});

  assert.equal([text, server?.calls.length], ["a", 1]);
  // Bun's library resets the stream instead, as if its peer had.
  if (runtime !== "bun") assert.equal([isUnsent(error), isCaller(error)], [true, true]);
});

test("an abort is heard at whatever turn of the loop it comes", { limitMs: 5000 }, async () => {
  const transport = await serve(() => {});
  const client = createClient(Echo, transport);
  const seen = new Set<string>();
  await transport.ready(new AbortController().signal, 1000);

  for (let turns = 0; turns < 60; turns++) {
    const life = new AbortController();
    const calls = [client.unary({}, life), client.up(open([], "a"), life), drain(client.down({}, life))];
    const errors = Promise.all(calls.map((call) => rejects(call)));
    for (let left = turns; left > 0; left--) await Promise.resolve();
    life.abort(gone);
    for (const error of await errors) seen.add(told(error));
  }

  assert.equal([...seen], ["Aborted: gone"]);
  await until(() => opened(transport) === 0 && server?.open.size === 0);
});

test("of two calls that an interceptor makes for one the slower is left when the other is answered", async () => {
  let calls = 0;
  const transport = await serve((stream) => {
    if (calls++ === 1) answer(stream, [note("second")], 0);
  }, { interceptors: [(next) => (request) => Promise.race([next(request), next(request)])] });

  const { text } = await createClient(Echo, transport).unary({});
  await until(() => opened(transport) === 0 && server?.open.size === 0);

  assert.equal([text, calls], ["second", 2]);
});

const seed = Number(process.env["COPPICE_SEED"] ?? 1);
const calls = 2000;
const gone = new ConnectError("gone", Code.Aborted);

test(`${calls} calls, left at random moments, leave nothing`, { limitMs: 20_000 }, async () => {
  const random = seeded(seed);
  const transport = await serve((stream, headers) => {
    const kind = random();
    if (kind < 0.2) trailersOnly(stream, 14);
    else if (kind < 0.4) answer(stream, [note("a")]);
    else if (headers[":path"]?.endsWith("Both")) stream.once("data", () => answer(stream, [note("a")], 0));
    else answer(stream, [note("a")], 0);
  });
  const client = createClient(Echo, transport);
  const caller = new AbortController();
  const listening = listeners(caller.signal);
  const endings = new Map<string, number>();

  for (let left = calls; left > 0; left -= 50) {
    await Promise.all(Array.from({ length: 50 }, async (_, at) => {
      const { abort, signal } = linked(caller.signal);
      const moment = random();
      if (moment < 0.2) abort(gone);
      else setTimeout(() => abort(gone), moment * 30);
      const ending = await [
        () => client.unary({}, { signal, timeoutMs: 1000 }),
        () => drain(client.down({}, { signal })),
        () => client.up(open([], "a"), { signal, timeoutMs: 3 }),
        () => drain(client.both(open([], "a"), { signal })),
        () => client.unary({}, { signal: caller.signal, timeoutMs: 20 }),
      ][at % 5]!().then(() => "ok", (error: unknown) => told(error).split(":")[0]!);
      abort(gone);
      endings.set(ending, (endings.get(ending) ?? 0) + 1);
    }));
  }
  await until(() => server?.open.size === 0 && opened(transport) === 0);
  await pause(5);

  const seen = [...endings.keys()].sort();
  assert.equal(seen, ["Aborted", "DeadlineExceeded", "Unavailable", "ok"], `COPPICE_SEED=${seed}`);
  assert.is(listening(), 0);
});

async function drain(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

test.run();
