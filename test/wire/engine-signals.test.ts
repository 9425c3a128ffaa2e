import { randomUUID } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { assert, suite } from "../harness.ts";
import { eventually, failure, pause, type Plain, plain, put, read, start, stopAll, trigger } from "./engine-client.ts";

const test = suite("engine: durable events of the first generation");
test.after.each(stopAll);

const unknownId = "00000000-0000-4000-8000-000000000000";
const group: string = randomUUID();

async function waiting() {
  const engine = await start();
  const client = plain(engine);
  await put(client, "wait");
  return { client, engine, taskId: await trigger(client, "wait") };
}

function registerSleep(client: Plain, taskId: string, signalKey: string, orGroupId = group) {
  const sleepConditions = [{ base: { readableDataKey: "sleep", orGroupId }, sleepFor: "1ms" }];
  return client.durable.registerDurableEvent({ taskId, signalKey, conditions: { sleepConditions } });
}

function listenTo(client: Plain) {
  const queue: { taskId: string; signalKey: string }[] = [];
  let wake = () => {};
  let closed = false;
  async function* requests() {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) yield next;
      else if (closed) return;
      else await new Promise<void>((resolve) => wake = resolve);
    }
  }
  const reading = read((options) => client.durable.listenForDurableEvent(requests(), options));
  const halfClose = () => {
    closed = true;
    wake();
  };
  reading.abort.signal.addEventListener("abort", halfClose);
  return Object.assign(reading, {
    halfClose,
    ask(taskId: string, signalKey: string) {
      queue.push({ taskId, signalKey });
      wake();
    },
  });
}

test("a signal is told to everyone who asks, and again to who asks again", async () => {
  const { client, engine, taskId } = await waiting();
  const [one, two] = [listenTo(client), listenTo(client)];

  await registerSleep(client, taskId, "key");
  one.ask(taskId, "key");
  await eventually(() => one.messages.length === 1);
  one.ask(taskId, "key");
  two.ask(taskId, "key");
  await eventually(() => one.messages.length === 2 && two.messages.length === 1);
  await pause(120);

  const [event] = one.messages;
  assert.equal([one.messages.length, two.messages.length], [2, 1]);
  assert.equal([event!.taskId, event!.signalKey], [taskId, "key"]);
  assert.equal(JSON.parse(new TextDecoder().decode(event!.data)), { CREATE: { sleep: [{ sleep_duration: "1ms" }] } });
  assert.equal(engine.seen.subscriptions.map((it) => it.runIds), [[`${taskId}:key`, `${taskId}:key`], [
    `${taskId}:key`,
  ]]);
});

test("an event ends the wait, without a look at scope or time", async () => {
  const { client, taskId } = await waiting();
  const stream = listenTo(client);
  stream.ask(taskId, "paid");

  await client.durable.registerDurableEvent({
    taskId,
    signalKey: "paid",
    conditions: {
      userEventConditions: [{
        base: { readableDataKey: "e", orGroupId: group },
        userEventKey: "paid",
        eventScope: "x",
      }],
    },
  });
  await client.events.push({ key: "paid", payload: "[1]" });
  await client.events.push({ key: "paid", payload: '{"amount":1}', scope: "y" });
  await eventually(() => stream.messages.length === 1);

  assert.is(new TextDecoder().decode(stream.messages[0]!.data), '{"CREATE":{"e":[{"amount":1}]}}');
});

test("nonsense is never answered, and half-closing ends OK", async () => {
  const { client, taskId } = await waiting();
  const stream = listenTo(client);

  for (const id of ["abc", unknownId, taskId]) stream.ask(id, "nobody");
  await pause(120);
  stream.halfClose();
  const ended = await stream.ended;

  assert.is(stream.messages.length, 0);
  assert.is(ended, undefined);
});

test("a registration is checked: ids, groups, and what makes the engine stumble", async () => {
  const { client, taskId } = await waiting();

  const errors = await Promise.all([
    failure(registerSleep(client, "abc", "key")),
    failure(registerSleep(client, unknownId, "key")),
    failure(registerSleep(client, taskId, "key", "no group")),
    failure(client.durable.registerDurableEvent({ taskId, signalKey: "key" })),
    failure(client.durable.registerDurableEvent({
      taskId,
      signalKey: "key",
      conditions: { sleepConditions: [{ sleepFor: "1s" }] },
    })),
  ]);

  assert.equal(errors.map((error) => ConnectError.from(error).code), [
    Code.InvalidArgument,
    Code.NotFound,
    Code.InvalidArgument,
    Code.Internal,
    Code.Internal,
  ]);
});

test.run();
