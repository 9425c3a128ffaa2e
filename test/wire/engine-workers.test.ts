import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { ActionType, RunStatus, StepActionEventType } from "../../src/proto.ts";
import { cuttingProxy } from "../../src/testing/mod.ts";
import { assert, suite } from "../harness.ts";
import {
  complete,
  eventually,
  failure,
  listen,
  pause,
  type Plain,
  plain,
  put,
  read,
  start,
  stopAll,
  trigger,
  work,
} from "./engine-client.ts";

const test = suite("engine: workers");
test.after.each(stopAll);

const stranger = "00000000-0000-4000-8000-000000000000";

function details(client: Plain, externalId: string) {
  return client.admin.getRunDetails({ externalId });
}

test("F1: gives a new id at every registration, whatever the name", async () => {
  const engine = await start();
  const client = plain(engine);

  const first = await client.dispatcher.register({ workerName: "twin" });
  const second = await client.dispatcher.register({ workerName: "twin" });

  assert.is.not(first.workerId, second.workerId);
  assert.is(first.tenantId, engine.tenantId);
  assert.is(first.workerName, "twin");
});

test("F1: refuses what a registration must not say", async () => {
  const client = plain(await start());
  const bad = [
    { workerName: "with space" },
    { workerName: "w", actions: ["no-verb"] },
    { workerName: "w", slots: 1, slotConfig: { default: 1 } },
  ];

  const errors = await Promise.all(bad.map((request) => failure(client.dispatcher.register(request))));

  assert.equal(errors.map((error) => ConnectError.from(error).code), Array(3).fill(Code.InvalidArgument));
});

test("F1: an unknown worker is not found, a malformed id is an invalid argument", async () => {
  const client = plain(await start());

  const listens = await Promise.all([stranger, "abc", ""].map((id) => listen(client, id).ended));
  const beats = await Promise.all(
    [stranger, "abc"].map((workerId) => failure(client.dispatcher.heartbeat({ workerId }))),
  );

  const texts = [...listens, ...beats].map((error) => ConnectError.from(error));
  assert.equal(texts.map((error) => [error.code, error.rawMessage]), [
    [Code.NotFound, "not found"],
    [Code.InvalidArgument, "invalid worker ID format: abc"],
    [Code.InvalidArgument, ""],
    [Code.NotFound, `worker not found: ${stranger}`],
    [Code.InvalidArgument, "invalid worker ID format: abc"],
  ]);
});

test("F2: a START goes to one of two sessions, a CANCEL to both", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "twice");
  const first = await work(client, engine, "twice:twice");
  const second = listen(client, first.workerId);
  await eventually(() => engine.seen.open("ListenV2") === 2);

  const runId = await trigger(client, "twice");
  await eventually(() => first.messages.length === 1);
  await client.admin.cancelTasks({ externalIds: [runId] });
  await eventually(() => first.messages.length === 2 && second.messages.length === 1);

  assert.equal(first.messages.map((action) => action.actionType), [
    ActionType.START_STEP_RUN,
    ActionType.CANCEL_STEP_RUN,
  ]);
  assert.is(second.messages[0]?.actionType, ActionType.CANCEL_STEP_RUN);
  assert.is(second.messages[0]?.taskRunExternalId, runId);
});

test("F2: after Unsubscribe the stream stays open and deaf, and its work fails after ten internal retries", async () => {
  const engine = await start({ timing: { internalRetryMs: 0.5 } });
  const client = plain(engine);
  await put(client, "deaf");
  const worker = await work(client, engine, "deaf:deaf");

  await client.dispatcher.unsubscribe({ workerId: worker.workerId });
  const runId = await trigger(client, "deaf");
  await eventually(async () => (await details(client, runId)).done);
  await client.dispatcher.heartbeat({ workerId: worker.workerId });
  const { status, taskRuns } = await details(client, runId);

  assert.is(status, RunStatus.FAILED);
  assert.match(taskRuns["deaf"]?.error ?? "", /^Could not send task to worker/);
  assert.equal(worker.messages, []);
  assert.is(engine.seen.open("ListenV2"), 1);
});

test("F3: closing the stream makes about half of the workers inactive, whose heartbeats are refused", async () => {
  const engine = await start({ seed: 3 });
  const client = plain(engine);
  const workers = await Promise.all(Array.from({ length: 40 }, () => work(client, engine)));

  for (const worker of workers) worker.abort.abort();
  await eventually(() => engine.seen.open("ListenV2") === 0);
  const beats = await Promise.all(
    workers.map(({ workerId }) => client.dispatcher.heartbeat({ workerId }).catch((error) => ConnectError.from(error))),
  );

  const refused = beats.filter((beat) => beat instanceof ConnectError);
  assert.ok(refused.length > 8 && refused.length < 32, `${refused.length} of 40`);
  assert.ok(refused.every((error) => error.code === Code.FailedPrecondition));
});

