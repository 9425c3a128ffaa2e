import { assert, suite } from "../harness.ts";
import { double, Stage, until } from "./client.ts";

const test = suite("client cuts");

let stage: Stage;
test.before.each(async () => {
  stage = await Stage.open({ seed: 1 });
});
test.after.each(() => stage.close());

/** What can happen to a connection, or to one stream on it. */
const blows: Readonly<Record<string, () => void | Promise<void>>> = {
  "a FIN": () => stage.proxy.cut("fin"),
  "an RST": () => stage.proxy.cut("rst"),
  "a GOAWAY": () => stage.engine.faults.goAway(0),
  "a GOAWAY for too many pings": () => stage.engine.faults.goAway(11),
  "a kill and a restart": () => stage.engine.kill().then(() => stage.engine.restart()),
  "a drain and a restart": () => stage.engine.drain().then(() => stage.engine.restart()),
  "an RST_STREAM 8 on each stream": () => reset(8),
  "an RST_STREAM 0 on each stream": () => reset(0),
  "an OK end of each stream": () => void stage.engine.faults.endStreams(),
};

function reset(code: number): void {
  for (const method of ["ListenV2", "SubscribeToWorkflowRuns"]) stage.engine.faults.resetStreams(method, code);
}

for (const [name, fall] of Object.entries(blows)) {
  test(`every result survives ${name}, and arrives once`, { limitMs: 10_000 }, async () => {
    const client = stage.client();
    await stage.worker(client, double);
    const numbers = Array.from({ length: 30 }, (_, number) => number);
    const runs = await Promise.all(
      numbers.map((number) => client.runs.trigger(double, { number, afterMs: 30 + 10 * number })),
    );
    const settled: string[] = [];
    const twice = Promise.all(runs.map(async (run) => [await run.result(), await run.result()]));
    const listed = (async () => {
      for await (const { runId } of client.runs.results(runs.map(({ id }) => id))) settled.push(runId);
    })();
    await until(() => settled.length >= 5);

    await fall();
    const results = await twice;
    await listed;

    assert.equal(results.map(([first]) => first), numbers.map((number) => ({ doubled: 2 * number })));
    assert.equal(results.map(([, second]) => second), numbers.map((number) => ({ doubled: 2 * number })));
    assert.equal(settled.toSorted(), runs.map(({ id }) => id).toSorted());
  });
}

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

test(
  "with a tenth of the default pings a black hole is noticed within a tenth of 16 s",
  { limitMs: 10_000 },
  async () => {
    const client = stage.client({ keepAlive: { intervalMs: 1000, timeoutMs: 500 } });
    const worker = await stage.worker(client, double);

    stage.proxy.stall();
    const stalledAt = Date.now();
    await until(() => !worker.health().ready);
    const noticedMs = Date.now() - stalledAt;
    stage.proxy.resume();
    await until(() => worker.health().ready);

    assert.ok(noticedMs < 2100, `noticed after ${noticedMs} ms`); // With half a second for a busy machine.
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

test("a worker that was cut is back on the same id, and gets work", { limitMs: 10_000 }, async () => {
  const client = stage.client();
  const worker = await stage.worker(client, double);
  const { workerId } = worker.health();

  stage.proxy.cut("rst");
  await until(() => !worker.health().ready);
  await worker.ready();
  const { doubled } = await client.runs.run(double, { number: 21 });

  assert.is(doubled, 42);
  assert.is(worker.health().workerId, workerId);
  assert.is(stage.engine.seen.count("ListenV2"), 2);
});

test.run();
