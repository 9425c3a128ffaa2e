import process from "node:process";
import { Code, ConnectError } from "@connectrpc/connect";
import { createClient, RunFailedError, StreamError, task } from "../../src/mod.ts";
import type { EngineOptions } from "../../src/testing/mod.ts";
import { assert, rejects, suite } from "../harness.ts";
import { double, first, hasty, nobody, quick, Stage, until } from "./client.ts";
import { pem } from "./server.ts";

const test = suite("client start");

let stage: Stage | undefined;
async function open(options: EngineOptions = {}): Promise<Stage> {
  return stage = await Stage.open({ seed: 1, ...options });
}
test.after.each(() => stage?.close());

const few = { ...quick, setupAttempts: 3 };
const workerId = nobody;

test("a port that refuses is unreachable, with what the system said", { limitMs: 10_000 }, async () => {
  const { proxy } = await open();
  const client = stage!.client({ retry: few });
  await proxy.refuse(true);

  const trigger = await rejects(client.runs.trigger(double, { number: 1 }), StreamError);
  const result = await rejects(client.runs.result(nobody), StreamError);
  const loop = await rejects(first(client.actions({ workerId })), StreamError);
  const worker = await rejects(client.worker("w", { tasks: [double] }).run(), StreamError);

  for (const error of [trigger, result, loop, worker]) {
    assert.equal([error.code, error.attempts, systemCode(error)], ["unreachable", 3, "ECONNREFUSED"]);
  }
});

/** The system's own word, at the end of the causes. */
function systemCode(error: unknown): unknown {
  for (let one = error; one instanceof Error; one = one.cause) {
    if ("code" in one && typeof one.code === "string" && one.code.startsWith("E")) return one.code;
  }
  return undefined;
}

for (const trap of ["close", "rst", "garbage", "silence", "http502"] as const) {
  test(`a port that accepts and then does "${trap}" is unreachable`, { limitMs: 10_000 }, async () => {
    const { proxy } = await open();
    const client = stage!.client({ retry: { ...few, connectTimeoutMs: 300 } });
    proxy.acceptThen(trap);

    const errors = await Promise.all([
      rejects(client.runs.trigger(double, { number: 1 }), StreamError),
      rejects(client.runs.result(nobody), StreamError),
      rejects(first(client.actions({ workerId })), StreamError),
    ]);

    assert.equal(errors.map(({ code }) => code), ["unreachable", "unreachable", "unreachable"]);
    assert.ok(errors.every(({ cause }) => cause instanceof Error));
    assert.ok(proxy.accepted <= 9, `${proxy.accepted} dials`);
  });
}

test("an engine that is down at the start and comes up is found", { limitMs: 10_000 }, async () => {
  const { engine } = await open();
  const client = stage!.client({ retry: { ...quick, firstDelayMs: 200, baseMs: 200 } });
  await engine.kill();
  const worker = client.worker("early", { tasks: [double] });
  const running = worker.run();
  const ready = Promise.race([worker.ready(), running]);

  await engine.restart();
  await ready;
  const { doubled } = await client.runs.run(double, { number: 4 });

  assert.is(doubled, 8);
});

test("a run that the engine does not know is refused, and not waited for", { limitMs: 10_000 }, async () => {
  await open();
  const client = stage!.client({ clock: hasty(60), keepAlive: false });

  const error = await rejects(client.runs.result(nobody), StreamError);

  assert.is(error.code, "refused");
  assert.ok(error.cause instanceof ConnectError && error.cause.code === Code.NotFound);
});

test("an input over the limit never leaves, and an output over it fails its run", { limitMs: 10_000 }, async () => {
  const { engine } = await open();
  const client = stage!.client();
  const huge = "x".repeat(5 * 2 ** 20);
  const shout = task({ name: "shout", run: () => ({ huge }) });
  await stage!.worker(client, shout);
  const callsBefore = engine.seen.count("TriggerWorkflow");

  const sent = await rejects(client.runs.trigger("shout", { huge }), ConnectError);
  const callsAfter = engine.seen.count("TriggerWorkflow");
  const failed = await rejects(client.runs.run(shout, {}), RunFailedError);

  assert.is(sent.code, Code.ResourceExhausted);
  assert.is(callsAfter, callsBefore);
  assert.match(failed.message, /larger than/);
});

test("a result over our own limit settles its waiter", { limitMs: 10_000 }, async () => {
  await open();
  const variable = "HATCHET_CLIENT_GRPC_MAX_RECV_MESSAGE_LENGTH";
  process.env[variable] = "20000";
  const client = stage!.client({ retry: { ...quick, maxSuspects: 3 } });
  delete process.env[variable];
  const long = task({ name: "long", run: () => ({ text: "x".repeat(30_000) }) });
  await stage!.worker(client, long);

  const error = await rejects(client.runs.run(long, {}), StreamError);

  assert.is(error.code, "stalled");
  assert.ok(error.cause instanceof ConnectError && error.cause.code === Code.ResourceExhausted);
});

const server = { cert: pem("server.crt"), key: pem("server.key") };

test("TLS and mutual TLS carry calls, streams and recoveries", { limitMs: 10_000 }, async () => {
  const { engine, proxy } = await open({ tls: { ...server, ca: pem("ca.crt") } });
  const client = stage!.client({ tls: { ca: pem("ca.crt"), cert: pem("client.crt"), key: pem("client.key") } });
  const worker = await stage!.worker(client, double);
  const run = await client.runs.trigger(double, { number: 1, afterMs: 200 });
  const result = run.result();
  await until(() => engine.seen.reports.length === 1);

  proxy.cut("rst");
  const { doubled } = await result;
  await until(() => worker.health().ready);

  assert.is(doubled, 2);
});

const distrusts = {
  "an authority that is not the engine's": { ca: pem("foreign-ca.crt") },
  "a name that is not the engine's": { ca: pem("ca.crt"), serverName: "elsewhere.invalid" },
};
for (const [name, tls] of Object.entries(distrusts)) {
  test(`${name} is refused at once, and once`, { limitMs: 10_000 }, async () => {
    const { proxy } = await open({ tls: server });
    const client = stage!.client({ tls });

    const error = await rejects(client.runs.trigger(double, { number: 1 }), StreamError);
    const dials = proxy.accepted;
    const loop = await rejects(first(client.actions({ workerId })), StreamError);

    assert.is(error.code, "refused");
    assert.match(error.message, /certificate|TLS/);
    assert.ok(error.cause instanceof Error);
    assert.is(dials, 1);
    assert.is(loop.code, "refused");
  });
}

test("without a certificate of our own mutual TLS is refused", { limitMs: 10_000 }, async () => {
  await open({ tls: { ...server, ca: pem("ca.crt") } });
  const client = stage!.client({ retry: few, tls: { ca: pem("ca.crt") } });

  const error = await rejects(client.runs.trigger(double, { number: 1 }), StreamError);

  assert.ok(["refused", "unreachable"].includes(error.code), error.code); // An alert may be lost behind a reset.
});

test("a client that never called anything closes at once", async () => {
  const { engine } = await open();

  const client = createClient({ token: engine.token, tls: false });
  await client.close();

  assert.is(engine.seen.count(), 0);
});

test.run();
