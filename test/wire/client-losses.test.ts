import { assert, suite } from "../harness.ts";
import { double, Stage, until } from "./client.ts";

const test = suite("client losses");

let stage: Stage;
test.before.each(async () => {
  stage = await Stage.open({ seed: 1 });
});
test.after.each(() => stage.close());

test(
  "a black hole is noticed by its pings, and results arrive on the next connection",
  { limitMs: 10_000 },
  async () => {
    const client = stage.client({ keepAlive: { intervalMs: 300, timeoutMs: 300 } });
    const worker = await stage.worker(client, double);
    const runs = await Promise.all([1, 2, 3].map((number) => client.runs.trigger(double, { number, afterMs: 900 })));
    const results = Promise.all(runs.map((run) => run.result()));
    await until(() => stage.engine.seen.reports.length === 3);

    stage.proxy.stall();
    await until(() => !worker.health().ready, 3000);
    stage.proxy.resume();
    const doubled = await results;

    assert.equal(doubled, [{ doubled: 2 }, { doubled: 4 }, { doubled: 6 }]);
  },
);

test("a thousand waiters get their results through a kill, each once", { limitMs: 10_000 }, async () => {
  const client = stage.client();
  const worker = client.worker("many", { tasks: [double], slots: 1000 });
  void worker.run();
  await worker.ready();
  const runs = await Promise.all(
    Array.from({ length: 200 }, (_, number) => client.runs.trigger(double, { number, afterMs: 100 + number })),
  );
  let settled = 0;
  const waiting = runs.flatMap((run) => Array.from({ length: 5 }, () => run.result().finally(() => settled++)));
  await until(() => settled > 0);

  await stage.engine.kill();
  await stage.engine.restart();
  const results = await Promise.all(waiting);

  assert.is(settled, 1000);
  assert.equal(results.map(({ doubled }) => doubled / 2), runs.flatMap((_, number) => Array(5).fill(number)));
});

test(
  "a worker that is cut at work comes back as a new one, finishes what it has, and gets more",
  { limitMs: 10_000 },
  async () => {
    const { proxy, engine: { seen } } = stage;
    const client = stage.client();
    const worker = await stage.worker(client, double);
    const { workerId } = worker.health();
    const working = client.runs.run(double, { number: 1, afterMs: 1000 });
    await until(() => seen.reports.length > 0);

    proxy.cut("rst");
    await until(() => !worker.health().ready);
    await worker.ready();
    const second = await client.runs.run(double, { number: 21 });
    const first = await working;

    assert.equal([first, second], [{ doubled: 2 }, { doubled: 42 }]);
    assert.is.not(worker.health().workerId, workerId);
  },
);

test.run();
