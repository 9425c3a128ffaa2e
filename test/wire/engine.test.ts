import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Dispatcher, RunStatus } from "../../src/proto.ts";
import { assert, suite } from "../harness.ts";
import {
  complete,
  eventually,
  failure,
  listen,
  pause,
  plain,
  put,
  results,
  start,
  stopAll,
  trigger,
  work,
} from "./engine-client.ts";

const test = suite("engine");
test.after.each(stopAll);

test("issues a token with the claims of a real one", async () => {
  const engine = await start({ tokenTtlMs: 60_000 });

  const claims = JSON.parse(atob(engine.token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")));

  assert.is(claims.sub, engine.tenantId);
  assert.is(claims.grpc_broadcast_address, engine.hostPort);
  assert.ok(Math.abs(claims.exp * 1000 - Date.now() - 60_000) < 5000);
});

test("F10: refuses a call without the token, and takes the scheme in any case", async () => {
  const engine = await start();
  const stranger = plain(engine, "ey.nobody.knows");
  const { hostPort, token } = engine;
  const bare = createClient(Dispatcher, createGrpcTransport({ baseUrl: `http://${hostPort}` }));

  const unary = ConnectError.from(await failure(stranger.dispatcher.getVersion({})));
  const stream = ConnectError.from(await listen(stranger, engine.tenantId).ended);
  const missing = ConnectError.from(await failure(bare.getVersion({})));
  const { version } = await bare.getVersion({}, { headers: { authorization: `BEARER ${token}` } });

  for (const error of [unary, stream, missing]) {
    assert.is(error.code, Code.Unauthenticated);
    assert.is(error.rawMessage, "invalid auth token");
    assert.is(error.metadata.get("grpc-status"), "16");
  }
  assert.match(version, /^v0\./);
});

test("F10: refuses its token once it is out of date, and takes a new one", async () => {
  const engine = await start({ tokenTtlMs: 40 });
  await pause(60);

  const expired = ConnectError.from(await failure(plain(engine).dispatcher.getVersion({})));
  const { version } = await plain(engine, engine.issueToken()).dispatcher.getVersion({});

  assert.is(expired.code, Code.Unauthenticated);
  assert.ok(version);
});

test("F8: a drain lets everything go on, then ends every stream OK and refuses connections", async () => {
  const engine = await start({ timing: { quietMs: 200 } });
  const client = plain(engine);
  await put(client, "late");
  const worker = await work(client, engine, "late:late");
  const idle = results(client);
  idle.ask(engine.tenantId);
  await eventually(() => engine.seen.subscriptions[0]?.runIds.length === 1);

  const down = engine.drain();
  const runId = await trigger(client, "late");
  await eventually(() => worker.messages.length === 1);
  const before = performance.now();
  const ends = await Promise.all([worker.ended, idle.ended]);
  const endedMs = performance.now() - before;
  await down;
  const refused = ConnectError.from(await failure(plain(engine).dispatcher.getVersion({})));

  assert.equal(ends, [undefined, undefined]);
  assert.ok(endedMs < 500);
  assert.is(worker.messages[0]?.workflowRunId, runId);
  assert.is(refused.code, Code.Unavailable);
});

test("F8: a drain lets a unary call finish, while new connections are refused", async () => {
  const engine = await start({ timing: { quietMs: 0 } });
  const client = plain(engine);
  await client.dispatcher.getVersion({});
  engine.faults.delayAnswers("Register", 150);

  const call = client.dispatcher.register({ workerName: "w" });
  await eventually(() => engine.seen.count("Register") === 1);
  const down = engine.drain();
  await pause(50);
  const refused = ConnectError.from(await failure(plain(engine).dispatcher.getVersion({})));
  const { workerId } = await call;
  await down;

  assert.is(refused.code, Code.Unavailable);
  assert.ok(workerId);
});

test("F9: an idle stream that a drain ends answers in one frame, status among the headers", async () => {
  const engine = await start();
  const client = plain(engine);
  const worker = await work(client, engine);
  const headersBefore = worker.headers;

  await engine.drain();
  await worker.ended;

  assert.is(headersBefore, undefined);
  assert.ok(worker.headers?.includes("grpc-status"));
});

test("F8: after a drain and a restart some workers are inactive until they listen again, as chance has it", async () => {
  const engine = await start({ seed: 1 });
  const client = plain(engine);
  const ids: string[] = [];
  for (let n = 0; n < 16; n++) ids.push((await work(client, engine)).workerId);

  await engine.drain();
  await engine.restart();
  const { dispatcher } = plain(engine);
  const beats = await Promise.all(
    ids.map((workerId) =>
      dispatcher.heartbeat({ workerId }).then(() => "OK", (error: unknown) => ConnectError.from(error))
    ),
  );
  const refused = beats.findIndex((beat) => beat !== "OK");
  const error = beats[refused];

  assert.ok(beats.includes("OK") && error instanceof ConnectError);
  assert.is(error.code, Code.FailedPrecondition);
  assert.is(error.rawMessage, `Heartbeat rejected: worker stream is not active: ${ids[refused]}`);
});

test("F8: after a kill the worker stays active, and its work goes to the dead process", async () => {
  const engine = await start();
  const before = plain(engine);
  await put(before, "zombie", { timeout: "300ms" });
  const worker = await work(before, engine, "zombie:zombie");

  await engine.kill();
  const cut = await worker.ended;
  await engine.restart();
  const client = plain(engine);
  await client.dispatcher.heartbeat({ workerId: worker.workerId });
  const externalId = await trigger(client, "zombie");
  await eventually(async () => (await client.admin.getRunDetails({ externalId })).status === RunStatus.RUNNING);
  const again = listen(client, worker.workerId);
  await eventually(async () => (await client.admin.getRunDetails({ externalId })).done);
  const details = await client.admin.getRunDetails({ externalId });

  assert.instance(cut, Error);
  assert.equal(engine.seen.starts, []);
  assert.is(details.taskRuns["zombie"]?.error, "Task exceeded timeout of 300ms");
  again.abort.abort();
});

test("F8: a restart keeps port, workers and runs, and serves a worker that listens again", async () => {
  const engine = await start();
  const { hostPort } = engine;
  const before = plain(engine);
  await put(before, "kept");
  const { workerId } = await work(before, engine, "kept:kept");
  const asleep = await before.workflows.triggerWorkflow({ name: "kept", input: "{}" });

  await engine.restart();
  const client = plain(engine);
  const worker = listen(client, workerId);
  await eventually(() => engine.seen.open("ListenV2") === 1);
  await client.dispatcher.heartbeat({ workerId });
  const later = await trigger(client, "kept");
  await eventually(() => worker.messages.some((action) => action.workflowRunId === later));
  const details = await client.admin.getRunDetails({ externalId: asleep.workflowRunId });

  assert.is(engine.hostPort, hostPort);
  assert.is(details.done, false);
  worker.abort.abort();
});

test("F8: after a kill nothing is scheduled while the engine is blind", async () => {
  const engine = await start({ timing: { blindMs: 150 } });
  const before = plain(engine);
  await put(before, "blind");
  const { workerId } = await work(before, engine, "blind:blind");

  await engine.kill();
  await engine.restart();
  const restarted = performance.now();
  const client = plain(engine);
  const worker = listen(client, workerId);
  await eventually(() => engine.seen.open("ListenV2") === 1);
  await client.dispatcher.heartbeat({ workerId });
  await trigger(client, "blind");
  await eventually(() => worker.messages.length === 1);

  assert.ok(performance.now() - restarted > 120);
  worker.abort.abort();
});

test("closing is final, and closing twice is closing once", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "open");
  const worker = await work(client, engine, "open:open");
  await trigger(client, "open");

  await Promise.all([engine.close(), engine.close()]);
  await engine.close();
  await worker.ended;
  const refused = await failure(engine.restart());

  assert.match(String(refused), "The engine is closed");
});

