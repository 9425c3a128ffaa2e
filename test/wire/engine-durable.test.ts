import { randomUUID } from "node:crypto";
import { ConnectError } from "@connectrpc/connect";
import { DurableTaskErrorType, StepActionEventType } from "../../src/proto.ts";
import { assert, suite } from "../harness.ts";
import { eventually, pause, report, stopAll } from "./engine-client.ts";
import {
  bytes,
  durable,
  durableStream,
  evict,
  finish,
  memo,
  register,
  sleepFor,
  spawn,
  status,
  text,
} from "./engine-durable-client.ts";

const test = suite("engine: durable tasks");
test.after.each(stopAll);

const unknownId = "00000000-0000-4000-8000-000000000000";

test("F7: echoes a known worker's registration, and answers a bad one with silence", async () => {
  const { client, stream, worker } = await durable();
  const bad = durableStream(client);

  for (const workerId of ["abc", unknownId]) register(bad, { workerId });
  await bad.next("registerWorker", () => register(bad, worker));

  assert.equal(stream.all("registerWorker").map((it) => it.workerId), [worker.workerId]);
  assert.is(bad.messages.length, 1);
});

test("F7: the engine numbers the nodes of a task, and a memo comes back as its database writes it", async () => {
  const { stream, taskId, engine, worker } = await durable();

  const first = await stream.next("memoAck", () => stream.send(memo(taskId, "a", { long: 1, b: [1, 2] })));
  await eventually(() => stream.all("entryCompleted").length === 1);
  const second = await stream.next("memoAck", () => stream.send(memo(taskId, "b")));
  const [done] = stream.all("entryCompleted");

  assert.is(worker.messages[0]!.durableTaskInvocationCount, 1);
  assert.equal([first.ref?.nodeId, first.ref?.branchId, first.ref?.invocationCount], [1n, 1n, 1]);
  assert.not(first.memoAlreadyExisted);
  assert.is(text(first.memoResultPayload), '{"b": [1, 2], "long": 1}');
  assert.is(text(done!.payload), '{"b": [1, 2], "long": 1}');
  assert.is(done!.ref?.nodeId, 1n);
  assert.is(second.ref?.nodeId, 2n);
  assert.is(second.memoResultPayload, undefined);
  assert.is(stream.all("entryCompleted").length, 1);
  assert.equal(engine.seen.durable.map(({ message, stream: number }) => `${number} ${message.case}`), [
    "1 registerWorker",
    "1 memo",
    "1 memo",
  ]);
});

test("F7: a memo is completed once and without an answer, and the next invocation finds it", async () => {
  const { client, stream, taskId, worker } = await durable();
  const { ref } = await stream.next("memoAck", () => stream.send(memo(taskId, "a")));

  for (const payload of ['{"a":1}', '{"a":2}']) {
    stream.send({ case: "completeMemo", value: { ref: ref!, payload: bytes(payload), memoKey: bytes("a") } });
  }
  await stream.next("evictionAck", () => stream.send(evict(taskId)));
  await client.dispatcher.restoreEvictedTask({ taskRunExternalId: taskId });
  await eventually(() => worker.messages.length === 2);
  const before = stream.all("entryCompleted").length;
  const again = await stream.next("memoAck", () => stream.send(memo(taskId, "a", undefined, 2)));
  await eventually(() => stream.all("entryCompleted").length === 1);

  assert.is(before, 0);
  assert.ok(again.memoAlreadyExisted);
  assert.is(text(again.memoResultPayload), '{"a": 1}');
  assert.equal([again.ref?.nodeId, again.ref?.invocationCount], [1n, 2]);
  assert.is(worker.messages[1]!.retryCount, 0);
  assert.is(worker.messages[1]!.durableTaskInvocationCount, 2);
});

test("F7: bad input is met with silence, and nothing is written for it", async () => {
  const { stream, taskId } = await durable();
  const bad = { durableTaskExternalId: taskId, invocationCount: 1 };

  for (const id of ["abc", unknownId]) stream.send(memo(id, "a"));
  stream.send({ case: "memo", value: { ...bad, key: bytes("a"), payload: bytes("{oops") } });
  stream.send({ case: "triggerRuns", value: { ...bad, triggerOpts: [] } });
  stream.send({ case: "triggerRuns", value: { ...bad, triggerOpts: [{ name: "child", input: "{oops" }] } });
  stream.send(sleepFor(taskId, "soon"));
  stream.send({
    case: "waitFor",
    value: { ...bad, waitForConditions: { sleepConditions: [{ base: { orGroupId: "x" }, sleepFor: "1s" }] } },
  });
  const ack = await stream.next("memoAck", () => stream.send(memo(taskId, "good")));

  assert.is(ack.ref?.nodeId, 1n);
  assert.is(stream.messages.length, 2);
});

