import { Code, ConnectError } from "@connectrpc/connect";
import { ActionType, DurableTaskErrorType, RunStatus } from "../../src/proto.ts";
import { assert, suite } from "../harness.ts";
import { eventually, fail, failure, listen, pause, stopAll, trigger } from "./engine-client.ts";
import {
  durable,
  durableStream,
  evict,
  finish,
  memo,
  register,
  sleepFor,
  spawn,
  status,
} from "./engine-durable-client.ts";

const test = suite("engine: eviction");
test.after.each(stopAll);

const unknownId = "00000000-0000-4000-8000-000000000000";

test("F7: an evicted task gives its slot to the next one, and looks as if it ran", async () => {
  const { client, engine, stream, taskId, worker } = await durable();
  const second = await trigger(client, "long");
  await pause(20);
  const waiting = worker.messages.length;

  const ack = await stream.next("evictionAck", () => stream.send(evict(taskId)));
  await eventually(() => worker.messages.length === 2);
  const details = await client.admin.getRunDetails({ externalId: taskId });

  assert.is(waiting, 1);
  assert.equal([ack.durableTaskExternalId, ack.invocationCount], [taskId, 1]);
  assert.is(worker.messages[1]!.workflowRunId, second);
  assert.equal([details.status, details.done, details.isEvicted], [RunStatus.RUNNING, false, true]);
  assert.ok(details.taskRuns["long"]!.isEvicted);
  assert.equal(engine.seen.startedTwice, []);
});

test("F7: eviction ignores the number, acknowledges also when nothing was evicted, and knows unknown tasks", async () => {
  const { client, stream, taskId, worker } = await durable();

  const ack = await stream.next("evictionAck", () => stream.send(evict(taskId, 9)));
  const details = await client.admin.getRunDetails({ externalId: taskId });
  await stream.next("evictionAck", () => stream.send(evict(taskId)));
  const error = await stream.next("error", () => stream.send(evict(unknownId, 3)));

  assert.is(ack.invocationCount, 9);
  assert.ok(details.isEvicted);
  assert.is(error.errorType, DurableTaskErrorType.UNSPECIFIED);
  assert.equal([error.ref?.durableTaskExternalId, error.ref?.invocationCount], [unknownId, 3]);
  assert.is(worker.messages.length, 1);
});

test("F7: an evicted task comes back when what it waits for comes, and walks the same nodes again", async () => {
  const { client, engine, stream, taskId, worker } = await durable();
  await stream.next("memoAck", () => stream.send(memo(taskId, "a", 1)));
  await stream.next("waitForAck", () => stream.send(sleepFor(taskId, "60ms")));

  await stream.next("evictionAck", () => stream.send(evict(taskId)));
  await eventually(() => worker.messages.length === 2);
  const again = await stream.next("memoAck", () => stream.send(memo(taskId, "a", 1, 2)));
  const wrong = await stream.next("error", () => stream.send(sleepFor(taskId, "61ms", 2)));
  const told = stream.all("entryCompleted").length;
  const slept = await stream.next("waitForAck", () => stream.send(sleepFor(taskId, "60ms", 2)));
  await eventually(() => stream.all("entryCompleted").length > told);
  await finish(client, worker, taskId);
  const details = await client.admin.getRunDetails({ externalId: taskId });

  assert.equal([worker.messages[1]!.retryCount, worker.messages[1]!.durableTaskInvocationCount], [0, 2]);
  assert.ok(again.memoAlreadyExisted);
  assert.is(wrong.errorType, DurableTaskErrorType.NONDETERMINISM);
  assert.equal([slept.ref?.nodeId, slept.ref?.invocationCount], [2n, 2]);
  assert.equal(stream.all("entryCompleted").at(-1)!.ref?.invocationCount, 2);
  assert.is(details.status, RunStatus.COMPLETED);
  assert.not(details.isEvicted);
  assert.equal(engine.seen.startedTwice, []);
  assert.equal(engine.seen.starts.map((it) => it.invocation), [1, 2]);
});

