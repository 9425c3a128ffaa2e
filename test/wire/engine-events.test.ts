import { Code, ConnectError } from "@connectrpc/connect";
import { ResourceEventType, ResourceType, StepActionEventType, type WorkflowEvent } from "../../src/proto.ts";
import { assert, suite } from "../harness.ts";
import {
  chunk,
  complete,
  eventually,
  fail,
  failure,
  follow,
  pause,
  plain,
  put,
  read,
  start,
  stopAll,
  trigger,
  work,
} from "./engine-client.ts";

const test = suite("engine: run events");
test.after.each(stopAll);

const unknownId = "00000000-0000-4000-8000-000000000000";

function brief(event: WorkflowEvent): string {
  const hangup = event.hangup ? " hangup" : "";
  const payload = event.eventPayload === "" ? "" : ` ${event.eventPayload}`;
  return `${nameIn(ResourceType, event.resourceType)} ${nameIn(ResourceEventType, event.eventType)}${payload}${hangup}`;
}

function nameIn(enumeration: Readonly<Record<string, number>>, value: number): string | undefined {
  return Object.keys(enumeration).find((name) => enumeration[name] === value);
}

async function running(retries = 0) {
  const engine = await start();
  const client = plain(engine);
  await put(client, "talk", { retries });
  const worker = await work(client, engine, "talk:talk");
  const workflowRunId = await trigger(client, "talk");
  await eventually(() => worker.messages.length === 1);
  return { client, engine, worker, workflowRunId, action: worker.messages[0]! };
}

test("tells chunks and ends of a run, hangs up behind the last, and ends OK", async () => {
  const { action, client, engine, workflowRunId } = await running();
  const events = await follow(client, engine, { workflowRunId });

  await chunk(client, workflowRunId, "a", 0);
  await chunk(client, workflowRunId, "b", 1);
  await eventually(() => events.messages.length === 2);
  await complete(client, action, { total: 3 });
  const ended = await events.ended;

  assert.is(ended, undefined);
  assert.equal(events.messages.map(brief), [
    "STEP_RUN STREAM a",
    "STEP_RUN STREAM b",
    'STEP_RUN COMPLETED {"total":3}',
    "WORKFLOW_RUN COMPLETED hangup",
  ]);
  assert.equal(events.messages.map((event) => [event.retryCount, event.eventIndex]), [
    [undefined, 0n],
    [undefined, 1n],
    [0, undefined],
    [undefined, undefined],
  ]);
  assert.ok(events.messages.every((event) => event.workflowRunId === workflowRunId));
  assert.equal(engine.seen.chunks.map(({ index, text }) => [index, text]), [[0n, "a"], [1n, "b"]]);
});

test("F6: a finished run's stream ends OK with no message, and nothing is repeated to who comes late", async () => {
  const { action, client, engine, workflowRunId } = await running();

  await chunk(client, workflowRunId, "early", 0);
  await pause(50);
  const late = await follow(client, engine, { workflowRunId });
  await complete(client, action);
  const lateEnd = await late.ended;
  const after = read((options) => client.dispatcher.subscribeToWorkflowEvents({ workflowRunId }, options));
  const afterEnd = await after.ended;

  assert.equal(late.messages.map(brief), ['STEP_RUN COMPLETED {"ok":true}', "WORKFLOW_RUN COMPLETED hangup"]);
  assert.is(lateEnd, undefined);
  assert.is(afterEnd, undefined);
  assert.is(after.messages.length, 0);
});

test("F6: an unknown run is looked for ten times, then NOT_FOUND; a bad selector is INVALID_ARGUMENT at once", async () => {
  const engine = await start({ timing: { eventPollMs: 20 } });
  const client = plain(engine);
  const begin = performance.now();

  const unknown = await read((options) =>
    client.dispatcher.subscribeToWorkflowEvents({ workflowRunId: unknownId }, options)
  ).ended;
  const tookMs = performance.now() - begin;
  const bad = await Promise.all(
    [{}, { workflowRunId: "abc" }, { additionalMetaKey: "k" }, { additionalMetaValue: "v" }].map((request) =>
      read((options) => client.dispatcher.subscribeToWorkflowEvents(request, options)).ended
    ),
  );

  assert.is(ConnectError.from(unknown).code, Code.NotFound);
  assert.ok(tookMs >= 190 && tookMs < 1000, `${tookMs}`);
  assert.ok(bad.every((error) => ConnectError.from(error).code === Code.InvalidArgument));
});

