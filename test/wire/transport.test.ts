import type { Interceptor } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import { isCaller, isUnsent, StreamError } from "../../src/streams/errors.ts";
import { originOf } from "../../src/streams/verdict.ts";
import type { CuttingProxy } from "../../src/testing/proxy.ts";
import { cuttingProxy } from "../../src/testing/proxy.ts";
import type { ChannelOptions } from "../../src/transport/channel.ts";
import { openChannel } from "../../src/transport/channel.ts";
import { assert, rejects, suite } from "../harness.ts";
import type { Caller, RawServer } from "./server.ts";
import { action, answer, beat, caller, envelope, listen, never, pause, rawServer, until } from "./server.ts";

const test = suite("transport");

let server: RawServer;
let proxy: CuttingProxy;
const callers: Caller[] = [];

/** A client behind the proxy. */
function open(options: Partial<ChannelOptions> = {}): Caller {
  const one = caller(proxy.hostPort, options);
  callers.push(one);
  return one;
}

function cause(error: unknown): Error & { readonly code?: string } {
  assert.instance(error, ConnectError);
  return (error as ConnectError).cause as Error & { readonly code?: string };
}

test.before.each(async () => {
  server = await rawServer((stream, headers) => {
    if (headers[":path"]?.endsWith("Heartbeat")) answer(stream, [beat], 0);
    else answer(stream, [action("a")]);
  });
  proxy = await cuttingProxy(server.hostPort);
});
test.after.each(async () => {
  await Promise.all(callers.splice(0).map(({ channel }) => channel.close()));
  await proxy.close();
  await server.kill();
});

test("opens nothing before the first call, and one connection for all that come at once", async () => {
  const { channel, client } = open();
  const before = [proxy.accepted, channel.connection];

  await Promise.all([...Array(20)].map(() => client.heartbeat({ workerId: "w" })));
  await client.heartbeat({ workerId: "w" });

  assert.equal(before, [0, undefined]);
  assert.is(proxy.accepted, 1);
  assert.is(server.calls.length, 21);
});

test("ready resolves with the connection on which requests can be written, and dials once for all", async () => {
  const { channel } = open();

  const all = await Promise.all([...Array(10)].map(() => channel.ready(never, 1000)));

  assert.ok(all.every((connection) => connection === channel.connection && connection?.alive));
  assert.is(proxy.accepted, 1);
});

test("ready waits for the peer's SETTINGS, and no longer than it may", async () => {
  const { channel, client } = open({ connectTimeoutMs: 80 });
  proxy.acceptThen("silence");

  const begun = performance.now();
  const error = await rejects(channel.ready(never, 120), ConnectError);
  const tookMs = performance.now() - begun;
  const call = await rejects(client.heartbeat({ workerId: "w" }), ConnectError);

  assert.ok(tookMs >= 120 && tookMs < 400, `took ${tookMs} ms`);
  for (const failure of [error, call]) {
    assert.is(failure.code, Code.Unavailable);
    assert.is(cause(failure).code, "ETIMEDOUT");
    assert.is(originOf(failure), "wire");
    assert.ok(isUnsent(failure));
  }
  await until(() => proxy.connections === 0);
});

test("a caller that leaves takes nobody with it; the last one ends the dial", async () => {
  const { channel, client } = open();
  const stays = new AbortController();
  const leaves = new AbortController();
  proxy.stall();
  const call = client.heartbeat({ workerId: "w" }, { signal: leaves.signal }).catch((error: unknown) => error);
  const other = channel.ready(stays.signal, 2000);
  await until(() => proxy.accepted === 1);

  leaves.abort(new Error("left"));
  const left = await call;
  const after = proxy.connections;
  proxy.resume();
  const alive = (await other)?.alive;
  await pause(20);
  await channel.close();
  const { channel: second } = open();
  proxy.acceptThen("silence");
  const alone = second.ready(stays.signal, 2000);
  await until(() => proxy.accepted === 2);
  const reason = new Error("gone");
  stays.abort(reason);
  const gone = await rejects(alone);
  await until(() => proxy.connections === 0);

  assert.is((left as ConnectError).code, Code.Canceled);
  assert.equal([after, alive], [1, true]);
  assert.is(server.calls.length, 0, "a caller that left before the dial was done sends nothing");
  assert.is(gone, reason);
});

