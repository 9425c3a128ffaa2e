/**
 * A thousand results in flight, while the engine is drained, killed, and gone silent: `npm run live -- --long`.
 *
 * The client has its defaults. `--drains=20 --kills=3 --holes=20 --flight=1000` say how much of it.
 */
import process from "node:process";
import type { Client, Worker } from "../../src/mod.ts";
import { RunFailedError, StreamError, task } from "../../src/mod.ts";
import { seeded } from "../../src/testing/mod.ts";
import { blindMs, command, drain, lack, mark, pause, Stage, until } from "./live.ts";

type Blow = "drain" | "kill" | "hole";

const asked = { drains: 20, kills: 3, holes: 20, flight: 1000, ...amounts(process.argv.slice(2)) };
const random = seeded(1);
/** An attempt of which the engine believes that it runs, and whose start went into a dead wire, is repeated after it. */
const timeoutMs = 180_000;
const patienceMs = 2 * timeoutMs + 120_000;
const calmMs = 3000;

const tally = { triggered: 0, forgotten: 0, settled: 0, wrong: 0, untriggered: 0, again: 0, hungDrains: 0 };
const waiting = new Set<string>();
const blows: { readonly blow: Blow; readonly beganAt: number }[] = [];
let lastSettledAt = 0;

const double = task({
  name: `${mark}-long`,
  retries: 20,
  timeoutMs,
  run: async ({ afterMs, number }: { number: number; afterMs: number }, { attempt }) => {
    if (attempt > 0) tally.again++;
    await pause(afterMs);
    return { doubled: 2 * number };
  },
});

/** How long it took, in milliseconds: from the blow until it was noticed, and from its end until all was well. */
interface Record {
  readonly blow: Blow;
  readonly noticedMs: number;
  readonly readyMs: number;
  /** Until the first result arrived. */
  readonly resultMs: number;
}

async function main(): Promise<boolean> {
  const stage = await Stage.open();
  try {
    const client = stage.client();
    const worker = await stage.worker(client, [double], asked.flight + 200);
    let storming = true;
    const lanes = Promise.all(Array.from({ length: asked.flight }, async (_, lane) => {
      await pause(lane * 20);
      for (let number = lane; storming; number += asked.flight) await one(client, number);
    }));
    await until(() => waiting.size >= asked.flight * 0.95, 120_000);
    const records: Record[] = [];
    for (const [index, blow] of plan().entries()) {
      records.push(await strike(blow, stage, client, worker));
      console.log(`${String(index + 1).padStart(3)} ${line(records.at(-1)!)}, ${waiting.size} in flight`);
      await pause(calmMs);
    }
    storming = false;
    console.log(`the last ${waiting.size} are awaited`);
    await Promise.race([lanes, pause(patienceMs)]);
    return report(records);
  } finally {
    await stage.close();
  }
}

async function one(client: Client, number: number): Promise<void> {
  const afterMs = 20_000 + Math.floor(random() * 80_000);
  const run = await client.runs.trigger(double, { number, afterMs }).catch((error: unknown) => {
    // The caller's to make again: the engine may or may not have it.
    if (!(error instanceof StreamError) && !(error instanceof Error && error.name === "ConnectError")) throw error;
    tally.untriggered++;
    return undefined;
  });
  if (run === undefined) return await pause(1000);
  const triggeredAt = performance.now();
  tally.triggered++;
  waiting.add(run.id);
  try {
    const { doubled } = await run.result();
    if (doubled !== 2 * number) tally.wrong++;
  } catch (error) {
    const isForgotten = error instanceof StreamError && error.code === "refused";
    if (isForgotten) tally.forgotten++;
    else tally.wrong++;
    const said = error instanceof RunFailedError ? error.message : String(error);
    console.log(`run ${run.id}, triggered ${when(triggeredAt)}: ${said}`);
  }
  waiting.delete(run.id);
  tally.settled++;
  lastSettledAt = performance.now();
}

