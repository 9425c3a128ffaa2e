/**
 * `npm run simulate -- --seeds 1000 --from 1 [--shrink] [--herd]`: storms against the real client on virtual time. A
 * seed that fails prints what was found and its schedule, and fails again whenever it is played.
 */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { seeded } from "../../src/testing/random.ts";
import { herd } from "./herd.ts";
import { play } from "./play.ts";
import { schedule } from "./schedule.ts";
import { shrink } from "./shrink.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    jobs: { type: "string", default: String(availableParallelism()) },
    shrink: { type: "boolean", default: false },
    herd: { type: "boolean", default: false },
  },
});

/** Plays the seeds one after another; resolves with how many failed. */
async function simulate(from: number, seeds: number): Promise<number> {
  let failed = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const events = schedule(seeded(seed));
    const { findings, line } = await play(seed, events);
    if (seeds === 1) console.log(`seed ${seed}: ${line}`);
    if (findings.length === 0) continue;
    failed++;
    console.log(`seed ${seed} failed: ${findings[0]}`);
    const shown = values.shrink
      ? await shrink(events, async (some) => (await play(seed, some)).findings.length > 0)
      : events;
    for (const event of shown) console.log(`  ${JSON.stringify(event)}`);
  }
  return failed;
}

/** The same in as many processes as there are processors; a process that dies has failed. */
async function inParallel(from: number, seeds: number, jobs: number): Promise<number> {
  const each = Math.ceil(seeds / jobs);
  const parts = Array.from({ length: jobs }, (_, job) => from + job * each).filter((start) => start < from + seeds);
  const codes = await Promise.all(parts.map((start) => {
    const count = Math.min(each, from + seeds - start);
    const args = [fileURLToPath(import.meta.url), "--from", `${start}`, "--seeds", `${count}`, "--jobs", "1"];
    if (values.shrink) args.push("--shrink");
    const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
    return new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
  }));
  return codes.filter((code) => code !== 0).length;
}

if (values.herd) {
  await herd(console.log);
} else {
  const from = Number(values.from);
  const seeds = Number(values.seeds);
  const jobs = Math.min(Number(values.jobs), Math.ceil(seeds / 50));
  const startedAt = performance.now();
  const failed = jobs > 1 ? await inParallel(from, seeds, jobs) : await simulate(from, seeds);
  if (jobs > 1 || values.jobs !== "1") {
    const tookMs = performance.now() - startedAt;
    const ok = failed === 0 ? "all good" : `${failed} ${jobs > 1 ? "processes" : "seeds"} found something`;
    console.log(`${seeds} seeds from ${from}: ${ok}, ${(tookMs / 1000).toFixed(1)} s`);
  }
  process.exitCode = failed === 0 ? 0 : 1;
}
