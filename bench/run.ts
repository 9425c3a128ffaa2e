import { build } from "./built.ts";
import type { Runtime } from "./measure.ts";
import { measure } from "./measure.ts";
import type { Part, Plan } from "./plan.ts";
import { blackHole, countFor, cuts, entries } from "./plan.ts";
import type { Series } from "./series.ts";
import { startSource } from "./source/child.ts";

/** How often the heap is weighed: it hardly varies. */
const weighings = 3;

/**
 * Measures everything once a round, each in a process of its own, in an order that turns round with the rounds. Begins no
 * round that would not end in time; gives back how many it made.
 */
export async function run(plan: Plan, series: Series, limitMs: number, say: (line: string) => void): Promise<number> {
  const source = await startSource();
  const built = build();
  const startedAt = performance.now();
  let made = 0;
  await blackHoles(plan, series);
  while (made < plan.rounds && (performance.now() - startedAt) * (made + 1) / Math.max(1, made) < limitMs) {
    const turned = <T>(list: readonly T[]): readonly T[] => (made % 2 === 0 ? list : list.toReversed());
    for (const runtime of turned(plan.runtimes)) await round(runtime, turned);
    made++;
    say(`round ${made} of ${plan.rounds}, ${Math.round((performance.now() - startedAt) / 1000)} s`);
  }
  await source.kill();
  return made;

  async function round(runtime: Runtime, turned: <T>(list: readonly T[]) => readonly T[]): Promise<void> {
    const { echo, hostPort } = source;
    const note = (name: readonly (string | number)[], subject: string, ...args: readonly (string | number)[]) =>
      take(series, [name[0] ?? "", runtime, ...name.slice(1)], runtime, subject, ...args);
    const ways: Record<Part, () => Promise<void>> = {
      async read() {
        for (const { bytes, count, warmup } of turned(plan.sizes)) {
          for (const reader of turned(plan.readers)) {
            await note(["read", bytes, reader], "read", reader, hostPort, bytes, 1, warmup, countFor(reader, count));
          }
        }
      },
      async parallel() {
        const { bytes, count, readers, streams, warmup } = plan.parallel;
        for (const reader of turned(readers)) {
          await note(["parallel", reader], "read", reader, hostPort, bytes, streams, warmup, countFor(reader, count));
        }
      },
      async unary() {
        for (const { atOnce, count, warmup } of turned(plan.calls)) {
          for (const caller of turned(plan.callers)) {
            const enough = countFor(caller, count);
            await note(["unary", atOnce, caller], "unary", caller, echo, hostPort, atOnce, warmup, enough);
          }
        }
      },
      async pingpong() {
        const { players, roundTrips } = plan;
        for (const player of turned(players)) {
          await note(["pingpong", player], "pingpong", player, echo, hostPort, roundTrips / 5, roundTrips);
        }
      },
      async idle() {
        if (made >= weighings) return;
        const { readers, streams } = plan.idle;
        for (const reader of readers) await note(["idle", reader], "idle", reader, hostPort, streams);
      },
      async recover() {
        await Promise.all(cuts.map((cut) => recoveries(series, runtime, cut, 1)));
      },
      replay: () => note(["replay"], "replay", plan.keys),
      async waiters() {
        if (made >= weighings) return;
        for (const place of ["subscriptions", "client"]) {
          await note(["waiters", place], "waiters", place, hostPort, plan.waiters);
        }
      },
      async import() {
        for (const [entry, file] of Object.entries(entries)) {
          await note(["import", entry], "imports", `${built.href}src/${file.slice(4)}.js`);
        }
        await note(["import", "connect"], "imports", "@connectrpc/connect-node");
      },
      async bundle() {
        // The report bundles: nothing of it depends on the round or the runtime.
      },
    };
    for (const part of plan.parts) await ways[part]();
  }
}

/** The cut that takes longest to be noticed: on all runtimes at once, for all they do is wait. */
async function blackHoles(plan: Plan, series: Series): Promise<void> {
  if (plan.blackHoles === 0 || !plan.parts.includes("recover")) return;
  await Promise.all(plan.runtimes.map((runtime) => recoveries(series, runtime, blackHole, plan.blackHoles)));
}

async function recoveries(series: Series, runtime: Runtime, cut: string, times: number): Promise<void> {
  try {
    const all = await measure(runtime, "recover", cut, times) as { wholeMs: number; drawnMs: number }[]; // It says so.
    for (const { drawnMs, wholeMs } of all) {
      series.add(["recover", runtime, cut, "wholeMs"], wholeMs);
      series.add(["recover", runtime, cut, "restMs"], wholeMs - drawnMs);
    }
  } catch (error) {
    series.failures.push(String(error));
  }
}

/** Measures one thing, and notes each of its numbers. */
async function take(
  series: Series,
  name: readonly (string | number)[],
  runtime: Runtime,
  subject: string,
  ...args: readonly (string | number)[]
): Promise<void> {
  let numbers: Record<string, number>;
  try {
    numbers = await measure(runtime, subject, ...args) as Record<string, number>; // Subjects tell nothing else.
  } catch (error) {
    series.failures.push(String(error));
    numbers = { perSecond: NaN, cpuUs: NaN, wallMs: NaN, bytes: NaN };
  }
  for (const [what, value] of Object.entries(numbers)) series.add([...name, what], value);
}
