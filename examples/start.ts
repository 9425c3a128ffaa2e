/**
 * Fifty runs and more, and a connection that is cut the whole time: every result arrives.
 *
 * Without HATCHET_CLIENT_TOKEN it brings its own engine, in memory; with it the same runs go to that engine, and only
 * the cuts that a proxy can make.
 */
import process from "node:process";
import type { Client } from "../src/mod.ts";
import { createClient, task } from "../src/mod.ts";
import type { CuttingProxy, Engine } from "../src/testing/mod.ts";
import { cuttingProxy, seeded, startEngine } from "../src/testing/mod.ts";
import { Ledger } from "./start/ledger.ts";
import { Screen } from "./start/screen.ts";
import type { Cut } from "./start/storm.ts";
import { storm } from "./start/storm.ts";

const runs = 80;
/** Real engines drop who asks more often than every 5 s; ours is asked as often as the show needs. */
const pings = { ours: { intervalMs: 1000, timeoutMs: 1000 }, real: { intervalMs: 5500, timeoutMs: 2000 } };

const ledger = new Ledger();

/** Doubles a number, slowly enough to be cut in the middle; its time-out is short, for the starts that cuts swallow. */
const double = task({
  name: "coppice-double",
  retries: 20,
  timeoutMs: 4000,
  run: async ({ number }: { number: number }, { attempt, signal, taskId }) => {
    ledger.attempted(taskId, attempt);
    await new Promise((resolve) => setTimeout(resolve, 200 + 20 * (number % 40)));
    signal.throwIfAborted();
    return { doubled: 2 * number };
  },
});

/** Triggers the runs and awaits them while `cuts` fall; true when nothing was lost. */
export async function main(client: Client, signal: AbortSignal, cuts: readonly Cut[]): Promise<boolean> {
  const screen = new Screen(process.stdout, () => ledger.line(runs));
  const worker = client.worker("coppice-start", { tasks: [double], slots: 40 });
  const working = worker.run({ signal });
  try {
    await Promise.race([worker.ready({ signal }), working]);
    const falling = storm(cuts, client, ledger, screen, signal);
    const finishing = Array.from({ length: runs }, (_, number) => one(client, number, signal));
    await Promise.allSettled([...finishing, falling]);
  } finally {
    screen.close();
    await worker.stop({ graceMs: 1000 });
    await working;
  }
  console.log(ledger.table(runs));
  return ledger.lost(runs) === 0;
}

/** One run, from its trigger to its result. A trigger whose answer was cut off is made again: a new run, counted. */
async function one(client: Client, number: number, signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 120 * number));
  for (;;) {
    try {
      const run = await client.runs.trigger(double, { number }, { signal });
      const { doubled } = await run.result({ signal });
      ledger.settled(number, doubled === 2 * number);
      return;
    } catch (error) {
      if (!ledger.troubled(error)) throw error;
    }
  }
}

async function start(): Promise<boolean> {
  const limit = AbortSignal.timeout(55_000);
  const token = process.env["HATCHET_CLIENT_TOKEN"];
  let engine: Engine | undefined;
  let proxy: CuttingProxy | undefined;
  let client: Client | undefined;
  try {
    if (token === undefined) engine = await startEngine({ seed: 1, timing: { internalRetryMs: 100, pollMs: 500 } });
    const target = engine?.hostPort ?? process.env["HATCHET_CLIENT_HOST_PORT"] ?? "127.0.0.1:7070";
    proxy = await cuttingProxy(target);
    const keepAlive = engine === undefined ? pings.real : pings.ours;
    client = createClient({
      hostPort: proxy.hostPort,
      keepAlive,
      logger: false,
      ...(engine !== undefined && { token: engine.token, tls: false }),
    });
    const where = engine === undefined ? target : "an engine in memory";
    console.log(
      `${runs} runs on ${where}, through a proxy that cuts. PING every ${keepAlive.intervalMs} ms, dead after`,
    );
    console.log(`${keepAlive.timeoutMs} ms without an answer; the defaults are 10,000 and 5,000.`);
    return await main(client, limit, plan(proxy, engine));
  } finally {
    await client?.close({ graceMs: 0 });
    await proxy?.close();
    await engine?.close();
  }
}

/** What falls on the connection, and when. */
function plan(proxy: CuttingProxy, engine: Engine | undefined): Cut[] {
  const random = seeded(7);
  const cut = (kind: string, fall: () => void | Promise<void>): Cut => ({ kind, fall, afterMs: 700 + 900 * random() });
  const rst = cut("RST", () => proxy.cut("rst"));
  const fin = cut("FIN", () => proxy.cut("fin"));
  const stall = cut("stall", async () => {
    proxy.stall("both");
    await new Promise((resolve) => setTimeout(resolve, 2500));
    proxy.resume();
  });
  const ofEngine = engine === undefined ? [] : [
    cut("drain and restart", async () => {
      await engine.drain();
      await engine.restart();
    }),
    cut("kill and restart", async () => {
      await engine.kill();
      await engine.restart();
    }),
  ];
  return [rst, fin, ...ofEngine, stall, rst, fin, ...ofEngine, rst];
}

if (import.meta.main) {
  const unlost = await start();
  process.exitCode = unlost ? 0 : 1;
}