test("F6: a failed attempt that will be retried hangs up with FAILED, and the run goes on", async () => {
  const { action, client, engine, worker, workflowRunId } = await running(1);
  const first = await follow(client, engine, { workflowRunId });

  await fail(client, action, "boom");
  const firstEnd = await first.ended;
  const details = await client.admin.getRunDetails({ externalId: workflowRunId });
  await eventually(() => worker.messages.length === 2);
  const second = await follow(client, engine, { workflowRunId });
  await complete(client, worker.messages[1]!);
  await second.ended;

  assert.is(firstEnd, undefined);
  assert.equal(first.messages.map(brief), ["STEP_RUN FAILED boom", "WORKFLOW_RUN FAILED hangup"]);
  assert.not(details.done);
  assert.equal(second.messages.map(brief), ['STEP_RUN COMPLETED {"ok":true}', "WORKFLOW_RUN COMPLETED hangup"]);
  assert.is(second.messages[0]!.retryCount, 1);
});

test("a chunk that is no UTF-8 is taken, and ends every stream it goes out on INTERNAL", async () => {
  const { client, engine, workflowRunId } = await running();
  const events = await follow(client, engine, { workflowRunId });

  await chunk(client, workflowRunId, new Uint8Array([0xff, 0xfe]));
  const error = ConnectError.from(await events.ended);

  assert.is(error.code, Code.Internal);
  assert.match(error.rawMessage, "string field contains invalid UTF-8");
  assert.is(error.metadata.get("grpc-status"), "13");
});

test("a chunk needs the id of a task that is there", async () => {
  const engine = await start();
  const client = plain(engine);

  const codes = await Promise.all(
    ["abc", unknownId].map(async (id) => ConnectError.from(await failure(chunk(client, id, "a"))).code),
  );

  assert.equal(codes, [Code.InvalidArgument, Code.NotFound]);
});

test("tells that a task was written down, and that no worker took it in time", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "late", { scheduleTimeout: "150ms" });
  const events = await follow(client, engine, { additionalMetaKey: "k", additionalMetaValue: "v" });

  const { workflowRunId } = await client.workflows.triggerWorkflow({
    name: "late",
    input: "{}",
    additionalMetadata: '{"k":"v"}',
  });
  await eventually(() => events.messages.length === 1);
  const ofRun = await follow(client, engine, { workflowRunId });
  const ended = await ofRun.ended;
  await eventually(() => events.messages.length === 3);

  assert.is(ended, undefined);
  assert.equal(ofRun.messages.map(brief), ["STEP_RUN CANCELLED", "WORKFLOW_RUN CANCELLED hangup"]);
  assert.equal(events.messages.map(brief), ["STEP_RUN STARTED", "STEP_RUN CANCELLED", "WORKFLOW_RUN CANCELLED"]);
});

test("a user's cancel tells nothing of the task, and the end of the run", async () => {
  const { client, engine, workflowRunId } = await running();
  const events = await follow(client, engine, { workflowRunId });

  await client.admin.cancelTasks({ externalIds: [workflowRunId] });
  await events.ended;

  assert.equal(events.messages.map(brief), ["WORKFLOW_RUN CANCELLED hangup"]);
});

test("the output of an attempt that counts no more goes out all the same", async () => {
  const { action, client, engine, worker, workflowRunId } = await running(1);
  await fail(client, action);
  await eventually(() => worker.messages.length === 2);
  const events = await follow(client, engine, { workflowRunId });

  await complete(client, action, { stale: true });
  await eventually(() => events.messages.length === 1);
  const details = await client.admin.getRunDetails({ externalId: workflowRunId });

  assert.equal(events.messages.map(brief), ['STEP_RUN COMPLETED {"stale":true}']);
  assert.is(events.messages[0]!.retryCount, 0);
  assert.not(details.done);
});

test("what is reported in a batch tells nothing of its tasks", async () => {
  const { client, engine, workflowRunId } = await running();
  const events = await follow(client, engine, { workflowRunId });

  await client.dispatcher.sendBatchActionEvent({
    eventType: StepActionEventType.STEP_EVENT_TYPE_COMPLETED,
    items: [{ taskRunExternalId: workflowRunId, eventPayload: "{}", retryCount: 0 }],
  });
  await events.ended;

  assert.equal(events.messages.map(brief), ["WORKFLOW_RUN COMPLETED hangup"]);
});

test("an attempt that could not be delivered is told as failed, and hangs up too", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "deaf");
  const worker = await work(client, engine, "deaf:deaf");
  await client.dispatcher.unsubscribe({ workerId: worker.workerId });
  const events = await follow(client, engine, { additionalMetaKey: "k", additionalMetaValue: "v" });

  await client.workflows.triggerWorkflow({ name: "deaf", input: "{}", additionalMetadata: '{"k":"v"}' });
  await eventually(() => events.messages.length >= 3);

  assert.match(events.messages.map(brief).join("\n"), /STEP_RUN FAILED Could not send task to worker/);
  assert.match(events.messages.map(brief).join("\n"), /WORKFLOW_RUN FAILED$/m);
});

