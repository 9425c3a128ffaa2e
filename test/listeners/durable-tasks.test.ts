import { Code } from "@connectrpc/connect";
import { DurableTaskErrorType } from "../../gen/v1/dispatcher_pb.ts";
import { NonDeterminismError } from "../../src/listeners/durable-errors.ts";
import type { DurableRun } from "../../src/mod.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { Fate } from "../rig.ts";
import { code, completed, evicted, gotMet, met, method, ref, runsAck, says, sent, session, task } from "./durable.ts";

const test = suite("durable tasks");
test("T1: an OK end with a task alive opens a new stream", async () => {
  const { rig, fates } = await session(1);

  rig.remote.wire(method).hangUp();
  await rig.pass(3000);

  assert.is(rig.remote.opened(method).length, 2);
  assert.is(fates[0]?.text, "pending");
  await rig.done();
});

test("T2: three OK ends are four streams", async () => {
  const { rig, fates } = await session(1);

  for (let end = 0; end < 3; end++) {
    rig.remote.wire(method).hangUp();
    await rig.pass(15_000);
  }
  rig.remote.wire(method).say(met(1));
  await rig.pass(0);

  assert.ok(rig.remote.opened(method).length >= 4);
  assert.is(fates[0]?.text, gotMet(1));
  await rig.done();
});

async function comesBackAfter(status: Code): Promise<void> {
  const { rig, fates } = await session(1);

  rig.remote.wire(method).fail(said(status));
  await rig.pass(3000);
  rig.remote.wire(method).say(met(1));
  await rig.pass(0);

  assert.is(rig.remote.opened(method).length, 2);
  assert.is(fates[0]?.text, gotMet(1));
  await rig.done();
}

test("T3: after Unavailable the stream comes back, and what was waited for arrives", () =>
  comesBackAfter(Code.Unavailable));

test("T4: after Internal the stream comes back, and what was waited for arrives", () => comesBackAfter(Code.Internal));

// With note N1: an engine that shuts down says Canceled, too, and the task is still ours.
test("T5: after the engine's Canceled the stream comes back for a task that is alive", () =>
  comesBackAfter(Code.Canceled));

test("T5: the engine's Canceled with no task alive is a clean end, and connects no more", async () => {
  const { rig, tasks, fates } = await session(1);
  tasks.forget(task);

  rig.remote.wire(method).fail(said(Code.Canceled));
  await rig.pass(60_000);

  assert.is(rig.remote.opened(method).length, 1);
  assert.is(code(fates[0]), "stale");
  assert.equal(rig.client.health().streams, []);
  await rig.done();
});

test("T6: a close while the stream is silent settles who waits, and nothing comes back", async () => {
  const { rig, tasks, fates } = await session(1);

  await rig.clock.drive(tasks.close());
  await rig.pass(60_000);

  assert.is(fates[0]?.text, "closed");
  assert.equal([rig.remote.opened(method).length, rig.remote.underWay, rig.clock.asleep], [1, [], 0]);
  const late = new Fate(tasks.memo(task, "late", 1));
  await rig.pass(0);
  assert.is(late.text, "closed");
  await rig.done();
});

test("T7: a lost stream fails each request that it had taken, and none is left or sent again", async () => {
  const { rig, tasks } = await session();
  const other = { taskId: id(2), invocation: 1 };
  const fates = [
    new Fate(tasks.memo(task, "a", 1)),
    new Fate(tasks.triggerRuns(other, [{ task: "child" }])),
    new Fate(tasks.waitFor(task, { sleepMs: 1000 })),
  ];
  await rig.pass(500);
  assert.is(tasks.pending, 3);

  rig.remote.kill();
  await rig.pass(3000);

  assert.equal(fates.map(code), ["lost", "lost", "lost"]);
  assert.instance(fates[0]?.cause, Error);
  assert.equal([tasks.pending, sent(rig.remote.wire(method))], [0, ["registerWorker"]]);
  const later = new Fate(tasks.memo(task, "b", 1));
  await rig.pass(3000);
  assert.is(code(later), "lost", "nobody knows at which node it would be");
  await rig.done();
});

test("T8: failed connects fail no request that was not sent: it goes out behind the worker's name", async () => {
  const { rig, tasks } = await session();
  rig.remote.listening = false;

  const fate = new Fate(tasks.triggerRuns(task, [{ task: "child" }, { task: "child" }]));
  await rig.pass(10_000);
  assert.equal([fate.text, tasks.pending], ["pending", 1]);
  rig.remote.listening = true;
  await rig.pass(20_000);
  rig.remote.wire(method).say(runsAck([1, 2]));
  await rig.pass(0);

  assert.equal(sent(rig.remote.wire(method)).slice(0, 2), ["registerWorker", "triggerRuns"]);
  assert.equal((fate.value as DurableRun[]).map(({ id, node }) => [id, node]), [[id(101), 1], [id(102), 2]]);
  assert.ok(rig.remote.dialedAt.length > 2);
  await rig.done();
});

test("T9: what is waited for outlives a disconnect", async () => {
  const { rig, tasks, fates } = await session(1);

  rig.remote.listening = false;
  rig.remote.kill();
  await rig.pass(600_000);

  assert.equal([tasks.awaited, fates[0]?.text], [1, "pending"]);
  await rig.done();
});