test("F3: the older of two streams may close: the worker stays active and is served by the newer", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "renewed");
  const old = await work(client, engine, "renewed:renewed");
  const fresh = listen(client, old.workerId);
  await eventually(() => engine.seen.open("ListenV2") === 2);

  old.abort.abort();
  await eventually(() => engine.seen.open("ListenV2") === 1);
  await client.dispatcher.heartbeat({ workerId: old.workerId });
  await trigger(client, "renewed");
  await eventually(() => fresh.messages.length === 1);

  assert.is(fresh.messages[0]?.actionId, "renewed:renewed");
});

test("F3: a worker without a recent heartbeat gets no work", async () => {
  const engine = await start({ timing: { heartbeatWindowMs: 50 } });
  const client = plain(engine);
  await put(client, "quiet");
  const worker = await work(client, engine, "quiet:quiet");
  await pause(80);

  await trigger(client, "quiet");
  await pause(40);
  const before = worker.messages.length;
  await client.dispatcher.heartbeat({ workerId: worker.workerId });
  await eventually(() => worker.messages.length === 1);

  assert.is(before, 0);
});

test("F3: a silent worker loses its work without a CANCEL, and its late report changes nothing", async () => {
  const engine = await start({ timing: { reassignMs: 150, heartbeatWindowMs: 100 } });
  const client = plain(engine);
  await put(client, "lost");
  const silent = await work(client, engine, "lost:lost");
  const runId = await trigger(client, "lost");
  await eventually(() => silent.messages.length === 1);

  await pause(120);
  const other = await work(client, engine, "lost:lost");
  await eventually(async () => {
    await client.dispatcher.heartbeat({ workerId: other.workerId });
    return other.messages.length === 1;
  });
  await complete(client, silent.messages[0]!, { stale: true });
  await complete(client, other.messages[0]!, { fresh: true });
  const { taskRuns } = await details(client, runId);

  assert.is(other.messages[0]?.retryCount, 1);
  assert.is(silent.messages.length, 1);
  assert.is(new TextDecoder().decode(taskRuns["lost"]?.output), '{"fresh":true}');
});

test("F4: what was sent before a stream ended is not sent again, and its report is taken afterwards", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "once");
  const worker = await work(client, engine, "once:once");
  const runId = await trigger(client, "once");
  await eventually(() => worker.messages.length === 1);

  engine.faults.resetStreams("ListenV2");
  await worker.ended;
  const again = listen(client, worker.workerId);
  await eventually(() => engine.seen.open("ListenV2") === 1);
  await client.dispatcher.heartbeat({ workerId: worker.workerId });
  await pause(60);
  await complete(client, worker.messages[0]!);
  const { done } = await details(client, runId);

  assert.equal(again.messages, []);
  assert.ok(done);
});

test("F4: work for a worker without a stream comes back with a higher retry_count once it listens", async () => {
  const engine = await start({ seed: 1 });
  const client = plain(engine);
  await put(client, "back");
  const worker = await work(client, engine, "back:back");
  await client.dispatcher.unsubscribe({ workerId: worker.workerId });

  await trigger(client, "back");
  await pause(30);
  const again = listen(client, worker.workerId);
  await eventually(() => again.messages.length === 1);

  assert.ok(again.messages[0]!.retryCount > 0);
});

test("F4: what is cancelled while it waits for its next try stays cancelled", async () => {
  const engine = await start({ timing: { internalRetryMs: 60 } });
  const client = plain(engine);
  await put(client, "halted");
  const worker = await work(client, engine, "halted:halted");
  await client.dispatcher.unsubscribe({ workerId: worker.workerId });
  const runId = await trigger(client, "halted");
  await eventually(async () => (await details(client, runId)).status === RunStatus.RUNNING);

  await client.admin.cancelTasks({ externalIds: [runId] });
  await pause(100);

  assert.is((await details(client, runId)).status, RunStatus.CANCELLED);
});