test("F7: a child's output completes its entry, and its failure fails it", async () => {
  const { client, stream, taskId, worker } = await durable();

  const ack = await stream.next("triggerRunsAck", () => stream.send(spawn(taskId, 1, { input: { n: 1 } }, {}, {})));
  const ids = ack.runEntries.map((entry) => entry.workflowRunExternalId);
  await eventually(() => worker.messages.length === 4);
  await finish(client, worker, ids[0]!, { z: 1, answer: 42 });
  const failed = { taskRunExternalId: ids[1]!, retryCount: 0 };
  await report(client, failed, StepActionEventType.STEP_EVENT_TYPE_FAILED, "boom");
  await client.admin.cancelTasks({ externalIds: [ids[2]!] });
  await eventually(() => stream.all("entryCompleted").length === 3);
  const done = stream.all("entryCompleted");

  assert.equal(ack.runEntries.map((entry) => entry.nodeId), [1n, 2n, 3n]);
  assert.equal(done.map((it) => [it.ref?.nodeId, it.isFailure]), [[1n, false], [2n, true], [3n, true]]);
  assert.is(text(done[0]!.payload), '{"z":1,"answer":42}');
  assert.is(done[1]!.errorMessage, "boom");
  assert.match(done[2]!.errorMessage!, "cancelled");
  assert.is(worker.messages[1]!.parentWorkflowRunId, taskId);
});

test("F7: a child of several tasks gives their outputs by name; a list as output never completes anything", async () => {
  const { client, stream, taskId, worker } = await durable();
  const tasks = ["a", "b"].map((name) => ({ readableId: name, action: `family:${name}` }));
  await client.admin.putWorkflow({ name: "family", tasks });

  const { runEntries } = await stream.next(
    "triggerRunsAck",
    () => stream.send(spawn(taskId, 1, {}, { name: "family" })),
  );
  await eventually(() => worker.messages.length === 4);
  await finish(client, worker, runEntries[0]!.workflowRunExternalId, [1]);
  const family = worker.messages.filter((action) => action.actionId.startsWith("family"));
  for (const action of family) await finish(client, worker, action.taskRunExternalId, { from: action.taskName });
  await eventually(() => stream.all("entryCompleted").length === 1);
  await pause(30);

  assert.is(stream.all("entryCompleted").length, 1);
  assert.is(text(stream.all("entryCompleted")[0]!.payload), '{"a":{"from":"a"},"b":{"from":"b"}}');
});

test("F7: the same child by index, or by a key beside it, is started once; another input under an index is refused", async () => {
  const { engine, stream, taskId } = await durable();
  const spawned = () => engine.seen.triggers;

  const a = await stream.next(
    "triggerRunsAck",
    () => stream.send(spawn(taskId, 1, { childKey: "k", childIndex: 1, input: 1 })),
  );
  const b = await stream.next(
    "triggerRunsAck",
    () => stream.send(spawn(taskId, 1, { childKey: "k", childIndex: 2, input: 2 })),
  );
  const c = await stream.next("triggerRunsAck", () => stream.send(spawn(taskId, 1, { childIndex: 0, input: 1 })));
  const error = await stream.next("error", () => stream.send(spawn(taskId, 1, { childIndex: 0, input: 2 })));
  const phantom = await stream.next("triggerRunsAck", () => stream.send(spawn(taskId, 1, { name: "nobody" })));

  assert.is(a.runEntries[0]!.workflowRunExternalId, b.runEntries[0]!.workflowRunExternalId);
  assert.is.not(a.runEntries[0]!.workflowRunExternalId, c.runEntries[0]!.workflowRunExternalId);
  assert.is(error.errorType, DurableTaskErrorType.NONDETERMINISM);
  assert.is(phantom.runEntries[0]!.nodeId, 4n);
  assert.ok(spawned() >= 3);
});