test("F8: a drain ends event streams OK without hangup, and one that still looks for its run CANCELED", async () => {
  const { client, engine, workflowRunId } = await running();
  const events = await follow(client, engine, { workflowRunId });
  const lookups = read((options) => client.dispatcher.subscribeToWorkflowEvents({ workflowRunId: unknownId }, options));
  await eventually(() => engine.seen.open("SubscribeToWorkflowEvents") === 2);

  await engine.drain();
  const ended = await events.ended;
  const looking = ConnectError.from(await lookups.ended);

  assert.is(ended, undefined);
  assert.is(events.messages.length, 0);
  assert.is(looking.code, Code.Canceled);
  assert.is(looking.rawMessage, "request was canceled");
  assert.is(looking.metadata.get("grpc-status"), "1");
});

test("F6: chunks are put in order of their indices, and a gap holds them back only for a while", async () => {
  const { client, engine, workflowRunId } = await running();
  const events = await follow(client, engine, { workflowRunId });

  for (const index of [2, 0, 1]) await chunk(client, workflowRunId, String(index), index);
  await eventually(() => events.messages.length === 3);
  await chunk(client, workflowRunId, "5", 5);
  await chunk(client, workflowRunId, "free");
  await eventually(() => events.messages.length === 4);
  const begin = performance.now();
  await chunk(client, workflowRunId, "4", 4);
  await eventually(() => events.messages.length === 6);
  const tookMs = performance.now() - begin;

  assert.equal(events.messages.map((event) => event.eventPayload), ["0", "1", "2", "free", "4", "5"]);
  assert.ok(tookMs > 60, `${tookMs}`);
});

test("F6: metadata streams hear all runs with the text, unordered, and hang up when all of them completed", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "talk");
  const worker = await work(client, engine, "talk:talk");
  const events = await follow(client, engine, { additionalMetaKey: "user", additionalMetaValue: "7" });
  for (const user of ['"7"', '"7"', "7", '"8"']) {
    await client.workflows.triggerWorkflow({ name: "talk", input: "{}", additionalMetadata: `{"user":${user}}` });
  }
  await eventually(() => worker.messages.length === 4);

  const mine = worker.messages.find((action) => JSON.parse(action.additionalMetadata!).user === "7");
  await chunk(client, mine!.taskRunExternalId, "late", 9);
  await eventually(() => events.messages.length === 3);
  for (const action of worker.messages) {
    await complete(client, action);
    await pause(30);
  }
  const ended = await events.ended;

  assert.is(ended, undefined);
  assert.equal(events.messages.map(brief), [
    "STEP_RUN STARTED",
    "STEP_RUN STARTED",
    "STEP_RUN STREAM late",
    'STEP_RUN COMPLETED {"ok":true}',
    "WORKFLOW_RUN COMPLETED",
    'STEP_RUN COMPLETED {"ok":true}',
    "WORKFLOW_RUN COMPLETED hangup",
  ]);
});

test("F6: a failed run keeps a metadata stream from ever ending by itself", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "talk");
  const worker = await work(client, engine, "talk:talk");
  const events = await follow(client, engine, { additionalMetaKey: "user", additionalMetaValue: "7" });
  for (let count = 0; count < 2; count++) {
    await client.workflows.triggerWorkflow({ name: "talk", input: "{}", additionalMetadata: '{"user":"7"}' });
  }
  await eventually(() => worker.messages.length === 2);

  await fail(client, worker.messages[0]!);
  await complete(client, worker.messages[1]!);
  await eventually(() => events.messages.length === 6);
  await pause(30);

  assert.ok(events.messages.every((event) => !event.hangup));
  assert.is(engine.seen.open("SubscribeToWorkflowEvents"), 1);
  assert.equal(engine.seen.subscriptions.map((it) => it.runIds), [["user:7"]]);
});

test("F14: chunks can be lost, come twice, or come backwards; and the end of a run can go untold", async () => {
  const { action, client, engine, workflowRunId } = await running();
  const events = await follow(client, engine, { workflowRunId });
  engine.faults.loseStreamEvents();
  engine.faults.loseHangups();

  await chunk(client, workflowRunId, "lost");
  engine.faults.duplicateStreamEvents();
  await chunk(client, workflowRunId, "twice");
  await eventually(() => events.messages.length === 2);
  engine.faults.reorderEvents();
  await Promise.all(["a", "b"].map((text, index) => chunk(client, workflowRunId, text, index)));
  await eventually(() => events.messages.length === 4);
  await complete(client, action);
  await pause(60);

  assert.equal(events.messages.map((event) => event.eventPayload), ["twice", "twice", "a", "b", '{"ok":true}']);
  assert.is(engine.seen.open("SubscribeToWorkflowEvents"), 1);
});

test("a run that is not reported yet is waited for", async () => {
  const engine = await start({ timing: { reportMs: 80 } });
  const client = plain(engine);
  await put(client, "talk");
  const workflowRunId = await trigger(client, "talk");
  const events = await follow(client, engine, { workflowRunId });

  await chunk(client, workflowRunId, "too early");
  await pause(150);
  await chunk(client, workflowRunId, "heard");
  await eventually(() => events.messages.length === 1);

  assert.equal(events.messages.map((event) => event.eventPayload), ["heard"]);
});

test.run();