test("T10: the next stream begins with the worker and the very steps that are waited for, and tells them", async () => {
  const { rig, fates } = await session(3);

  rig.remote.kill();
  await rig.pass(2500);
  assert.equal(sent(rig.remote.wire(method)).slice(0, 2), ["registerWorker", "status 1.1.1.3"]);
  rig.remote.wire(method).say(met(3));
  await rig.pass(0);

  assert.is(fates[0]?.text, gotMet(3));
  await rig.done();
});

test("T11: a lost stream fails evictions under way", async () => {
  const { rig, tasks } = await session(1);
  const eviction = new Fate(tasks.evict(task));
  await rig.pass(100);

  rig.remote.kill();
  await rig.pass(0);

  assert.equal([code(eviction), tasks.pending], ["lost", 0]);
  await rig.done();
});

test("T12: after a reconnect the stream is live, and its place says so", async () => {
  const { rig } = await session(1);

  rig.remote.kill();
  await rig.pass(2500);
  rig.remote.wire(method).say(says("registerWorker", { workerId: id(9) }));
  await rig.pass(0);

  const { ready, streams } = rig.client.health();
  assert.equal(streams.map(({ id, state, stream }) => [stream, id, state]), [["durable-tasks", id(9), "live"]]);
  assert.is(ready, true);
  await rig.done();
});

test("T13: after a reconnect it is a new stream that is written to", async () => {
  const { rig, tasks } = await session(1);
  rig.remote.kill();
  await rig.pass(2500);

  void new Fate(tasks.memo({ taskId: id(2), invocation: 1 }, "a", 1));
  await rig.pass(500);

  assert.equal(rig.remote.opened(method).map((wire) => sent(wire).includes("memo a")), [false, true]);
  await rig.done();
});

test("T14: a request that does not repeat what was done before fails, with task, invocation and node", async () => {
  const { rig, tasks } = await session();
  const seventh = { taskId: id(1), invocation: 7 };
  const fate = new Fate(tasks.triggerRuns(seventh, [{ task: "child" }]));
  await rig.pass(500);

  rig.remote.wire(method).say(
    says("error", {
      ref: ref(3, seventh),
      errorType: DurableTaskErrorType.NONDETERMINISM,
      errorMessage: "another input",
    }),
  );
  await rig.pass(0);

  const error = fate.error as NonDeterminismError;
  assert.instance(error, NonDeterminismError);
  assert.equal([error.taskId, error.invocation, error.node], [id(1), 7, 3]);
  assert.match(error.message, "another input");
  assert.is(tasks.pending, 0);
  await rig.done();
});

test("T15: the engine's eviction calls back once, and nothing of the invocation is left", async () => {
  const { rig, tasks, fates } = await session(1);
  const request = new Fate(tasks.memo(task, "a", 1));
  const queued = new Fate(tasks.memo(task, "b", 1));
  const told: object[] = [];
  const undo = tasks.onServerEvict((eviction) => told.push(eviction));
  tasks.onServerEvict(() => {
    throw new Error("not your day");
  });
  await rig.pass(100);

  rig.remote.wire(method).say(evicted("stalled"), evicted("stalled"));
  await rig.pass(1500);

  assert.equal(told, [{ taskId: id(1), invocation: 1, reason: "stalled" }]);
  assert.equal([fates[0], request, queued].map(code), ["evicted", "evicted", "evicted"]);
  assert.equal([tasks.pending, tasks.awaited, tasks.buffered], [0, 0, 0]);
  assert.not.ok(sent(rig.remote.wire(method)).includes("memo b"), "nothing goes out that was behind it");
  assert.match(JSON.stringify(rig.lines), "A callback failed");
  undo();
  const again = new Fate(tasks.memo(task, "c", 1));
  await rig.pass(100);
  assert.is(code(again), "evicted");
  await rig.done();
});

test("T16: an eviction that is not answered times out after half a minute, and is not left pending", async () => {
  const { rig, tasks } = await session(1);
  const fate = new Fate(tasks.evict(task, "for a while"));

  await rig.pass(29_900);
  assert.is(fate.text, "pending");
  await rig.pass(200);

  assert.is(code(fate), "timeout");
  assert.match((fate.error as Error).message, "timed out");
  assert.is(tasks.pending, 0);
  await rig.done();
});

test("T17: a completion that came before anybody asked is kept, and given to whoever asks late", async () => {
  const { rig, tasks } = await session();
  const triggering = new Fate(tasks.triggerRuns(task, [{ task: "child" }]));
  await rig.pass(500);
  const wire = rig.remote.wire(method);

  wire.say(completed(1, { early: true })); // It may overtake the answer.
  await rig.pass(100);
  wire.say(runsAck([1]));
  await rig.pass(3_600_000);
  assert.is(tasks.buffered, 1);
  const [run] = triggering.value as DurableRun[];
  const result = await run?.result();

  assert.equal(result, { early: true });
  assert.is(tasks.buffered, 0);
  assert.equal(await run?.result(), { early: true });
  await rig.done();
});

test("T18: a close during the back-off ends it at once", async () => {
  const { rig, tasks, fates } = await session(1);
  rig.remote.listening = false;
  rig.remote.kill();
  await rig.pass(500);

  await rig.clock.drive(tasks.close());

  assert.is(fates[0]?.text, "closed");
  assert.equal([rig.clock.asleep, rig.client.health().streams], [0, []]);
  await rig.done();
});

test.run();