test("F7: a wait ends when each group has a match: by sleep, or by an event of its scope", async () => {
  const { client, stream, taskId } = await durable();
  const [either, also] = [randomUUID(), randomUUID()];
  const base = (readableDataKey: string, orGroupId: string, expression = "") => ({
    readableDataKey,
    orGroupId,
    expression,
  });

  await stream.next("waitForAck", () => {
    stream.send({
      case: "waitFor",
      value: {
        durableTaskExternalId: taskId,
        invocationCount: 1,
        waitForConditions: {
          sleepConditions: [{ base: base("late", either), sleepFor: "1h" }, {
            base: base("soon", also),
            sleepFor: "10ms",
          }],
          userEventConditions: [{
            base: base("paid", either, "input.amount > 10 && input.by == 'card'"),
            userEventKey: "order:paid",
            eventScope: "mine",
          }],
        },
      },
    });
  });
  for (
    const [payload, scope] of [['{"amount":5,"by":"card"}', "mine"], ['{"amount":11,"by":"card"}', "yours"], [
      "7",
      "mine",
    ]]
  ) {
    await client.events.push({ key: "order:paid", payload: payload!, scope: scope! });
  }
  await pause(60);
  const early = stream.all("entryCompleted").length;
  await client.events.push({ key: "order:paid", payload: '{"by":"card","amount":12}', scope: "mine" });
  await eventually(() => stream.all("entryCompleted").length === 1);

  assert.is(early, 0);
  assert.equal(JSON.parse(text(stream.all("entryCompleted")[0]!.payload)), {
    CREATE: { soon: [{ sleep_duration: "10ms" }], paid: [{ amount: 12, by: "card" }] },
  });
});

test("F7: a wait with a scope can look back for events, and one without conditions never ends", async () => {
  const { client, stream, taskId } = await durable();
  const { eventTimestamp } = await client.events.push({ key: "early", payload: '{"n":1}', scope: "mine" });
  const wait = (considerEventsSince?: typeof eventTimestamp, eventScope?: string) => ({
    case: "waitFor" as const,
    value: {
      durableTaskExternalId: taskId,
      invocationCount: 1,
      waitForConditions: {
        userEventConditions: [{
          base: { readableDataKey: "e", orGroupId: randomUUID() },
          userEventKey: "early",
          ...(considerEventsSince === undefined ? {} : { considerEventsSince }),
          ...(eventScope === undefined ? {} : { eventScope }),
        }],
      },
    },
  });
  await pause(20);

  const looking = await stream.next("waitForAck", () => stream.send(wait(eventTimestamp, "mine")));
  await stream.next("waitForAck", () => stream.send(wait(eventTimestamp)));
  await stream.next("waitForAck", () => stream.send(wait()));
  const nothing = { durableTaskExternalId: taskId, invocationCount: 1 };
  await stream.next("waitForAck", () => stream.send({ case: "waitFor", value: nothing }));
  await pause(30);

  assert.equal(stream.all("entryCompleted").map((it) => it.ref?.nodeId), [looking.ref?.nodeId]);
  assert.is(text(stream.all("entryCompleted")[0]!.payload), '{"CREATE":{"e":[{"n":1}]}}');
});

test("F7: two requests of a task at once get the same node, and one of them an error", async () => {
  const { stream, taskId } = await durable();

  stream.send(memo(taskId, "a", 1));
  stream.send(memo(taskId, "b", 2));
  await eventually(() => stream.all("memoAck").length === 1 && stream.all("error").length === 1);
  const [error] = stream.all("error");

  assert.is(error!.errorType, DurableTaskErrorType.NONDETERMINISM);
  assert.is(error!.ref?.nodeId, 1n);
});

test("F7: a stale request is not applied, and answered by server_evict with the number that was sent", async () => {
  const { stream, taskId, worker } = await durable();

  const first = await stream.next("serverEvict", () => stream.send(memo(taskId, "a", 1, 7)));
  const polled = await stream.next("serverEvict", () => stream.send(status(worker, taskId, [1], 0)));
  const ack = await stream.next("memoAck", () => stream.send(memo(taskId, "a", 1)));

  assert.equal([first.invocationCount, first.durableTaskExternalId], [7, taskId]);
  assert.is(polled.invocationCount, 0);
  assert.is(ack.ref?.nodeId, 1n);
});

test("a wait without base takes the engine down", async () => {
  const { engine, stream, taskId } = await durable();
  const value = { durableTaskExternalId: taskId, invocationCount: 1 };

  stream.send({ case: "waitFor", value: { ...value, waitForConditions: { sleepConditions: [{ sleepFor: "1s" }] } } });
  const ended = await stream.ended;
  await engine.restart();

  assert.instance(ended, ConnectError);
});

test("F7: half-closing ends the stream OK, and so does a drain", async () => {
  const { client, engine, stream, worker } = await durable();
  const other = durableStream(client);
  await other.next("registerWorker", () => register(other, worker));

  stream.halfClose();
  const half = await stream.ended;
  await engine.drain();
  const drained = await other.ended;

  assert.is(half, undefined);
  assert.is(drained, undefined);
});

test.run();