test("up waits for somebody's dial and never dials itself", async () => {
  const { channel } = open();
  const leaving = new AbortController();
  const up = channel.up(never);
  const left = rejects(channel.up(leaving.signal));
  await pause(30);
  const before = proxy.accepted;

  const reason = new Error("left");
  leaving.abort(reason);
  const connection = await channel.ready(never, 1000);

  assert.is(before, 0);
  assert.is(await left, reason);
  assert.is(await up, connection);
  assert.is(await channel.up(never), connection);
});

test(
  "every way in which a port lets a dial down is Unavailable, never sent, and the wire's",
  { limitMs: 5000 },
  async () => {
    const { channel, client } = open({ connectTimeoutMs: 60 });
    const traps = ["close", "rst", "garbage", "http502", "silence"] as const;
    const seen: string[] = [];

    for (let round = 0; round < 4; round++) {
      for (const trap of traps) {
        proxy.acceptThen(trap);
        const unary = await rejects(client.heartbeat({ workerId: "w" }), ConnectError);
        const { error } = await listen(client);
        const dial = await rejects(channel.ready(never, 60), ConnectError);
        for (const one of [unary, error, dial]) {
          const ok = one instanceof ConnectError && one.code === Code.Unavailable && isUnsent(one) &&
            originOf(one) === "wire";
          if (!ok || cause(one)?.code === undefined) seen.push(`${trap}: ${one}`);
        }
      }
    }
    proxy.acceptThen(undefined);
    await client.heartbeat({ workerId: "w" });

    assert.equal(seen, []);
  },
);

test("a refused port and an unknown name keep the system's own error as the cause", async () => {
  const { client } = open();
  await proxy.refuse(true);
  const nowhere = openChannel({ address: () => Promise.resolve({ host: "nonexistent.invalid", port: 1 }) });

  const refused = await rejects(client.heartbeat({ workerId: "w" }), ConnectError);
  const unknown = await rejects(nowhere.ready(never, 1900), ConnectError);
  await nowhere.close();

  assert.is(refused.code, Code.Unavailable);
  assert.is(cause(refused).code, "ECONNREFUSED");
  assert.is(unknown.code, Code.Unavailable);
  assert.match(cause(unknown).code ?? "", /^(ENOTFOUND|EAI_AGAIN|ETIMEDOUT)$/);
});

test("asks for the address at every dial, and follows it", async () => {
  const other = await rawServer((stream) => answer(stream, [beat], 0));
  let asked = 0;
  const { channel, client } = caller(() => asked++ === 0 ? server.hostPort : other.hostPort);

  await client.heartbeat({ workerId: "w" });
  await client.heartbeat({ workerId: "w" });
  await server.kill();
  await until(() => channel.connection === undefined);
  await client.heartbeat({ workerId: "w" });
  await channel.close();
  await other.kill();

  assert.is(asked, 2);
  assert.equal([server.calls.length, other.calls.length], [2, 1]);
  assert.is(server.calls[0], `/Dispatcher/Heartbeat @ ${server.hostPort}`);
});

test("a dial never begins in the tick that asks for it: it may be the one in which the last session failed", async () => {
  let asked = 0;
  const { channel } = open({
    address: () => {
      asked++;
      return Promise.resolve({ host: "127.0.0.1", port: server.port });
    },
  });

  const ready = channel.ready(never, 1000);
  for (let turns = 0; turns < 100; turns++) await Promise.resolve();
  const before = asked;
  await ready;

  assert.equal([before, asked], [0, 1]);
});

test("what the address function throws is the caller's error, comes out as it is, and is asked again", async () => {
  const thrown = new TypeError("no address yet");
  let known = false;
  const { channel, client } = open({
    address: () => {
      if (!known) throw thrown;
      return Promise.resolve({ host: "127.0.0.1", port: server.port });
    },
  });

  const ready = await rejects(channel.ready(never, 1000));
  const call = await rejects(client.heartbeat({ workerId: "w" }), ConnectError);
  known = true;
  await client.heartbeat({ workerId: "w" });

  assert.is(ready, thrown);
  assert.is(call.cause, thrown);
  for (const error of [ready, call]) {
    assert.ok(isCaller(error) && isUnsent(error));
    assert.is(originOf(error), "caller");
  }
});

test("an address function that never answers is bounded like the dial, and a nonsensical port is the caller's", async () => {
  const hangs = openChannel({ address: () => new Promise(() => {}) });
  const nonsense = openChannel({ address: () => Promise.resolve({ host: "127.0.0.1", port: 70_000 }) });

  const late = await rejects(hangs.ready(never, 60), ConnectError);
  const wrong = await rejects(nonsense.ready(never, 1000), RangeError);
  await Promise.all([hangs.close(), nonsense.close()]);

  assert.is(cause(late).code, "ETIMEDOUT");
  assert.is(originOf(wrong), "caller");
});

