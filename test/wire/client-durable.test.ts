import { assert, suite } from "../harness.ts";
import { Stage, until } from "./client.ts";
import { plain, trigger } from "./engine-client.ts";
import { workDurably } from "./engine-durable-client.ts";

const test = suite("client durable events");
const method = "ListenForDurableEvent";

let stage: Stage;
test.before.each(async () => {
  stage = await Stage.open({ seed: 1 });
});
test.after.each(() => stage.close());

/** A durable task that runs at a worker which does nothing about it. */
async function running(): Promise<string> {
  const direct = plain(stage.engine);
  await direct.admin.putWorkflow({
    name: "long",
    tasks: [{ readableId: "long", action: "long:long", isDurable: true, slotRequests: { durable: 1 } }],
  });
  const worker = await workDurably(direct, stage.engine);
  const taskId = await trigger(direct, "long");
  await until(() => worker.messages.length === 1);
  return taskId;
}

const blows: Readonly<Record<string, () => void | Promise<void>>> = {
  "an RST": () => stage.proxy.cut("rst"),
  "a FIN": () => stage.proxy.cut("fin"),
  "an OK end": () => void stage.engine.faults.endStreams(method),
  "an RST_STREAM": () => void stage.engine.faults.resetStreams(method),
};

for (const [name, fall] of Object.entries(blows)) {
  test(`D11: every signal that is waited for arrives through ${name}`, { limitMs: 10_000 }, async () => {
    const client = stage.client();
    const other = stage.client({ hostPort: stage.engine.hostPort });
    const taskId = await running();
    const keys = ["a", "b", "c"];
    for (const key of keys) await client.durable.register(taskId, key, { event: `event:${key}`, key });
    const events = Promise.all([...keys, "a"].map((key) => client.durable.event(taskId, key)));
    await until(() => stage.engine.seen.subscriptions.some(({ runIds }) => runIds.length === keys.length));

    await fall();
    for (const key of keys) await other.events.push(`event:${key}`, { key });
    const got = await events;

    assert.equal(got.map(({ matches, signalKey }) => [signalKey, matches]), [
      ["a", { a: [{ key: "a" }] }],
      ["b", { b: [{ key: "b" }] }],
      ["c", { c: [{ key: "c" }] }],
      ["a", { a: [{ key: "a" }] }],
    ]);
    const again = await client.durable.event(taskId, "a");
    assert.equal(again.matches, { a: [{ key: "a" }] });
  });
}

test("a sleep is told when it is over, also to whoever asks later", { limitMs: 10_000 }, async () => {
  const client = stage.client();
  const taskId = await running();
  await client.durable.register(taskId, "rested", [{ anyOf: [{ sleepMs: 200 }, { event: "never" }] }]);

  const { matches } = await client.durable.event(taskId, "rested");
  const later = await client.durable.event(taskId, "rested");

  assert.equal(matches, { "sleep:200ms": [{ sleep_duration: "200ms" }] });
  assert.equal(later.matches, matches);
});

test.run();