test("closing cuts a drain short, and both are done", async () => {
  const engine = await start({ timing: { quietMs: 60_000 } });
  const worker = await work(plain(engine), engine);

  const down = engine.drain();
  await engine.close();
  await down;

  assert.instance(await worker.ended, Error);
});

test("a restart waits for a drain that is ending", async () => {
  const engine = await start({ timing: { quietMs: 20 } });
  const client = plain(engine);

  const down = engine.drain();
  await pause(21);
  await engine.restart();
  await down;
  await engine.restart();
  const { version } = await plain(engine).dispatcher.getVersion({});

  assert.ok(version);
  assert.ok(client);
});

test("the same seed gives the same ids", async () => {
  const one = await start({ seed: 7 });
  const two = await start({ seed: 7 });

  const [a, b] = await Promise.all([plain(one), plain(two)].map((it) => it.dispatcher.register({ workerName: "w" })));

  assert.is(one.tenantId, two.tenantId);
  assert.is(a?.workerId, b?.workerId);
});

test("a thousand runs end with one result each", { limitMs: 20_000 }, async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "many");
  const worker = await work(client, engine, "many:many");
  const stream = results(client);
  const done = new Set<string>();

  const { workflowRunIds } = await client.workflows.bulkTriggerWorkflow({
    workflows: Array.from({ length: 1000 }, (_, index) => ({ name: "many", input: `{"index":${index}}` })),
  });
  for (const id of workflowRunIds) stream.ask(id);
  await eventually(async () => {
    await Promise.all(worker.messages.splice(0).map((action) => complete(client, action)));
    await client.dispatcher.heartbeat({ workerId: worker.workerId });
    for (const event of stream.messages) done.add(event.workflowRunId);
    return done.size === 1000;
  });

  assert.is(stream.messages.length, 1000);
  assert.equal(engine.seen.startedTwice, []);
  assert.is(engine.seen.triggers, 1000);
});

test.run();
