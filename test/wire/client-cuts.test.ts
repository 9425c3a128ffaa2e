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

test.run();
