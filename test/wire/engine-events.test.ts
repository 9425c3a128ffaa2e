import { Code, ConnectError } from "@connectrpc/connect";
import { ResourceEventType, ResourceType, type WorkflowEvent } from "../../src/proto.ts";
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

test.run();
