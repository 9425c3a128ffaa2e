import { Code, ConnectError } from "@connectrpc/connect";
import { ActionType, RunStatus, StepActionEventType } from "../../src/proto.ts";
import { assert, suite } from "../harness.ts";
import {
  complete,
  eventually,
  fail,
  failure,
  pause,
  type Plain,
  plain,
  put,
  report,
  start,
  stopAll,
  trigger,
  work,
} from "./engine-client.ts";

const test = suite("engine: runs");
test.after.each(stopAll);

const unknownId = "00000000-0000-4000-8000-000000000000";

async function details(client: Plain, externalId: string) {
  const { taskRuns, ...run } = await client.admin.getRunDetails({ externalId });
  const text = new TextDecoder();
  const tasks = Object.fromEntries(
    Object.entries(taskRuns).map(([name, { status, output, error }]) => [
      name,
      { status, output: text.decode(output), error },
    ]),
  );
  return { ...run, tasks };
}

test("runs a workflow of one task, whose id is the run's", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "one");
  const worker = await work(client, engine, "one:one");

  const runId = await trigger(client, "one", { month: "2026-10" });
  await eventually(() => worker.messages.length === 1);
  const [action] = worker.messages;
  const before = await details(client, runId);
  await complete(client, action!, { total: 3 });
  const after = await details(client, runId);

  assert.is(action!.workflowRunId, runId);
  assert.is(action!.taskRunExternalId, runId);
  assert.is(action!.actionType, ActionType.START_STEP_RUN);
  assert.equal(JSON.parse(action!.actionPayload).input, { month: "2026-10" });
  assert.match(JSON.parse(action!.additionalMetadata!).traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  assert.is(before.status, RunStatus.RUNNING);
  assert.not(before.done);
  assert.is(after.status, RunStatus.COMPLETED);
  assert.ok(after.done);
  assert.equal(after.tasks, { one: { status: RunStatus.COMPLETED, output: '{"total":3}', error: "" } });
});

test("runs tasks after their parents, with the parents' outputs", async () => {
  const engine = await start();
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "dag",
    tasks: [
      { readableId: "a", action: "dag:a" },
      { readableId: "b", action: "dag:b" },
      { readableId: "c", action: "dag:c", parents: ["a", "b"] },
    ],
  });
  const worker = await work(client, engine, "dag:a", "dag:b", "dag:c");

  const runId = await trigger(client, "dag");
  await eventually(() => worker.messages.length === 2);
  for (const action of worker.messages.slice()) await complete(client, action, { from: action.taskName });
  await eventually(() => worker.messages.length === 3);
  const midway = await details(client, runId);
  const last = worker.messages[2]!;
  await complete(client, last, {});
  const after = await details(client, runId);

  assert.is(last.taskName, "c");
  assert.equal(JSON.parse(last.actionPayload).parents, { a: { from: "a" }, b: { from: "b" } });
  assert.is.not(last.taskRunExternalId, runId);
  assert.is(midway.tasks["a"]?.status, RunStatus.QUEUED);
  assert.is(after.status, RunStatus.COMPLETED);
});

test("F12: a parent whose output is a list holds its children up for ever", async () => {
  const engine = await start();
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "list",
    tasks: [{ readableId: "a", action: "list:a" }, { readableId: "b", action: "list:b", parents: ["a"] }],
  });
  const worker = await work(client, engine, "list:a", "list:b");

  const runId = await trigger(client, "list");
  await eventually(() => worker.messages.length === 1);
  await complete(client, worker.messages[0]!, [1, 2]);
  await pause(50);
  const stuck = await details(client, runId);

  assert.is(worker.messages.length, 1);
  assert.not(stuck.done);
});

test("F12: an input that is no object arrives as null, keys arrive sorted, and HTML characters escaped", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "shape");
  const worker = await work(client, engine, "shape:shape");

  for (const input of [[1], "text", 5, { b: "<&>", a: { d: 1, c: 2 } }]) await trigger(client, "shape", input);
  await eventually(() => worker.messages.length === 4);
  const payloads = worker.messages.map((action) => action.actionPayload);

  assert.equal(payloads.slice(0, 3).map((payload) => JSON.parse(payload).input), [null, null, null]);
  assert.match(payloads[3]!, '{"input":{"a":{"c":2,"d":1},"b":"\\u003c\\u0026\\u003e"}');
});

