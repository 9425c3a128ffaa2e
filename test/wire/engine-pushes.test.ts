import { Code, ConnectError } from "@connectrpc/connect";
import {
  BulkTriggerIdempotencyCollisionErrorSchema,
  IdempotencyCollisionErrorSchema,
  IdempotencyMethod,
} from "../../src/proto.ts";
import { assert, suite } from "../harness.ts";
import { complete, eventually, failure, pause, plain, put, start, stopAll, trigger, work } from "./engine-client.ts";

const test = suite("engine: pushes and keys");
test.after.each(stopAll);

const unknownId = "00000000-0000-4000-8000-000000000000";

test("a pushed event starts the workflows that wait for it, which learn what started them", async () => {
  const engine = await start();
  const client = plain(engine);
  const task = { readableId: "bill", action: "bill:bill" };
  await client.admin.putWorkflow({ name: "bill", eventTriggers: ["order:paid"], tasks: [task] });
  const worker = await work(client, engine, "bill:bill");

  const event = await client.events.push({
    key: "order:paid",
    payload: '{"n":1}',
    additionalMetadata: '{"by":"me"}',
    scope: "mine",
  });
  await client.events.push({ key: "order:lost", payload: '{"n":2}' });
  await eventually(() => worker.messages.length === 1);
  await pause(20);
  const [action] = worker.messages;

  assert.equal([event.key, event.payload, event.additionalMetadata, event.scope], [
    "order:paid",
    '{"n":1}',
    '{"by":"me"}',
    undefined,
  ]);
  assert.ok(event.eventTimestamp !== undefined);
  assert.equal([action!.triggeringEventExternalId, action!.triggeringEventKey], [event.eventId, "order:paid"]);
  assert.equal(JSON.parse(action!.actionPayload).input, { n: 1 });
  assert.is(JSON.parse(action!.additionalMetadata!).by, "me");
  assert.is(worker.messages.length, 1);
  assert.is(engine.seen.triggers, 1);
});

test("pushes are checked: JSON and priority; in bulk also keys and the number, all or nothing", async () => {
  const engine = await start();
  const client = plain(engine);
  await client.admin.putWorkflow({ name: "w", eventTriggers: ["k"], tasks: [{ readableId: "w", action: "w:w" }] });

  const errors = await Promise.all([
    failure(client.events.push({ key: "k", payload: "{oops" })),
    failure(client.events.push({ key: "k", payload: '"\\u0000"' })),
    failure(client.events.push({ key: "k", payload: "{}", additionalMetadata: "oops" })),
    failure(client.events.push({ key: "k", payload: "{}", priority: 4 })),
    failure(client.events.bulkPush({ events: [] })),
    failure(client.events.bulkPush({ events: Array.from({ length: 1001 }, () => ({ key: "k", payload: "{}" })) })),
    failure(client.events.bulkPush({ events: [{ key: "k", payload: "{}" }, { key: "", payload: "{}" }] })),
    failure(client.events.bulkPush({ events: [{ key: "k", payload: "{}" }, { key: "k", payload: "oops" }] })),
  ]);
  await pause(20);
  const before = engine.seen.triggers;
  const { events } = await client.events.bulkPush({ events: ["", "{}"].map((payload) => ({ key: "k", payload })) });
  await client.events.push({ key: "", payload: "{}" });
  await eventually(() => engine.seen.triggers === 2);

  assert.ok(errors.every((error) => ConnectError.from(error).code === Code.InvalidArgument));
  assert.is(before, 0);
  assert.is(new Set(events.map((event) => event.eventId)).size, 2);
});

test("log lines are taken with the id of a task and an object as metadata; replaying an event is not there", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "talk");
  const taskRunExternalId = await trigger(client, "talk");

  await client.events.putLog({ taskRunExternalId, message: "hello", level: "INFO", metadata: "{}", taskRetryCount: 0 });
  const errors = await Promise.all([
    failure(client.events.putLog({ taskRunExternalId: "abc", message: "" })),
    failure(client.events.putLog({ taskRunExternalId: unknownId, message: "" })),
    failure(client.events.putLog({ taskRunExternalId, message: "", metadata: "[1]" })),
    failure(client.events.replaySingleEvent({ eventId: unknownId })),
  ]);

  assert.equal(errors.map((error) => ConnectError.from(error).code), [
    Code.InvalidArgument,
    Code.NotFound,
    Code.InvalidArgument,
    Code.Unimplemented,
  ]);
  assert.equal(engine.seen.logs.map(({ attempt, level, message }) => [message, level, attempt]), [[
    "hello",
    "INFO",
    0,
  ]]);
});

async function keyed(method: IdempotencyMethod, ttlMs: bigint) {
  const engine = await start();
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "once",
    idempotency: { expression: "input.id", ttlMs, method },
    tasks: [{ readableId: "once", action: "once:once" }],
  });
  return { client, engine };
}

test("a second trigger with a key that is held fails, and names the run that holds it", async () => {
  const { client, engine } = await keyed(IdempotencyMethod.STATUS, 60_000n);
  const worker = await work(client, engine, "once:once");
  const first = await trigger(client, "once", { id: "a" });
  await eventually(() => worker.messages.length === 1);

  const error = ConnectError.from(await failure(trigger(client, "once", { id: "a" })));
  const v1 = await failure(
    client.admin.triggerWorkflowRun({ workflowName: "once", input: new TextEncoder().encode('{"id":"a"}') }),
  );
  await trigger(client, "once", { id: "b" });
  await trigger(client, "once", {});
  await trigger(client, "once", {});
  await complete(client, worker.messages[0]!);
  const again = await trigger(client, "once", { id: "a" });

  assert.is(error.code, Code.AlreadyExists);
  assert.is(error.rawMessage, "idempotency key collision");
  assert.is(error.findDetails(IdempotencyCollisionErrorSchema)[0]?.existingRunExternalId, first);
  assert.is(ConnectError.from(v1).code, Code.AlreadyExists);
  assert.is.not(again, first);
});

test("a key is free again after its time, and its bulk goes through in part", async () => {
  const { client } = await keyed(IdempotencyMethod.TTL, 80n);
  const first = await trigger(client, "once", { id: "a" });
  const workflows = ["a", "b"].map((id) => ({ name: "once", input: JSON.stringify({ id }) }));

  const error = ConnectError.from(await failure(client.workflows.bulkTriggerWorkflow({ workflows })));
  const [detail] = error.findDetails(BulkTriggerIdempotencyCollisionErrorSchema);
  const [started] = detail!.successfulWorkflowRunExternalIds;
  const details = await client.admin.getRunDetails({ externalId: started! });
  await pause(100);
  const again = await trigger(client, "once", { id: "a" });

  assert.is(error.code, Code.AlreadyExists);
  assert.equal(detail!.collisions.map((it) => it.existingRunExternalId), [first]);
  assert.is(new TextDecoder().decode(details.input), '{"id":"b"}');
  assert.is.not(again, first);
});

test("a child that is there already is no collision", async () => {
  const { client } = await keyed(IdempotencyMethod.STATUS, 60_000n);
  await put(client, "parent");
  const parentTaskRunExternalId = await trigger(client, "parent");
  const child = { name: "once", input: '{"id":"a"}', parentTaskRunExternalId, childIndex: 0, childKey: "k" };

  const first = await client.workflows.triggerWorkflow(child);
  const again = await client.workflows.triggerWorkflow(child);
  const other = await failure(client.workflows.triggerWorkflow({ ...child, childKey: "other" }));

  assert.is(first.workflowRunId, again.workflowRunId);
  assert.is(ConnectError.from(other).code, Code.AlreadyExists);
});

test.run();