test("hands out no more than a worker has slots for", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "slots");
  const { workerId } = await client.dispatcher.register({
    workerName: "small",
    actions: ["slots:slots"],
    slotConfig: { default: 2 },
  });
  const worker = listen(client, workerId);
  await eventually(() => engine.seen.open("ListenV2") === 1);
  await client.dispatcher.heartbeat({ workerId });

  for (let index = 0; index < 3; index++) await trigger(client, "slots");
  await eventually(() => worker.messages.length === 2);
  await pause(40);
  const full = worker.messages.length;
  await complete(client, worker.messages[0]!);
  await eventually(() => worker.messages.length === 3);

  assert.is(full, 2);
});

test("beats for a worker that uses the old Listen", async () => {
  const engine = await start({ timing: { heartbeatWindowMs: 60, listenBeatMs: 20 } });
  const client = plain(engine);
  await put(client, "old");
  const { workerId } = await client.dispatcher.register({ workerName: "old", actions: ["old:old"] });
  const worker = read((options) => client.dispatcher.listen({ workerId }, options));
  await pause(100);

  await trigger(client, "old");
  await eventually(() => worker.messages.length === 1);

  assert.equal(engine.seen.beats, []);
});

test("takes the reports of a batch, and skips tasks it does not know", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "batch");
  const worker = await work(client, engine, "batch:batch");
  const ids = [await trigger(client, "batch"), await trigger(client, "batch")];
  await eventually(() => worker.messages.length === 2);

  const items = [...ids, stranger].map((taskRunExternalId) => ({
    taskRunExternalId,
    eventPayload: "{}",
    retryCount: 0,
  }));
  await client.dispatcher.sendBatchActionEvent({
    workerId: worker.workerId,
    eventType: StepActionEventType.STEP_EVENT_TYPE_COMPLETED,
    items,
  });
  const statuses = await Promise.all(ids.map(async (id) => (await details(client, id)).status));

  assert.equal(statuses, [RunStatus.COMPLETED, RunStatus.COMPLETED]);
});

test("answers the smaller calls of a worker", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "small");
  const worker = await work(client, engine, "small:small");
  const runId = await trigger(client, "small");
  await eventually(() => worker.messages.length === 1);

  const { workerId } = worker;
  const labels = await client.dispatcher.upsertWorkerLabels({ workerId, labels: { zone: { strValue: "a" } } });
  const { timeoutAt } = await client.dispatcher.refreshTimeout({
    taskRunExternalId: runId,
    incrementTimeoutBy: "1m",
  });
  await client.dispatcher.releaseSlot({ taskRunExternalId: runId });
  await complete(client, worker.messages[0]!);
  const over = ConnectError.from(await failure(client.dispatcher.releaseSlot({ taskRunExternalId: runId })));

  assert.is(labels.workerId, workerId);
  assert.ok(Number(timeoutAt?.seconds) * 1000 - Date.now() > 100_000);
  assert.is(over.code, Code.NotFound);
  assert.ok((await details(client, runId)).done);
});

test("adds up changes of a time-out that follow each other closely, and answers with the one that is written", async () => {
  const engine = await start({ timing: { refreshMs: 200 } });
  const client = plain(engine);
  await put(client, "slow");
  const worker = await work(client, engine, "slow:slow");
  const taskRunExternalId = await trigger(client, "slow");
  await eventually(() => worker.messages.length === 1);
  const refresh = async (incrementTimeoutBy: string) =>
    timestampMs((await client.dispatcher.refreshTimeout({ taskRunExternalId, incrementTimeoutBy })).timeoutAt!);

  const first = await refresh("10s");
  const second = await refresh("20s");
  const third = await refresh("30s");
  await pause(250);
  const last = await refresh("1s");

  assert.is(second, first);
  assert.is(third, first);
  assert.ok(Math.abs(last - (first + 51_000)) <= 1, `${last - first}`);
});

test("cuts a connection that does not answer its pings, so that work goes to the stream that lives", async () => {
  const engine = await start({ timing: { pingMs: 60, pingTimeoutMs: 60 } });
  const proxy = await cuttingProxy(engine.hostPort);
  const client = plain(engine);
  await put(client, "hole");
  const { workerId } = await client.dispatcher.register({ workerName: "w", actions: ["hole:hole"] });
  const dead = listen(plain({ hostPort: proxy.hostPort, token: engine.token }), workerId);
  await eventually(() => engine.seen.open("ListenV2") === 1);

  proxy.stall();
  await pause(200);
  const open = engine.seen.open("ListenV2");
  const alive = listen(client, workerId);
  await eventually(() => engine.seen.open("ListenV2") === 1);
  await client.dispatcher.heartbeat({ workerId });
  await trigger(client, "hole");
  await eventually(() => alive.messages.length === 1);

  assert.is(open, 0);
  dead.abort.abort();
  await proxy.close();
});

test.run();
