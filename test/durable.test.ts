import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { assert, suite } from "./harness.ts";
import { id, said } from "./remote.ts";
import { Fate, Rig } from "./rig.ts";

const test = suite("durable");

test("a registered signal reaches the engine once, with its conditions", async () => {
  const rig = new Rig({ namespace: "prod" });

  const fate = new Fate(rig.client.durable.register(id(7), "done", [{ sleepMs: 2000 }, { event: "paid" }]));
  await rig.pass(500);

  const [call, ...more] = rig.remote.asked("registerDurableEvent");
  const request = JSON.parse(JSON.stringify(call?.request));
  assert.equal([request.taskId, request.signalKey, more], [id(7), "done", []]);
  assert.is(request.conditions.sleepConditions[0].sleepFor, "2s");
  assert.is(request.conditions.userEventConditions[0].userEventKey, "prod_paid");
  assert.is(fate.text, "ok undefined");
  await rig.done();
});

test("a registration whose answer was lost is not repeated: it may have added its watch", async () => {
  const rig = new Rig();
  rig.remote.next("registerDurableEvent", (call) => call.cut());

  const fate = new Fate(rig.client.durable.register(id(7), "done", { sleepMs: 2000 }));
  await rig.pass(60_000);

  assert.is(fate.text, "unreachable");
  assert.match(String(fate.error), "may have taken effect");
  assert.is(rig.remote.asked("registerDurableEvent").length, 1);
  await rig.done();
});

test("a task that the engine does not know is the engine's own NotFound", async () => {
  const rig = new Rig();
  rig.remote.always("registerDurableEvent", said(Code.NotFound));

  const fate = new Fate(rig.client.durable.register(id(7), "done", { sleepMs: 2000 }));
  await rig.pass(60_000);

  assert.is((fate.error as ConnectError).code, Code.NotFound);
  await rig.done();
});

test("what makes no sense is refused before any I/O", async () => {
  const rig = new Rig();
  const { durable } = rig.client;

  const fates = [
    new Fate(durable.register("seven", "done", { sleepMs: 1 })),
    new Fate(durable.register(id(7), "", { sleepMs: 1 })),
    new Fate(durable.register(id(7), "done", [])),
  ];
  await rig.pass(60_000);

  assert.match(fates[0]?.text ?? "", "task id must be a UUID");
  assert.match(fates[1]?.text ?? "", "signal key must be a text");
  assert.match(fates[2]?.text ?? "", "conditions must not be empty");
  assert.equal(rig.remote.dialedAt, []);
  await rig.done();
});

test.run();
