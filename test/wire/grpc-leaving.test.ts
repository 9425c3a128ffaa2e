import process from "node:process";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { systemClock } from "../../src/streams/clock.ts";
import { isCaller, isUnsent } from "../../src/streams/errors.ts";
import { linked } from "../../src/streams/signal.ts";
import { seeded } from "../../src/testing/random.ts";
import { Echo } from "../fixtures/echo/gen/echo_pb.ts";
import { assert, rejects, suite } from "../harness.ts";
import { frameServer, head } from "./frames.ts";
import { listeners, note, open, runtime, told } from "./grpc.ts";
import { Links, opened } from "./links.ts";
import { answer, pause, trailersOnly, until } from "./server.ts";

const test = suite("grpc leaving");
const links = new Links(test);

test("a peer that keeps the deadline too may be first to leave: it is the deadline all the same", async () => {
  let skewMs = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + skewMs };
  const framed = await frameServer((connection, id) => {
    skewMs = 60_000;
    connection.reset(id, 8);
  });
  const client = createClient(Echo, links.to(framed.hostPort, { clock }));

  const errors = [await rejects(client.unary({}, { timeoutMs: 30_000 })), await rejects(client.unary({}))];
  await framed.close();

  assert.is(told(errors[0]), "DeadlineExceeded: the operation timed out");
  assert.match(told(errors[1]), /^Canceled: /);
});

test("a call that was under way when its connection broke over what nobody can read may have been worked on", async () => {
  const framed = await frameServer((connection, id) => {
    connection.frame(1, 4, id, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)); // Headers that are none.
  });
  const client = createClient(Echo, links.to(framed.hostPort));

  const error = await rejects(client.unary({}), ConnectError);
  await framed.close();

  assert.not(isUnsent(error), told(error));
});

test("a server stream whose request never comes is left all the same", async () => {
  const transport = await links.serve((stream) => answer(stream, [note("a")], 0));
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
  const transport = links.to(framed.hostPort);
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
  const transport = await links.serve((stream) => {
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
  const transport = await links.serve((stream) => answer(stream, [note("a")], 0));
  const client = createClient(Echo, transport);

  const error = await rejects(client.unary({}, { headers: { connection: "close" } }));
  const { text } = await client.unary({});

  assert.equal([text, links.server?.calls.length], ["a", 1]);
  // Bun's library resets the stream instead, as if its peer had.
  if (runtime !== "bun") assert.equal([isUnsent(error), isCaller(error)], [true, true]);
});

test("an abort is heard at whatever turn of the loop it comes", { limitMs: 5000 }, async () => {
  const transport = await links.serve(() => {});
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
  await until(() => opened(transport) === 0 && links.server?.open.size === 0);
});

test("of two calls that an interceptor makes for one the slower is left when the other is answered", async () => {
  let calls = 0;
  const transport = await links.serve((stream) => {
    if (calls++ === 1) answer(stream, [note("second")], 0);
  }, { interceptors: [(next) => (request) => Promise.race([next(request), next(request)])] });

  const { text } = await createClient(Echo, transport).unary({});
  await until(() => opened(transport) === 0 && links.server?.open.size === 0);

  assert.equal([text, calls], ["second", 2]);
});

const seed = Number(process.env["COPPICE_SEED"] ?? 1);
const calls = 2000;
const gone = new ConnectError("gone", Code.Aborted);

test(`${calls} calls, left at random moments, leave nothing`, { limitMs: 20_000 }, async () => {
  const random = seeded(seed);
  const transport = await links.serve((stream, headers) => {
    const kind = random();
    if (stream.destroyed) return; // Deno tells of a call and of its end at once.
    if (kind < 0.2) trailersOnly(stream, 14);
    else if (kind < 0.4) answer(stream, [note("a")]);
    else if (headers[":path"]?.endsWith("Both")) {
      stream.once("data", () => {
        if (!stream.destroyed) answer(stream, [note("a")], 0);
      });
    } else answer(stream, [note("a")], 0);
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
  await until(() => links.server?.open.size === 0 && opened(transport) === 0);
  await pause(5);

  for (const ending of ["Aborted", "DeadlineExceeded"]) {
    assert.ok(endings.has(ending), `COPPICE_SEED=${seed}: ${ending}`);
  }
  assert.is(listening(), 0);
});

async function drain(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

test.run();
