import { Code, ConnectError } from "@connectrpc/connect";
import { isUnsent } from "../../src/streams/errors.ts";
import { originOf } from "../../src/streams/verdict.ts";
import type { CuttingProxy } from "../../src/testing/proxy.ts";
import { cuttingProxy } from "../../src/testing/proxy.ts";
import type { Session } from "../../src/transport/session.ts";
import type { ChannelOptions } from "../../src/transport/channel.ts";
import { assert, suite } from "../harness.ts";
import type { FrameCall, FrameServer } from "./frames.ts";
import { frameServer, head, ok } from "./frames.ts";
import type { Caller, RawServer } from "./server.ts";
import { action, answer, beat, caller, listen, never, pause, rawServer, trailersOnly, until } from "./server.ts";

const test = suite("session");

const quick = { pingIntervalMs: 100, pingTimeoutMs: 100 };

let server: RawServer;
let framed: FrameServer | undefined;
let proxy: CuttingProxy;
const callers: Caller[] = [];

/** A client behind the proxy. */
function open(options: Partial<ChannelOptions> = {}): Caller {
  const one = caller(proxy.hostPort, options);
  callers.push(one);
  return one;
}

/** A client behind the proxy, which leads to a server that writes frames as told. */
async function behind(call: FrameCall, options: Partial<ChannelOptions> = {}): Promise<Caller> {
  framed = await frameServer(call);
  return open(options);
}

test.before.each(async () => {
  server = await rawServer((stream) => answer(stream, [beat], 0));
  proxy = await cuttingProxy(() => framed?.hostPort ?? server.hostPort);
});
test.after.each(async () => {
  await Promise.all(callers.splice(0).map(({ channel }) => channel.close()));
  await proxy.close();
  await server.kill();
  await framed?.close();
  framed = undefined;
});

test("notices a peer that is gone without a word, however quiet its streams were", async () => {
  const { channel, client } = open(quick);
  server.handle = (stream) => answer(stream, [action("a")]);
  const course = listen(client);
  await until(() => server.calls.length === 1);
  await pause(120);

  proxy.stall();
  const stalledAt = performance.now();
  const { error, heard } = await course;
  const tookMs = performance.now() - stalledAt;

  assert.equal(heard, ["a"]);
  assert.instance(error, ConnectError);
  assert.is((error as ConnectError).code, Code.Unavailable);
  assert.is(originOf(error), "wire");
  assert.ok(tookMs > 95 && tookMs < 1500, `took ${tookMs} ms`);
  assert.is(channel.connection, undefined);
});

test("notices the same of a session that is only finishing what it has", async () => {
  const { client } = await behind((connection, id) => {
    connection.headers(id, head);
    connection.data(id, action("a"));
    connection.goaway(id, 0);
  }, quick);
  const course = listen(client);
  await pause(350);
  const [connection] = framed?.connections ?? [];
  const before = [connection?.closed, (connection?.pings.length ?? 0) >= 2];

  proxy.stall();
  const { error, heard } = await course;

  assert.equal(before, [false, true]);
  assert.equal(heard, ["a"]);
  assert.is(originOf(error), "wire");
});

test("asks on while no call is open", async () => {
  const { channel } = open({ pingIntervalMs: 30, pingTimeoutMs: 1000 });
  await channel.ready(never, 1000);

  await until(() => server.pings >= 4);

  assert.ok(channel.connection?.alive);
});

test("takes any byte for life, and silence for the end of it", async () => {
  let talking = true;
  const { channel, client } = await behind((connection, id) => {
    connection.headers(id, head);
    const timer = setInterval(() => {
      if (connection.closed) clearInterval(timer);
      else if (talking) connection.data(id, action("n"));
    }, 20);
  }, quick);
  const course = listen(client);
  await until(() => framed?.connections[0]?.calls.length === 1);
  const asked = framed?.connections[0]?.pings.length;
  proxy.stall("up");

  await pause(600);
  const then = [channel.connection?.alive, framed?.connections[0]?.pings.length];
  talking = false;
  const { error, heard } = await course;

  assert.equal(then, [true, asked]);
  assert.ok(heard.length > 5, `${heard.length} messages`);
  assert.is(originOf(error), "wire");
});