/** Between which blows a moment lies. */
function when(atMs: number): string {
  const [before, after] = [
    blows.findLast(({ beganAt }) => beganAt <= atMs),
    blows.find(({ beganAt }) => beganAt > atMs),
  ];
  return [
    before && `${s(atMs - before.beganAt)} after the beginning of a ${before.blow}`,
    after && `${s(after.beganAt - atMs)} before that of a ${after.blow}`,
  ].filter(Boolean).join(" and ");
}

async function strike(blow: Blow, stage: Stage, client: Client, worker: Worker): Promise<Record> {
  const ready = () => client.health().ready && worker.health().ready;
  // A result stream on which nothing has come yet counts as live after ten seconds.
  await until(ready, 60_000);
  const beganAt = performance.now();
  blows.push({ blow, beganAt });
  const noticed = until(() => !ready(), 60_000).then(() => performance.now() - beganAt);
  switch (blow) {
    case "drain":
      if (!await drain()) tally.hungDrains++;
      await command("LIVE_START");
      break;
    case "kill":
      await command("LIVE_KILL");
      await pause(1000);
      await command("LIVE_START");
      break;
    case "hole":
      stage.proxy.stall();
      await noticed;
      await pause(2000);
      stage.proxy.cut("rst");
      stage.proxy.resume();
  }
  const overAt = performance.now();
  const noticedMs = await noticed;
  await until(ready, 120_000);
  const readyMs = performance.now() - overAt;
  await until(() => lastSettledAt > overAt + readyMs, 120_000 + blindMs);
  return { blow, noticedMs, readyMs, resultMs: performance.now() - overAt };
}

function report(records: readonly Record[]): boolean {
  console.log();
  for (const blow of ["drain", "kill", "hole"] as const) {
    const own = records.filter((one) => one.blow === blow);
    const slowest = (what: "noticedMs" | "readyMs" | "resultMs") => Math.max(0, ...own.map((one) => one[what]));
    if (own.length === 0) continue;
    const [noticedMs, readyMs, resultMs] = [slowest("noticedMs"), slowest("readyMs"), slowest("resultMs")];
    console.log(`${own.length} × ${line({ blow, noticedMs, readyMs, resultMs })} at worst`);
  }
  console.log(
    `${tally.triggered} runs, ${tally.settled} results, ${tally.wrong} lost, ${waiting.size} hung; ` +
      `${tally.again} attempts made again, ${tally.untriggered} triggers made again by their caller`,
  );
  if (tally.forgotten > 0) {
    console.log(`${tally.forgotten} runs that the engine had answered with an id, and forgot: their callers were told`);
  }
  if (tally.hungDrains > 0) console.log(`${tally.hungDrains} drains hung in the engine, which was killed after 30 s`);
  return tally.wrong === 0 && waiting.size === 0;
}

/** The kills and holes spread evenly among the drains. */
function plan(): Blow[] {
  const blows: [number, Blow][] = [];
  const add = (count: number, blow: Blow) => {
    for (let n = 0; n < count; n++) blows.push([(n + 0.5) / count, blow]);
  };
  add(asked.drains, "drain");
  add(asked.kills, "kill");
  add(asked.holes, "hole");
  return blows.toSorted(([a], [b]) => a - b).map(([, blow]) => blow);
}

function line({ blow, noticedMs, readyMs, resultMs }: Record): string {
  return `${blow.padEnd(5)} noticed after ${s(noticedMs)}, ready ${s(readyMs)} after its end, ` +
    `a result ${s(resultMs)} after its end`;
}

function s(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function amounts(args: readonly string[]): { [name: string]: number } {
  return Object.fromEntries(args.map((arg) => {
    const [, name = "", value] = /^--(\w+)=(\d+)$/.exec(arg) ?? [];
    if (value === undefined) throw new Error(`${arg} is not understood`);
    return [name, Number(value)];
  }));
}

const reason = lack("LIVE_DRAIN", "LIVE_KILL", "LIVE_START");
if (reason !== undefined) console.log(`Skipped: ${reason}.`);
else process.exitCode = await main() ? 0 : 1;
