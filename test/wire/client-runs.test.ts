import { task } from "../../src/mod.ts";
import { assert, suite } from "../harness.ts";
import { Stage } from "./client.ts";

const test = suite("client runs");

const order = task({
  name: "order",
  idempotency: { expression: "input.number", forMs: 60_000 },
  run: ({ number }: { number: string }) => ({ number }),
});

test("runs of the same key are one: whoever triggers it again gets the run that there is", async () => {
  const stage = await Stage.open();
  const client = stage.client();
  await stage.worker(client, order);

  const first = await client.runs.trigger(order, { number: "a" });
  const again = await client.runs.trigger(order, { number: "a" });
  const other = await client.runs.trigger(order, { number: "b" });

  assert.is(again.id, first.id);
  assert.is.not(other.id, first.id);
  assert.equal(await again.result(), { number: "a" });
  await stage.close();
});

test("a trigger with a key whose answer was lost is made again, and is still one run", async () => {
  const stage = await Stage.open();
  const client = stage.client();
  await stage.worker(client, order);
  stage.engine.faults.loseAnswers("TriggerWorkflow");

  const run = await client.runs.trigger(order, { number: "c" });

  assert.equal(await run.result(), { number: "c" });
  assert.equal([stage.engine.seen.count("TriggerWorkflow"), stage.engine.seen.triggers], [2, 1]);
  await stage.close();
});

test("a child with a key is triggered once, and found again", async () => {
  const stage = await Stage.open();
  const client = stage.client();
  const child = task({ name: "child", run: () => ({}) });
  const ids: string[] = [];
  const parent = task({
    name: "parent",
    run: async (_: unknown, { runId, taskId }) => {
      const options = { parent: { runId, taskId }, childKey: "only" };
      for (let n = 0; n < 2; n++) ids.push((await client.runs.trigger(child, {}, options)).id);
    },
  });
  await stage.worker(client, child, parent);

  await client.runs.run(parent, {});

  assert.is(ids[0], ids[1]);
  await stage.close();
});

test("a run that is replayed runs again, as a new attempt of itself", async () => {
  const stage = await Stage.open();
  const client = stage.client();
  const attempts: number[] = [];
  const once = task({ name: "once", run: (_: unknown, { attempt }) => ({ n: attempts.push(attempt) }) });
  await stage.worker(client, once);
  const run = await client.runs.trigger(once, {});
  await run.result();

  const replayed = await client.runs.replay(run.id);
  const outcome = await run.result();

  assert.equal(replayed, [run.id]);
  assert.equal([attempts, outcome], [[0, 1], { n: 2 }]);
  await stage.close();
});

test.run();