test("interceptors surround each call, the first outermost, and see it before anything is dialed", async () => {
  const seen: string[] = [];
  const note = (name: string): Interceptor => (next) => async (request) => {
    seen.push(`${name} ${proxy.accepted}`);
    return await next(request);
  };
  const { client } = open({ interceptors: [note("outer"), note("inner")] });

  await client.heartbeat({ workerId: "w" });

  assert.equal(seen, ["outer 0", "inner 0"]);
});

test("sends no message over the limit, reads none, and goes on on the same connection", async () => {
  const { client } = open({ readMaxBytes: 1000, writeMaxBytes: 1000 });

  const sent = await rejects(client.heartbeat({ workerId: "w".repeat(1001) }), ConnectError);
  server.handle = (stream) => answer(stream, [action("x".repeat(2000))]);
  const read = await listen(client);
  server.handle = (stream) => answer(stream, [envelope(new Uint8Array(3), 0xfffffff0)]);
  const announced = await listen(client);
  await until(() => server.open.size === 0);
  server.handle = (stream) => answer(stream, [beat], 0);
  await client.heartbeat({ workerId: "w" });

  for (const error of [sent, read.error, announced.error]) {
    assert.is((error as ConnectError).code, Code.ResourceExhausted);
    assert.is(originOf(error), "local");
  }
  assert.is(proxy.accepted, 1);
});

test("the limit is 4 MiB unless told otherwise", async () => {
  const { client } = open();

  await client.heartbeat({ workerId: "w".repeat(4 * 2 ** 20 - 100) });
  const error = await rejects(client.heartbeat({ workerId: "w".repeat(4 * 2 ** 20) }), ConnectError);

  assert.is(error.code, Code.ResourceExhausted);
});

test("talks both ways on one stream", async () => {
  const { client } = open();
  server.handle = (stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.on("data", () => stream.write(envelope(new Uint8Array())));
    stream.on("end", () => stream.end());
  };
  let heard = 0;
  let release = () => {};
  const first = new Promise<void>((resolve) => release = resolve);

  const requests = (async function* () {
    yield { workflowRunId: "a" };
    await first;
    yield { workflowRunId: "b" };
  })();
  for await (const _ of client.subscribeToWorkflowRuns(requests)) {
    if (++heard === 1) release();
  }

  assert.is(heard, 2);
});

test("close ends every stream and every wait, leaves no socket, and is idempotent", async () => {
  const { channel, client } = open();
  const course = listen(client);
  await until(() => server.open.size === 1);
  await pause(30);
  const { connection } = channel;
  const waiting = open();
  proxy.stall();
  const dial = rejects(waiting.channel.ready(never, 2000));
  const up = rejects(waiting.channel.up(never));
  const call = rejects(waiting.client.heartbeat({ workerId: "w" }));
  await until(() => proxy.accepted === 2);

  await Promise.all([channel.close(), channel.close(), waiting.channel.close()]);
  await channel.close();
  proxy.resume();
  const { error } = await course;
  const later = await rejects(client.heartbeat({ workerId: "w" }));
  const stream = await listen(client);
  const ready = await rejects(channel.ready(never, 1000));
  const upLater = await rejects(channel.up(never));
  await until(() => proxy.connections === 0 && server.open.size === 0);

  for (const closed of [await dial, await up, await call, later, stream.error, ready, upLater, error]) {
    assert.instance(closed, StreamError);
    assert.is((closed as StreamError).code, "closed");
  }
  assert.is(connection?.alive, false);
  assert.is(channel.connection, undefined);
});

test("close of a channel whose peer is gone without a word does not wait for it", async () => {
  const { channel, client } = open();
  const course = listen(client);
  await until(() => server.open.size === 1);
  proxy.stall();

  const begun = performance.now();
  await channel.close();
  await course;

  assert.ok(performance.now() - begun < 500);
});

test("refuses options that make no sense, by name", () => {
  const address = () => Promise.resolve({ host: "127.0.0.1", port: 1 });

  for (
    const name of [
      "pingIntervalMs",
      "pingTimeoutMs",
      "connectTimeoutMs",
      "windowBytes",
      "readMaxBytes",
      "writeMaxBytes",
    ]
  ) {
    for (const value of [0, -1, NaN]) {
      assert.throws(
        () => openChannel({ address, [name]: value }),
        (error: unknown) => error instanceof RangeError && error.message.startsWith(`${name} must be`),
      );
    }
  }
});

test.run();