test("retries a failed attempt as often as the task says, after its back-off", { limitMs: 6000 }, async () => {
  const engine = await start();
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "retry",
    tasks: [{ readableId: "retry", action: "retry:retry", retries: 2, backoffFactor: 1.2, backoffMaxSeconds: 10 }],
  });
  const worker = await work(client, engine, "retry:retry");
  const runId = await trigger(client, "retry");

  const times: number[] = [];
  for (let attempt = 0; attempt < 3; attempt++) {
    await eventually(() => worker.messages.length === attempt + 1);
    times.push(performance.now());
    await fail(client, worker.messages[attempt]!, `attempt ${attempt}`);
  }
  const { status, tasks } = await details(client, runId);

  assert.equal(worker.messages.map((action) => action.retryCount), [0, 1, 2]);
  assert.is(status, RunStatus.FAILED);
  assert.is(tasks["retry"]?.error, "attempt 2");
  assert.ok(times[1]! - times[0]! > 1150, "1.2 s to the power of 1");
  assert.ok(times[2]! - times[1]! > 1400, "1.2 s to the power of 2");
});

test("gives up at once when the worker says that retrying is no use", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "hopeless", { retries: 5 });
  const worker = await work(client, engine, "hopeless:hopeless");
  const runId = await trigger(client, "hopeless");
  await eventually(() => worker.messages.length === 1);

  await client.dispatcher.sendStepActionEvent({
    taskRunExternalId: runId,
    eventType: StepActionEventType.STEP_EVENT_TYPE_FAILED,
    eventPayload: "no",
    retryCount: 0,
    shouldNotRetry: true,
  });

  assert.is((await details(client, runId)).status, RunStatus.FAILED);
});

test("the first end of an attempt ends the run; the details show the last of the current attempt", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "first", { retries: 1 });
  const worker = await work(client, engine, "first:first");
  const runId = await trigger(client, "first");
  await eventually(() => worker.messages.length === 1);
  await fail(client, worker.messages[0]!);
  await eventually(() => worker.messages.length === 2);

  await complete(client, worker.messages[0]!, { old: true });
  const whileRunning = await details(client, runId);
  await complete(client, worker.messages[1]!, { first: true });
  const first = await details(client, runId);
  await fail(client, worker.messages[1]!);
  const second = await details(client, runId);
  await complete(client, worker.messages[1]!, { third: true });
  const third = await details(client, runId);

  assert.not(whileRunning.done);
  assert.equal([first.status, first.tasks["first"]?.output], [RunStatus.COMPLETED, '{"first":true}']);
  assert.equal([second.status, second.tasks["first"]?.error], [RunStatus.FAILED, "broken"]);
  assert.equal([third.status, third.tasks["first"]?.output], [RunStatus.COMPLETED, '{"third":true}']);
});

test("F12: an output that is no JSON fails the attempt, though the report is answered OK", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "garbage");
  const worker = await work(client, engine, "garbage:garbage");
  const runId = await trigger(client, "garbage");
  await eventually(() => worker.messages.length === 1);

  await report(client, worker.messages[0]!, StepActionEventType.STEP_EVENT_TYPE_COMPLETED, "{oops");

  assert.is((await details(client, runId)).status, RunStatus.FAILED);
});

test("a report about no task of ours is an invalid argument", async () => {
  const client = plain(await start());
  const { STEP_EVENT_TYPE_COMPLETED } = StepActionEventType;

  const errors = await Promise.all(
    [unknownId, "abc"].map((taskRunExternalId) =>
      failure(report(client, { taskRunExternalId, retryCount: 0 }, STEP_EVENT_TYPE_COMPLETED, "{}"))
    ),
  );

  assert.equal(errors.map((error) => ConnectError.from(error).code), [Code.InvalidArgument, Code.InvalidArgument]);
});

test("an attempt that takes too long is cancelled and fails with the engine's sentence", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "slow", { timeout: "80ms" });
  const worker = await work(client, engine, "slow:slow");

  const runId = await trigger(client, "slow");
  await eventually(() => worker.messages.length === 2);
  const { status, tasks } = await details(client, runId);

  assert.is(worker.messages[1]?.actionType, ActionType.CANCEL_STEP_RUN);
  assert.is(status, RunStatus.FAILED);
  assert.is(tasks["slow"]?.error, "Task exceeded timeout of 80ms");
});

test("a task that no worker takes in time is cancelled without a word", async () => {
  const client = plain(await start());
  await put(client, "nobody", { scheduleTimeout: "60ms" });

  const runId = await trigger(client, "nobody");
  await eventually(async () => (await details(client, runId)).done);
  const { status, tasks } = await details(client, runId);

  assert.is(status, RunStatus.CANCELLED);
  assert.is(tasks["nobody"]?.error, "");
});

