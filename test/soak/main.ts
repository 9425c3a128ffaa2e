/*
 * One runtime's part of `npm run soak`: does the work, and prints what it read as its last line.
 */
import process from "node:process";
import { grown } from "./flat.ts";
import type { Amount } from "./work.ts";
import { soak } from "./work.ts";

const full = {
  messages: 1e6,
  readings: 40,
  reconnects: 1e4,
  waits: 1.1e5,
  calls: 1e5,
  keptMs: 32_000,
} satisfies Amount;
const share = Number(process.env["COPPICE_SOAK"] ?? 1);
const amount: Amount = {
  messages: full.messages * share,
  readings: full.readings,
  reconnects: full.reconnects * share,
  waits: full.waits * share,
  calls: full.calls * share,
  keptMs: full.keptMs * share,
};

const begunMs = performance.now();
const { after, before, phases } = await soak(amount);
const faults = Object.entries(phases).flatMap(([phase, readings]) =>
  grown(readings).map((fault) => `${phase}: ${fault}`)
);
for (const measure of ["listeners", "timers", "sockets"] as const) {
  const left = after[measure] - before[measure];
  if (left > 0) faults.push(`close: ${left} ${measure} left`);
}
const { bun, deno, node } = process.versions;
const version = bun !== undefined ? `Bun ${bun}` : deno !== undefined ? `Deno ${deno}` : `Node ${node}`;
console.log(JSON.stringify({ amount, faults, phases, tookMs: performance.now() - begunMs, version }));