test("survives an event loop that was blocked for three time-outs on a healthy wire", { limitMs: 4000 }, async () => {
  const { channel, client } = await behind((connection, id) => connection.headers(id, head), quick);
  proxy.delay(10);
  const course = listen(client);
  await until(() => framed?.connections[0]?.calls.length === 1);
  const { connection } = channel;
  const pings = () => framed?.connections[0]?.pings.length ?? 0;

  for (let round = 0; round < 2; round++) {
    // The answer to a PING is on its way when the loop stops.
    const before = pings();
    await until(() => pings() > before);
    for (const blockedUntil = performance.now() + 320; performance.now() < blockedUntil;);
  }
  const after = pings();
  await until(() => pings() === after + 2);
  const survived = channel.connection;
  framed?.connections[0]?.socket.destroy();
  await course;

  assert.ok(survived !== undefined && survived === connection);
});

test("opens both windows equally wide: a mebibyte, or what it was told", async () => {
  const usual = await behind(() => {});
  const told = open({ windowBytes: 100_000 });

  await Promise.all([usual.channel.ready(never, 1000), told.channel.ready(never, 1000)]);
  const windows = () =>
    (framed?.connections ?? []).map(({ windows }) => [windows.stream, windows.connection]).sort(([a = 0], [b = 0]) =>
      a - b
    );
  await until(() => windows().every(([stream, connection]) => stream === connection));

  assert.equal(windows(), [[100_000, 100_000], [2 ** 20, 2 ** 20]]);
});

test("lets a session finish what it has after GOAWAY, and opens new calls on the next one meanwhile", async () => {
  let finish = () => {};
  const { channel, client } = await behind((connection, id) => {
    connection.headers(id, head);
    if (framed?.connections.indexOf(connection) === 0) {
      connection.data(id, action("a"));
      connection.goaway(id, 0);
      finish = () => {
        connection.data(id, action("b"));
        connection.headers(id, ok, true);
      };
    } else {
      connection.data(id, beat);
      connection.headers(id, ok, true);
    }
  });
  const course = listen(client);
  await until(() => framed?.connections[0]?.calls.length === 1 && channel.connection === undefined);

  await client.heartbeat({ workerId: "w" });
  const [first, second] = framed?.connections ?? [];
  const closed = [first?.closed, second?.closed];
  finish();
  const { error, heard } = await course;
  await until(() => first?.closed === true);

  assert.equal(closed, [false, false]);
  assert.equal(heard, ["a", "b"]);
  assert.is(error, undefined);
  assert.is(second?.closed, false);
  assert.ok(channel.connection?.alive);
});

test("a connection is no longer alive from the moment of its GOAWAY, and closes at once if nothing is open", async () => {
  const { channel } = await behind(() => {});
  const connection = await channel.ready(never, 1000);
  const before = connection?.alive;

  framed?.connections[0]?.goaway(0, 0);
  await until(() => framed?.connections[0]?.closed === true);

  assert.is(before, true);
  assert.is(connection?.alive, false);
  assert.is(channel.connection, undefined);
});

test("asks half as often after a peer said that it was too often", async () => {
  const { channel, client } = await behind((connection, id) => connection.headers(id, head), {
    pingIntervalMs: 50,
    pingTimeoutMs: 50,
  });
  const course = listen(client);
  await until(() => framed?.connections[0]?.pings.length === 2);

  framed?.connections[0]?.goaway(1, 11);
  const { error } = await course;
  await channel.ready(never, 1000);
  await until(() => framed?.connections[1]?.pings.length === 3);

  const gaps = (framed?.connections ?? []).map(({ pings }) => (pings.at(-1) ?? 0) - (pings.at(-2) ?? 0));
  assert.is(originOf(error), "wire");
  assert.ok((gaps[0] ?? 0) < 95 && (gaps[1] ?? 0) > 95, `every ${gaps.join(" ms, then ")} ms`);
});