test("a failed parent cancels its children and wakes the task for failures", async () => {
  const engine = await start();
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "mishap",
    tasks: [{ readableId: "a", action: "mishap:a" }, { readableId: "b", action: "mishap:b", parents: ["a"] }],
    onFailureTask: { readableId: "rescue", action: "mishap:rescue" },
  });
  const worker = await work(client, engine, "mishap:a", "mishap:b", "mishap:rescue");

  const runId = await trigger(client, "mishap");
  await eventually(() => worker.messages.length === 1);
  await fail(client, worker.messages[0]!, "the reason");
  await eventually(() => worker.messages.length === 2);
  const rescue = worker.messages[1]!;
  await complete(client, rescue, {});
  const { status, tasks } = await details(client, runId);

  assert.is(rescue.taskName, "rescue");
  assert.equal(JSON.parse(rescue.actionPayload).step_run_errors, { a: "the reason" });
  assert.is(tasks["b"]?.status, RunStatus.CANCELLED);
  assert.is(status, RunStatus.FAILED);
});

test("without a failure the task for failures is skipped", async () => {
  const engine = await start();
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "fine",
    tasks: [{ readableId: "a", action: "fine:a" }],
    onFailureTask: { readableId: "rescue", action: "fine:rescue" },
  });
  const worker = await work(client, engine, "fine:a", "fine:rescue");

  const runId = await trigger(client, "fine");
  await eventually(() => worker.messages.length === 1);
  await complete(client, worker.messages[0]!, {});
  const { status, tasks } = await details(client, runId);

  assert.is.not(worker.messages[0]?.taskRunExternalId, runId);
  assert.is(status, RunStatus.COMPLETED);
  assert.is(tasks["rescue"]?.output, '{"skipped":true}');
});

test("cancels running and queued runs by id, and echoes ids it does not know", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "stop");
  const queued = await trigger(client, "stop");

  const { cancelledTasks } = await client.admin.cancelTasks({ externalIds: [queued, unknownId] });
  await eventually(async () => (await details(client, queued)).done);

  assert.equal(cancelledTasks, [queued, unknownId]);
  assert.is((await details(client, queued)).status, RunStatus.CANCELLED);
});

test("cancels by filter, and refuses filter and ids together", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "sieve");
  const marked = await client.workflows.triggerWorkflow({
    name: "sieve",
    input: "{}",
    additionalMetadata: '{"batch":"7"}',
  });
  await trigger(client, "sieve");
  const filter = { additionalMetadata: ["batch:7"], statuses: ["QUEUED"] };

  const { cancelledTasks } = await client.admin.cancelTasks({ filter });
  const both = ConnectError.from(await failure(client.admin.cancelTasks({ externalIds: [unknownId], filter })));

  assert.equal(cancelledTasks, [marked.workflowRunId]);
  assert.is(both.code, Code.InvalidArgument);
});

test("replays an ended run with the next retry_count", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "again");
  const worker = await work(client, engine, "again:again");
  const runId = await trigger(client, "again");
  await eventually(() => worker.messages.length === 1);
  await complete(client, worker.messages[0]!);

  const { replayedTasks } = await client.admin.replayTasks({ externalIds: [runId] });
  await eventually(() => worker.messages.length === 2);
  const { done } = await details(client, runId);

  assert.equal(replayedTasks, [runId]);
  assert.is(worker.messages[1]?.retryCount, 1);
  assert.not(done);
});

test("starts a child once per index, or key beside an index, with its parent's metadata", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "family");
  const worker = await work(client, engine, "family:family");
  const parent = await client.workflows.triggerWorkflow({
    name: "family",
    input: "{}",
    additionalMetadata: '{"customer":"c1"}',
  });
  await eventually(() => worker.messages.length === 1);
  const child = { name: "family", input: "{}", parentTaskRunExternalId: parent.workflowRunId, childKey: "k" };

  const first = await client.workflows.triggerWorkflow({ ...child, childIndex: 1 });
  const second = await client.workflows.triggerWorkflow({ ...child, childIndex: 2 });
  await eventually(() => worker.messages.length === 2);
  const others = [await client.workflows.triggerWorkflow(child), await client.workflows.triggerWorkflow(child)];
  const metadata = JSON.parse(worker.messages[1]!.additionalMetadata!);

  assert.is(first.workflowRunId, second.workflowRunId);
  assert.is(new Set([first, ...others].map(({ workflowRunId }) => workflowRunId)).size, 3);
  assert.is(worker.messages[1]?.parentWorkflowRunId, parent.workflowRunId);
  assert.is(metadata.customer, "c1");
  assert.is(metadata.hatchet__parent_workflow_run_id, parent.workflowRunId);
});

