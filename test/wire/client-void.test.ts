import { setTimeout as sleep } from "node:timers/promises";
import { task } from "../../src/mod.ts";
import { assert, suite } from "../harness.ts";
import { Stage } from "./client.ts";

const test = suite("work lost in the void");

/** A worker's silence after which the engine takes its work, in milliseconds: 30 s in a real one. */
const reassignMs = 6000;
const hourMs = 3_600_000;

/** Begins at once, beside the others: each takes as long as the engine's patience. */
function scenario(title: string, body: () => Promise<void>): void {
  const running = body();
  running.catch(() => {
    // Its own test tells.
  });
  test(title, { limitMs: 40_000 }, () => running);
}

/** Counts how often each run was begun. */
function begun() {
  const times = new Map<string, number>();
  return { times, note: (runId: string) => times.set(runId, (times.get(runId) ?? 0) + 1) };
}

scenario("a start that went into a dead wire is run by somebody, long before its time-out", async () => {
  const stage = await Stage.open({ timing: { reassignMs } });
  const client = stage.client();
  const { note, times } = begun();
  const quick = task({ name: "quick", timeoutMs: hourMs, run: (_: unknown, { runId }) => void note(runId) });
  await stage.worker(client, quick);
  stage.engine.faults.lostStarts();

  const lost = await client.runs.trigger(quick, {});
  await sleep(500);
  const before = times.size;
  const cutAt = Date.now();
  stage.proxy.cut("rst");
  await lost.result();

  assert.is(before, 0);
  assert.equal([...times], [[lost.id, 1]]);
  assert.ok(Date.now() - cutAt < 2 * reassignMs + 4000, `${Date.now() - cutAt} ms`);
  await stage.close();
});

scenario("what runs meanwhile is not run twice, though the worker is never idle", async () => {
  const stage = await Stage.open({ timing: { reassignMs } });
  const client = stage.client();
  const { note, times } = begun();
  const work = task({
    name: "work",
    timeoutMs: hourMs,
    run: async ({ forMs }: { forMs: number }, { runId, workerId }) => {
      note(runId);
      await sleep(forMs);
      return { workerId };
    },
  });
  await stage.worker(client, work);
  const long = await client.runs.trigger(work, { forMs: reassignMs + 6000 });
  const busy = Array.from({ length: 6 }, (_, n) => sleep(1000 * n).then(() => client.runs.run(work, { forMs: 3000 })));
  await sleep(500);
  stage.engine.faults.lostStarts();

  const lost = await client.runs.trigger(work, { forMs: 10 });
  await sleep(300);
  stage.proxy.cut("fin");
  const [first, second] = await Promise.all([long.result(), lost.result()]);
  await Promise.all(busy);

  assert.is(times.get(long.id), 1, "what ran was run once");
  assert.is(times.get(lost.id), 1);
  assert.is.not(first.workerId, second.workerId, "under another worker's id");
  assert.ok(stage.engine.seen.count("ReleaseSlot") > 0);
  await stage.close();
});

scenario("a cancel of what runs under an id that was left is heard all the same", async () => {
  const stage = await Stage.open({ timing: { reassignMs } });
  const client = stage.client();
  const aborted = Promise.withResolvers<unknown>();
  const started = Promise.withResolvers<void>();
  const endless = task({
    name: "endless",
    timeoutMs: hourMs,
    run: (_: unknown, { signal }) => {
      started.resolve();
      return new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => {
          aborted.resolve(signal.reason);
          resolve();
        })
      );
    },
  });
  const worker = await stage.worker(client, endless);
  const run = await client.runs.trigger(endless, {});
  await started.promise;
  const before = worker.health().workerId;
  stage.proxy.cut("rst");
  while (worker.health().workerId === before || !worker.health().ready) await sleep(20);

  await run.cancel();
  const reason = await aborted.promise;

  assert.match(String(reason), "cancelled");
  await stage.close();
});

test.run();