test("a stream that closes without a response is an error, not a wait", async () => {
  const { client } = await behind((connection, id) => connection.reset(id, 0));

  const { error } = await listen(client);
  const unary = await client.heartbeat({ workerId: "w" }).catch((reason: unknown) => reason);

  assert.is(originOf(error), "wire");
  assert.is(originOf(unary), "wire");
  assert.is((unary as ConnectError).code, Code.Unavailable);
});

test("a stream that the peer refused was never sent", async () => {
  let code = 7;
  const { client } = await behind((connection, id) => connection.reset(id, code));

  const refused = await client.heartbeat({ workerId: "w" }).catch((reason: unknown) => reason);
  code = 2;
  const failed = await client.heartbeat({ workerId: "w" }).catch((reason: unknown) => reason);

  assert.ok(isUnsent(refused));
  assert.not(isUnsent(failed));
});

test("a call that crossed the peer's GOAWAY was never sent", async () => {
  const { client } = await behind((connection) => connection.goaway(0, 0));

  const error = await client.heartbeat({ workerId: "w" }).catch((reason: unknown) => reason);

  assert.is(originOf(error), "wire");
  assert.ok(isUnsent(error));
});

test("leaves nothing open that nobody reads: a proxy's page, a status without a message", async () => {
  const { channel, client } = open();
  const statuses = [502, 404, 200];
  server.handle = (stream) => {
    stream.respond({ ":status": statuses.shift() ?? 500, "content-type": "text/html" });
    stream.end("<html>".repeat(20_000));
  };
  const errors = [];

  for (let tries = 0; tries < 5; tries++) errors.push((await listen(client)).error);
  server.handle = (stream) => trailersOnly(stream, 5);
  for (let tries = 0; tries < 3; tries++) errors.push((await listen(client)).error);
  const session = channel.connection as unknown as Session;
  await until(() => server.open.size === 0 && session.open === 0);

  assert.equal(errors.map(originOf), [...Array(5).fill("wire"), ...Array(3).fill("engine")]);
  assert.is(proxy.accepted, 1);
});

test("a session whose own library is out of memory is replaced", async () => {
  const { client } = await behind((connection, id) => connection.reset(id, 11));

  const { error } = await listen(client);
  await listen(client);

  assert.is(originOf(error), "wire");
  assert.equal(framed?.connections.map(({ calls }) => calls.length), [1, 1]);
});

test("a call made in the very tick in which the last session died gets through, and nothing is uncaught", async () => {
  const { client } = open();
  server.handle = (stream, headers) => {
    if (headers[":path"]?.endsWith("Heartbeat")) answer(stream, [beat], 0);
    else answer(stream, [action("a")]);
  };

  for (let round = 0; round < 10; round++) {
    const course = listen(client);
    await until(() => server.open.size === 1);
    proxy.cut(round % 2 === 0 ? "rst" : "fin");
    await course;
    await client.heartbeat({ workerId: "w" });
  }

  assert.is(proxy.accepted, 11);
});

test("carries large messages beside each other, and more than its window holds", { limitMs: 5000 }, async () => {
  const { client } = open();
  const payload = "x".repeat(64 * 1024);
  server.handle = (stream, headers) => {
    if (headers[":path"]?.endsWith("ListenV2")) answer(stream, Array.from({ length: 100 }, () => action(payload)), 0);
    else stream.once("end", () => answer(stream, [beat], 0));
  };

  const uploads = Array.from({ length: 5 }, () => client.heartbeat({ workerId: "w".repeat(3_900_000) }));
  const [{ error, heard }] = await Promise.all([listen(client), ...uploads]);

  assert.is(error, undefined);
  assert.is(heard.length, 100);
  assert.is(proxy.accepted, 1);
});

test.run();