test("F7: restoring always says that it requeued, except for a malformed id", async () => {
  const { client, stream, taskId, worker } = await durable();

  const idle = await client.dispatcher.restoreEvictedTask({ taskRunExternalId: taskId });
  const unknown = await client.dispatcher.restoreEvictedTask({ taskRunExternalId: unknownId });
  const bad = await failure(client.dispatcher.restoreEvictedTask({ taskRunExternalId: "abc" }));
  await pause(20);
  const before = worker.messages.length;
  await stream.next("evictionAck", () => stream.send(evict(taskId)));
  await client.dispatcher.restoreEvictedTask({ taskRunExternalId: taskId });
  await eventually(() => worker.messages.length === 2);

  assert.ok(idle.requeued && unknown.requeued);
  assert.is(ConnectError.from(bad).code, Code.Internal);
  assert.is(before, 1);
});

test("F7: a retry is another invocation that finds the children of the first", async () => {
  const { client, stream, taskId, worker } = await durable({}, 1);
  const first = await stream.next("triggerRunsAck", () => stream.send(spawn(taskId, 1, { input: { n: 1 } })));
  await eventually(() => worker.messages.length === 2);
  const childId = first.runEntries[0]!.workflowRunExternalId;

  await fail(client, worker.messages[0]!);
  await eventually(() => worker.messages.length === 3);
  const second = await stream.next("triggerRunsAck", () => stream.send(spawn(taskId, 2, { input: { n: 1 } })));
  await finish(client, worker, childId);
  await eventually(() => stream.all("entryCompleted").length === 1);

  assert.equal([worker.messages[2]!.retryCount, worker.messages[2]!.durableTaskInvocationCount], [1, 2]);
  assert.is(second.runEntries[0]!.workflowRunExternalId, childId);
  assert.is(stream.all("entryCompleted")[0]!.ref?.invocationCount, 2);
});

test("a replay starts from an empty log, on another branch", async () => {
  const { client, stream, taskId, worker } = await durable();
  await stream.next("memoAck", () => stream.send(memo(taskId, "a", 1)));
  await finish(client, worker, taskId);

  await client.admin.replayTasks({ externalIds: [taskId] });
  await eventually(() => worker.messages.length === 2);
  const ack = await stream.next("memoAck", () => stream.send(memo(taskId, "other", 1, 2)));

  assert.equal([ack.ref?.branchId, ack.ref?.nodeId], [2n, 1n]);
  assert.not(ack.memoAlreadyExisted);
});

test("a cancel stops a durable task by its invocation, and an evicted one without a word", async () => {
  const { client, stream, taskId, worker } = await durable();
  await stream.next("evictionAck", () => stream.send(evict(taskId)));
  const second = await trigger(client, "long");
  await eventually(() => worker.messages.length === 2);

  await client.admin.cancelTasks({ externalIds: [taskId, second] });
  await eventually(() => worker.messages.length === 3);
  const details = await client.admin.getRunDetails({ externalId: taskId });
  const cancel = worker.messages[2]!;

  assert.is(details.status, RunStatus.CANCELLED);
  assert.is(cancel.actionType, ActionType.CANCEL_STEP_RUN);
  assert.equal([cancel.taskRunExternalId, cancel.durableTaskInvocationCount], [second, 1]);
});

test("what a durable task waits for survives a crash, and a question afterwards is answered", async () => {
  const stage = await durable();
  const { client, engine, stream, taskId, worker } = stage;
  await stream.next("waitForAck", () => stream.send(sleepFor(taskId, "40ms")));

  await engine.kill();
  const ended = await stream.ended;
  await engine.restart();
  listen(client, worker.workerId);
  const next = durableStream(client);
  await next.next("registerWorker", () => register(next, worker));
  while (next.all("entryCompleted").length === 0) {
    next.send(status(worker, taskId, [1]));
    await pause(20);
  }

  assert.ok(ended !== undefined);
  assert.is(next.all("entryCompleted")[0]!.ref?.nodeId, 1n);
});

test.run();
