import { assert, suite } from "../harness.ts";
import { eventually, pause, stopAll } from "./engine-client.ts";
import {
  durable,
  durableStream,
  evict,
  memo,
  register,
  sleepFor,
  type Stage,
  status,
} from "./engine-durable-client.ts";

const test = suite("engine: completions of durable tasks");
test.after.each(stopAll);

/** A second stream of the worker, as after a cut; the first one is gone. */
async function reconnected({ client, engine, stream, worker }: Stage) {
  stream.abort.abort();
  await stream.ended;
  await eventually(() => engine.seen.open("DurableTask") === 0);
  const next = durableStream(client);
  await next.next("registerWorker", () => register(next, worker));
  return next;
}

/** One sleep that is over, on the first stream. */
async function slept(stage: Stage) {
  const { stream, taskId } = stage;
  await stream.next("waitForAck", () => stream.send(sleepFor(taskId, "1ms")));
  await eventually(() => stream.all("entryCompleted").length === 1);
}

test("F7: an answer to worker_status repeats what is there, as often as it is asked", async () => {
  const stage = await durable();
  const { stream, taskId, worker } = stage;
  await slept(stage);
  await stream.next("waitForAck", () => stream.send(sleepFor(taskId, "1ms")));
  await eventually(() => stream.all("entryCompleted").length === 2);

  for (let count = 0; count < 2; count++) stream.send(status(worker, taskId, [2, 3, 1]));
  stream.send(status(worker, taskId, []));
  await eventually(() => stream.all("entryCompleted").length === 6);
  await stream.next("memoAck", () => stream.send(memo(taskId, "a")));

  assert.equal(stream.all("entryCompleted").map((it) => it.ref?.nodeId), [1n, 2n, 1n, 2n, 1n, 2n]);
});

test("F7: completions go to the stream of the last request, and nowhere without one", async () => {
  const stage = await durable();
  const { client, stream, taskId, worker } = stage;
  const other = durableStream(client);
  await other.next("registerWorker", () => register(other, worker));

  await stream.next("waitForAck", () => stream.send(sleepFor(taskId, "40ms")));
  await other.next("memoAck", () => other.send(memo(taskId, "a")));
  await eventually(() => other.all("entryCompleted").length === 1);
  // Only asking binds nothing: the next one is dropped when the stream that asked for it is gone.
  await other.next("waitForAck", () => other.send(sleepFor(taskId, "40ms")));
  other.abort.abort();
  stream.send(status(worker, taskId, [3]));
  await pause(100);
  const dropped = stream.all("entryCompleted").length;
  stream.send(status(worker, taskId, [3]));
  await eventually(() => stream.all("entryCompleted").length === 1);

  assert.is(dropped, 0);
  assert.is(stream.all("entryCompleted")[0]!.ref?.nodeId, 3n);
});

test("F7: a stream that ends takes the task's binding along, also one that is not its own any more", async () => {
  const stage = await durable();
  const { client, engine, stream, taskId, worker } = stage;
  const newer = durableStream(client);
  await newer.next("registerWorker", () => register(newer, worker));
  await stream.next("memoAck", () => stream.send(memo(taskId, "a")));
  await newer.next("waitForAck", () => newer.send(sleepFor(taskId, "60ms")));

  stream.abort.abort();
  await eventually(() => engine.seen.open("DurableTask") === 1);
  await pause(100);
  const pushed = newer.all("entryCompleted").length;
  newer.send(status(worker, taskId, [2]));
  await eventually(() => newer.all("entryCompleted").length === 1);

  assert.is(pushed, 0);
});

test("after a cut the next completion comes on the new stream", async () => {
  const stage = await durable();
  await slept(stage);
  const { taskId } = stage;

  const next = await reconnected(stage);
  await next.next("waitForAck", () => next.send(sleepFor(taskId, "1ms")));
  await eventually(() => next.all("entryCompleted").length === 1);

  assert.is(next.all("entryCompleted")[0]!.ref?.nodeId, 2n);
});

test("F7: the gap trap holds it back until all before were asked for, and sends the task away after a while", async () => {
  const stage = await durable({ timing: { orderGapMs: 90 } });
  const { client, engine, taskId, worker } = stage;
  engine.faults.trapCompletions();
  await slept(stage);

  const next = await reconnected(stage);
  await next.next("waitForAck", () => next.send(sleepFor(taskId, "1ms")));
  await pause(40);
  next.send(status(worker, taskId, [2]));
  await pause(100);
  const held = next.all("entryCompleted").length;
  const early = next.all("serverEvict").length;
  const notice = await next.next("serverEvict", () => next.send(status(worker, taskId, [2])));
  const details = await client.admin.getRunDetails({ externalId: taskId });
  next.send(status(worker, taskId, [2, 1]));
  await eventually(() => next.all("entryCompleted").length >= 2);

  assert.is(held, 0);
  assert.is(early, 0);
  assert.match(notice.reason, "stalled on a missing entry");
  assert.is(notice.invocationCount, 1);
  assert.not(details.isEvicted);
  assert.equal(next.all("entryCompleted").map((it) => it.ref?.nodeId).slice(0, 2), [1n, 2n]);
});

test("F14: acknowledgements can be lost, though the request took effect", async () => {
  const { engine, stream, taskId } = await durable();
  engine.faults.loseAcks(2);

  stream.send(memo(taskId, "a", 1));
  await eventually(() => stream.all("entryCompleted").length === 1);
  stream.send(evict(taskId));
  await pause(30);
  const acks = stream.all("memoAck").length + stream.all("evictionAck").length;
  const evicted = await stream.next("evictionAck", () => stream.send(evict(taskId)));

  assert.is(acks, 0);
  assert.is(evicted.invocationCount, 1);
});

test("F14: acknowledgements can be late, and completions come twice", async () => {
  const { engine, stream, taskId } = await durable();
  engine.faults.delayAcks(80);
  engine.faults.duplicateCompletions();
  const begin = performance.now();

  await stream.next("memoAck", () => stream.send(memo(taskId, "a", 1)));
  const tookMs = performance.now() - begin;
  await eventually(() => stream.all("entryCompleted").length === 2);
  engine.faults.calm();
  await stream.next("memoAck", () => stream.send(memo(taskId, "b", 1)));
  await eventually(() => stream.all("entryCompleted").length === 3);

  assert.ok(tookMs >= 75, `${tookMs}`);
  assert.equal(stream.all("entryCompleted").map((it) => it.ref?.nodeId), [1n, 1n, 2n]);
});

test.run();
