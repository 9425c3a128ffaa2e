import { build } from "./built.ts";
import type { Runtime } from "./measure.ts";
import { measure } from "./measure.ts";
import type { Plan } from "./plan.ts";
import { blackHole, cuts, entries } from "./plan.ts";
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
    const { hostPort } = source;
    for (const { bytes, count, warmup } of turned(plan.sizes)) {
      for (const reader of turned(plan.readers)) {
        await take(series, ["read", runtime, bytes, reader], runtime, "read", reader, hostPort, bytes, warmup, count);
      }
    }
    for (const player of turned(["connect", "grpcjs", "reconnect"])) {
      const { roundTrips } = plan;
      await take(
        series,
        ["pingpong", runtime, player],
        runtime,
        "pingpong",
        player,
        hostPort,
        roundTrips / 5,
        roundTrips,
      );
    }
    await Promise.all(cuts.map((cut) => recoveries(series, runtime, cut, 1)));
    await take(series, ["replay", runtime], runtime, "replay", plan.keys);
    for (const [entry, file] of Object.entries(entries)) {
      await take(series, ["import", runtime, entry], runtime, "imports", `${built.href}src/${file.slice(4)}.js`);
    }
    await take(series, ["import", runtime, "connect"], runtime, "imports", "@connectrpc/connect-node");
    if (made >= weighings) return;
    for (const place of ["subscriptions", "client"]) {
      await take(series, ["waiters", runtime, place], runtime, "waiters", place, hostPort, plan.waiters);
    }
  }
}

/** The cut that takes longest to be noticed: on all runtimes at once, for all they do is wait. */
async function blackHoles(plan: Plan, series: Series): Promise<void> {
  if (plan.blackHoles === 0) return;
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
