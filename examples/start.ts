/**
 * Fifty runs and more in flight, and a connection that is cut all the time: every result arrives.
 *
 * Without HATCHET_CLIENT_TOKEN it brings its own engine, in memory; with it the same runs go to that engine, and only
 * the cuts that a proxy can make.
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client, ClientOptions } from "../src/mod.ts";
import { createClient, task } from "../src/mod.ts";
import type { CuttingProxy, Engine } from "../src/testing/mod.ts";
import { cuttingProxy, startEngine } from "../src/testing/mod.ts";
import { Ledger, seconds } from "./start/ledger.ts";
import type { Out } from "./start/screen.ts";
import { bar, Screen } from "./start/screen.ts";
import type { Cut, Pace } from "./start/storm.ts";
import { plan, storm } from "./start/storm.ts";

/** How many runs go on at a time: a few more than must be in flight, for those that are just being triggered. */
const lanes = 64;
const usual: Pace = { calmMs: () => 500 + 500 * Math.random(), inFlight: 50, endMs: 36_000 };
const limitMs = 56_000;

/** Real engines drop who asks more often than every 5 s; ours is asked as often as the show needs. */
const pings = { ours: { intervalMs: 1000, timeoutMs: 1000 }, real: { intervalMs: 5500, timeoutMs: 2000 } };
const retry = { firstDelayMs: 500, capMs: 2000 };

const ledger = new Ledger();

/** Doubles a number, slowly enough to be cut in the middle; its time-out is short, for the starts that cuts swallow. */
const double = task({
  name: "coppice-start",
  retries: 20,
  timeoutMs: 4000,
  run: async ({ number }: { number: number }, { attempt, signal, taskId }) => {
    ledger.attempted(taskId, attempt);
    await sleep(500 + (number * 37) % 2000, undefined, { signal });
    return { doubled: 2 * number };
  },
});

/** Keeps runs in flight while `cuts` fall, and awaits every one of them; true when nothing was lost. */
export async function main(
  client: Client,
  signal: AbortSignal,
  cuts: readonly Cut[],
  pace: Pace = usual,
  out: Out = process.stdout,
): Promise<boolean> {
  const screen = new Screen(out, () => {
    const { elapsed, inFlight, results } = ledger;
    return `  ${elapsed.padStart(7)}  ${bar(ledger.cuts, cuts.length)}  ${results} results, ${inFlight} in flight`;
  });
  const worker = client.worker("coppice-start", { tasks: [double], slots: lanes });
  const working = worker.run({ signal });
  try {
    await Promise.race([worker.ready({ signal }), working]);
    let raging = true;
    const falling = storm(cuts, pace, client, ledger, screen, signal).finally(() => raging = false);
    let number = 0;
    const lane = async () => {
      while (raging) await one(client, number++, signal);
    };
    await Promise.all([falling, ...Array.from({ length: lanes }, lane)]);
  } finally {
    screen.close();
    await worker.stop({ graceMs: 1000 });
    await working;
    show(screen, signal);
  }
  return ledger.lost === 0;
}

/** One run, from its trigger to its result. */
async function one(client: Client, number: number, signal: AbortSignal): Promise<void> {
  const run = await triggered(client, number, signal);
  ledger.triggered();
  try {
    const { doubled } = await run.result({ signal });
    ledger.settled(run.id, doubled === 2 * number);
  } catch (error) {
    signal.throwIfAborted();
    ledger.failed(error);
  }
}

async function triggered(client: Client, number: number, signal: AbortSignal) {
  for (;;) {
    try {
      return await client.runs.trigger(double, { number }, { signal });
    } catch (error) {
      if (signal.aborted || !ledger.cutOff(error)) throw error;
    }
  }
}

function show(screen: Screen, signal: AbortSignal): void {
  const unlost = ledger.lost === 0;
  screen.say();
  for (const [name, value] of ledger.table()) {
    const line = `  ${name.padEnd(46)}${String(value).padStart(8)}`;
    screen.say(name === "results lost" ? screen.paint(unlost ? "green" : "red", line) : line);
  }
  const missing = `${ledger.lost} results ${signal.aborted ? "were not awaited" : "were lost"}.`;
  screen.say();
  screen.say(screen.paint(unlost ? "bold" : "red", `  ${unlost ? "Nothing was lost." : missing} ${ledger.elapsed}`));
}

async function start(): Promise<boolean> {
  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort(new Error("Interrupted")));
  const signal = AbortSignal.any([interrupted.signal, AbortSignal.timeout(limitMs)]);
  const token = process.env["HATCHET_CLIENT_TOKEN"];
  let engine: Engine | undefined;
  let proxy: CuttingProxy | undefined;
  let client: Client | undefined;
  try {
    if (!token) engine = await startEngine({ timing: { internalRetryMs: 100, pollMs: 200 } });
    const target = engine?.hostPort ?? engineOf(token!);
    proxy = await cuttingProxy(target);
    client = createClient({ ...through(proxy, target, engine), logger: false, retry });
    const cuts = plan(proxy, engine);
    introduce(target, engine, cuts);
    return await main(client, signal, cuts);
  } finally {
    await client?.close({ graceMs: 0 });
    await proxy?.close();
    await engine?.close();
  }
}

/** Where the variables, or else the token, say that the engine is. */
function engineOf(token: string): string {
  const known = process.env["HATCHET_CLIENT_HOST_PORT"];
  if (known) return known;
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
  return String(claims.grpc_broadcast_address);
}

/** How a client gets to the engine by way of the proxy. */
function through(proxy: CuttingProxy, target: string, engine: Engine | undefined): ClientOptions {
  const { hostPort } = proxy;
  if (engine !== undefined) return { hostPort, token: engine.token, tls: false, keepAlive: pings.ours };
  // The certificate bears the engine's name, not the proxy's.
  process.env["HATCHET_CLIENT_TLS_SERVER_NAME"] ||= target.slice(0, target.lastIndexOf(":"));
  return { hostPort, keepAlive: pings.real };
}

function introduce(target: string, engine: Engine | undefined, cuts: readonly Cut[]): void {
  const { intervalMs, timeoutMs } = engine === undefined ? pings.real : pings.ours;
  const lines = [
    ["engine", engine === undefined ? target : "in memory, started for this"],
    ["wire", `through a proxy that cuts it ${cuts.length} times, with ${usual.inFlight} runs and more in flight`],
    ["pings", `every ${seconds(intervalMs)}, dead after ${seconds(timeoutMs)} of silence; usually 10.0 s and 5.0 s`],
    ["waits", `up to ${seconds(retry.firstDelayMs)}, doubling to ${seconds(retry.capMs)}; usually 2.0 s and 10.0 s`],
  ];
  console.log();
  for (const [name = "", text = ""] of lines) console.log(`  ${name.padEnd(9)}${text}`);
  console.log();
}

if (import.meta.main) {
  try {
    process.exitCode = await start() ? 0 : 1;
  } catch (error) {
    console.error(error instanceof Error ? `${error.name}: ${error.message}` : error);
    process.exitCode = 1;
  }
}
