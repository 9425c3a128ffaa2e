import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../../src/mod.ts";
import type { CuttingProxy, Engine } from "../../src/testing/mod.ts";
import type { Ledger } from "./ledger.ts";
import { seconds } from "./ledger.ts";
import type { Screen } from "./screen.ts";

/** One blow to the connection. */
export interface Cut {
  readonly kind: string;
  /** Strikes; `noticed` resolves when the client has lost its stream. */
  readonly strike: (noticed: Promise<void>) => void | Promise<void>;
}

/** When cuts fall. */
export interface Pace {
  /** How long streams are left alone once they are back, in milliseconds. */
  readonly calmMs: () => number;
  /** How many runs must be in flight. */
  readonly inFlight: number;
  /** From when on nothing falls any more, in milliseconds. */
  readonly endMs: number;
}

/** What a proxy can do to the connection with any engine, and what can be done to an engine of our own besides. */
export function plan(proxy: CuttingProxy, engine: Engine | undefined): Cut[] {
  const rst: Cut = { kind: "RST", strike: () => proxy.cut("rst") };
  const fin: Cut = { kind: "FIN", strike: () => proxy.cut("fin") };
  const stall: Cut = {
    kind: "silent stall",
    strike: async (noticed) => {
      proxy.stall();
      await noticed.finally(() => proxy.resume());
    },
  };
  if (engine === undefined) return [rst, fin, stall, rst, fin, rst, fin, rst];
  const drain: Cut = { kind: "drain and restart", strike: () => engine.drain().then(() => engine.restart()) };
  const kill: Cut = { kind: "kill and restart", strike: () => engine.kill().then(() => engine.restart()) };
  return [rst, fin, drain, kill, stall, rst, kill, fin, drain, rst, fin, kill, stall, drain, fin, rst];
}

/** Lets the cuts fall one after another, each when the client has recovered from the one before. */
export async function storm(
  cuts: readonly Cut[],
  pace: Pace,
  client: Client,
  ledger: Ledger,
  screen: Screen,
  signal: AbortSignal,
): Promise<void> {
  const startedAt = Date.now();
  for (const { kind, strike } of cuts) {
    await sleep(pace.calmMs(), undefined, { signal });
    while (ledger.inFlight < pace.inFlight) await sleep(20, undefined, { signal });
    if (Date.now() - startedAt > pace.endMs) return;
    const { elapsed } = ledger;
    const cutAt = Date.now();
    ledger.cut(kind);
    const noticed = lost(client);
    await strike(noticed);
    await noticed;
    while (!client.health().ready) await sleep(10, undefined, { signal });
    const tookMs = Date.now() - cutAt;
    ledger.recovered(tookMs);
    const back = screen.paint("green", `back after ${seconds(tookMs)}`);
    const results = screen.paint("dim", `${String(ledger.results).padStart(5)} results`);
    screen.say(`  ${elapsed.padStart(7)}  ${screen.paint("red", kind.padEnd(18))} ${back} ${results}`);
  }
}

/** Resolves when the worker's stream has been lost. */
async function lost(client: Client): Promise<void> {
  for await (const { state, stream } of client.status()) if (stream === "actions" && state !== "live") return;
}
