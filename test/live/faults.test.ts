import type { Client, RunRef, Worker } from "../../src/mod.ts";
import { task } from "../../src/mod.ts";
import type { Cut } from "../../src/testing/link.ts";
import { assert } from "../harness.ts";
import { blindMs, command, drain, live, mark, pause, quickPings, Stage, until } from "./live.ts";

const cuts = live("live cuts");
const ends = live("live drains and kills", "LIVE_DRAIN", "LIVE_KILL", "LIVE_START");

/** Its time-out is short, for the starts that a cut swallows: the engine does not send them again before. */
const double = task({
  name: `${mark}-double`,
  retries: 20,
  timeoutMs: 20_000,
  run: async ({ afterMs, number }: { number: number; afterMs: number }, { runId }) => {
    await pause(afterMs);
    return { doubled: 2 * number, runId };
  },
});

/** Says whose it is, so that a result in the place of another's shows who mistook it. */
interface Doubled {
  readonly doubled: number;
  readonly runId: string;
}

let stage: Stage;
let client: Client;
let worker: Worker;

const open = async () => {
  stage = await Stage.open();
  client = stage.client({ keepAlive: quickPings, retry: { firstDelayMs: 500, capMs: 2000 } });
  worker = await stage.worker(client, [double], 200);
};
for (const test of [cuts, ends]) {
  test.before(open);
  test.after(() => stage.close());
}

/** Fifty runs that end one after another, while the blow falls. */
async function fifty(): Promise<RunRef<Doubled>[]> {
  const numbers = Array.from({ length: 50 }, (_, number) => number);
  return await Promise.all(
    numbers.map((number) => client.runs.trigger(double, { number, afterMs: 500 + 100 * number })),
  );
}

/** Every result, by stream and by list; then the worker receives again, and gets work. */
async function arrive(runs: readonly RunRef<Doubled>[]): Promise<void> {
  const listed: string[] = [];
  const list = (async () => {
    for await (const { runId, status } of client.runs.results(runs.map(({ id }) => id))) {
      if (status === "completed") listed.push(runId);
    }
  })();
  const results = await Promise.all(runs.map((run) => run.result()));
  await list;
  await worker.ready();
  const more = await client.runs.run(double, { number: 21, afterMs: 0 });

  assert.equal(results, runs.map(({ id }, number) => ({ doubled: 2 * number, runId: id })));
  assert.equal(listed.toSorted(), runs.map(({ id }) => id).toSorted());
  assert.is(more.doubled, 42);
}

for (const how of ["rst", "fin"] satisfies Cut[]) {
  cuts(`results survive a connection that is cut by ${how}, again and again`, { limitMs: 90_000 }, async () => {
    const runs = await fifty();
    const arrived = arrive(runs);

    for (let cut = 0; cut < 4; cut++) {
      await pause(1000);
      stage.proxy.cut(how);
    }

    await arrived;
  });
}

cuts("results survive a black hole, which its pings notice", { limitMs: 120_000 }, async () => {
  const runs = await fifty();
  const arrived = arrive(runs);
  await pause(1000);

  stage.proxy.stall();
  await until(() => !worker.health().ready);
  stage.proxy.resume();

  await arrived;
});

cuts("results survive a port that refuses for ten seconds", { limitMs: 90_000 }, async () => {
  const runs = await fifty();
  const arrived = arrive(runs);
  await pause(1000);

  await stage.proxy.refuse(true);
  stage.proxy.cut("rst");
  await pause(10_000);
  await stage.proxy.refuse(false);

  await arrived;
});

ends("results survive a drain and a start of the engine", { limitMs: 120_000 }, async () => {
  const runs = await fifty();
  const arrived = arrive(runs);
  await pause(500);

  await drain();
  const ready = client.health().ready;
  await pause(1000);
  await command("LIVE_START");

  await arrived;
  assert.is(ready, false);
});

ends("results survive a kill and a start of the engine", { limitMs: 240_000 }, async () => {
  const runs = await fifty();
  const arrived = arrive(runs);
  await pause(1500);

  await command("LIVE_KILL");
  await pause(1000);
  await command("LIVE_START");
  await pause(blindMs);

  await arrived;
});

cuts.run();
ends.run();