test("takes the higher priority first", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "vip");
  for (const priority of [1, 3, 2]) await client.workflows.triggerWorkflow({ name: "vip", input: "{}", priority });

  const worker = await work(client, engine, "vip:vip");
  await eventually(() => worker.messages.length === 3);

  assert.equal(worker.messages.map((action) => action.priority), [3, 2, 1]);
});

test("F11: an unknown workflow gets the id of a run that never exists", async () => {
  const client = plain(await start());

  const one = await trigger(client, "ghost");
  const two = await client.admin.triggerWorkflowRun({ workflowName: "ghost" });
  const missing = ConnectError.from(await failure(details(client, one)));

  assert.is.not(one, two.externalId);
  assert.is(missing.code, Code.NotFound);
  assert.is(missing.rawMessage, "workflow run not found");
});

test("F11: or is refused, as an engine without its fast path does", async () => {
  const client = plain(await start({ unknownWorkflows: "refuse" }));

  const error = ConnectError.from(await failure(trigger(client, "ghost")));

  assert.is(error.code, Code.InvalidArgument);
  assert.match(error.rawMessage, "ghost");
});

test("refuses a trigger with bad JSON, a null character, a bad priority or a malformed parent", async () => {
  const client = plain(await start());
  await put(client, "strict");
  const bad = [
    { input: "{oops" },
    { input: '"\\u0000"' },
    { input: "{}", additionalMetadata: "nope" },
    { input: "{}", priority: 4 },
    { input: "{}", parentTaskRunExternalId: "abc" },
  ];

  const codes = await Promise.all(bad.map(async (request) => {
    return ConnectError.from(await failure(client.workflows.triggerWorkflow({ name: "strict", ...request }))).code;
  }));
  const orphan = ConnectError.from(
    await failure(
      client.workflows.triggerWorkflow({ name: "strict", input: "{}", parentTaskRunExternalId: unknownId }),
    ),
  );

  assert.equal(codes, Array(5).fill(Code.InvalidArgument));
  assert.is(orphan.code, Code.NotFound);
});

test("the same definition twice is one version, another one is the next", async () => {
  const client = plain(await start());

  const first = await put(client, "stable");
  const same = await put(client, "stable");
  const other = await put(client, "stable", { retries: 1 });

  assert.is(same.id, first.id);
  assert.is.not(other.id, first.id);
  assert.is(other.workflowId, first.workflowId);
});

test("refuses a definition with bad names, parents, durations or slots, and hides why it cannot take others", async () => {
  const client = plain(await start());
  const task = { readableId: "a", action: "wf:a" };
  const invalid = [
    { name: "with space", tasks: [task] },
    { name: "wf", tasks: [{ ...task, parents: ["nobody"] }] },
    { name: "wf", tasks: [{ ...task, timeout: "5 seconds" }] },
    { name: "wf", tasks: [{ ...task, slotRequests: { default: 0 } }] },
    { name: "wf", tasks: [task], defaultPriority: 4 },
  ];
  const internal = [
    { name: "wf", tasks: [] },
    { name: "wf", tasks: [{ ...task, action: "" }] },
    { name: "wf", tasks: [{ ...task, parents: ["a"] }] },
  ];

  const refuse = async (request: Parameters<typeof client.admin.putWorkflow>[0]) => {
    const { code, rawMessage } = ConnectError.from(await failure(client.admin.putWorkflow(request)));
    return code === Code.Internal ? rawMessage : code;
  };
  const answers = await Promise.all([...invalid, ...internal].map(refuse));

  assert.equal(answers, [
    ...Array(5).fill(Code.InvalidArgument),
    ...Array(3).fill("An internal error occurred."),
  ]);
});

test("forgets the oldest ended runs", async () => {
  const engine = await start({ keepRuns: 1 });
  const client = plain(engine);
  await put(client, "short");
  const worker = await work(client, engine, "short:short");
  const ids = [await trigger(client, "short"), await trigger(client, "short")];
  await eventually(() => worker.messages.length === 2);

  for (const action of worker.messages) await complete(client, action);
  const gone = ConnectError.from(await failure(details(client, ids[0]!)));

  assert.is(gone.code, Code.NotFound);
  assert.ok((await details(client, ids[1]!)).done);
});

test.run();
