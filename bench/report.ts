import type { Bundle } from "./size.ts";
import type { Plan } from "./plan.ts";
import { blackHole, cuts, entries } from "./plan.ts";
import type { Series } from "./series.ts";
import type { Spread } from "./statistics.ts";
import { table } from "./table.ts";
import { targets } from "./targets.ts";

/** Where and how was measured. */
export interface Circumstances {
  readonly date: string;
  readonly machine: string;
  readonly kernel: string;
  readonly versions: Readonly<Record<string, string>>;
  /** The load before and after. */
  readonly load: readonly [number, number];
  readonly cores: number;
  readonly rounds: number;
  readonly command: string;
}

/** What a reader is called. */
const names: Readonly<Record<string, string>> = {
  raw: "nothing but `node:http2`, bytes counted",
  connect: "connect-node, `for await`",
  grpcjs: "grpc-js, events",
  channel: "connect over our connections",
  reconnect: "**`reconnect()`**, `for await`",
  live: "**a pumped stream**, `for await`",
};

const cutNames: Readonly<Record<string, string>> = {
  fin: "FIN",
  rst: "RST",
  goaway: "GOAWAY and an OK end of each stream (a drain)",
  restart: "the server is killed and starts again",
  blackhole: "black hole, pings every 10 s, dead after 5 s",
};

/** Bundles an entry point, alone or with all it needs. */
export type Bundler = (file: string, alone: boolean) => Bundle;

/** The whole document. */
export function report(series: Series, plan: Plan, where: Circumstances, bundle: Bundler): string {
  return `${
    [
      head(where),
      "## What is promised, and what was found",
      found(series, plan),
      "## Reading a stream",
      "Messages a second, the median of all rounds; in brackets what lies between the quarters. × is the ratio to connect-node, " +
      "paired per round. µs is the CPU time of the reading process per message, all its threads, with its ratio to connect-node's: " +
      "where others use the machine too, it says more.",
      ...plan.sizes.map(({ bytes }) => reading(series, plan, bytes)),
      "## Ping-pong on one bidirectional stream",
      pingpong(series, plan),
      "## Coming back",
      "From the cut until a result that the cut had lost is there, through a client with every default. Most of it is the wait " +
      "that the client draws, between 0 and 2 s after a first failure; the second number is without it. " +
      `The black hole is measured ${plan.blackHoles} times, each of the others once a round.`,
      recovery(series, plan),
      "## A hundred thousand who wait",
      `How long a shared stream takes after a cut to ask again for ${
        plan.keys.toLocaleString("en")
      } keys, until the server has ` +
      "read the last one and its answer is there; and the heap that each waiter takes, above the id.",
      waiting(series, plan),
      "## Importing and bundling",
      "Import in milliseconds, built as npm ships it, from a cold process; bundles as `bun build --minify` makes them.",
      importing(series, plan, bundle),
    ].join("\n\n")
  }\n`;
}

function head({ command, cores, date, kernel, load, machine, rounds, versions }: Circumstances): string {
  const runtimes = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `# Performance

Written by \`${command}\`; do not edit.

| | |
|---|---|
| Date | ${date} |
| Machine | ${machine} |
| Kernel | ${kernel} |
| Versions | ${runtimes} |
| Load average | ${load[0].toFixed(1)} before, ${load[1].toFixed(1)} after |
| Rounds | ${rounds}, each measurement in a process of its own, the order turning round |

${
    load[0] > cores / 2
      ? "**Others used the machine meanwhile.** Times and rates say little then; CPU time, heap and sizes hold."
      : "Differences that the brackets cover mean nothing."
  }`;
}

function found(series: Series, plan: Plan): string {
  const rows = targets.map(({ found, says }) => [
    says,
    ...plan.runtimes.map((runtime) => {
      const it = found(series, runtime, plan);
      return it === undefined ? "–" : `${it.met ? "yes" : "**no**"}: ${it.text}`;
    }),
  ]);
  const missed = targets.filter(({ found }) => plan.runtimes.some((it) => found(series, it, plan)?.met === false));
  const reasons = missed.map(({ because, says }) => `- *${says}*: ${because}`);
  return [table(["", ...plan.runtimes], rows), ...(reasons.length > 0 ? ["Where it says no:", reasons.join("\n")] : [])]
    .join("\n\n");
}

function reading(series: Series, plan: Plan, bytes: number): string {
  const rows = plan.readers.map((reader) => [
    names[reader] ?? reader,
    ...plan.runtimes.map((runtime) => {
      const name = ["read", runtime, bytes, reader] as const;
      const ratio = series.ratio([...name, "perSecond"], ["read", runtime, bytes, "connect", "perSecond"]);
      const micros = series.spread(...name, "cpuUs")?.median;
      const cpu = series.ratio([...name, "cpuUs"], ["read", runtime, bytes, "connect", "cpuUs"]);
      return [
        range(series.spread(...name, "perSecond"), thousands),
        ratio === undefined ? "" : `${ratio.median.toFixed(2)} ×`,
        micros === undefined ? "" : `${micros.toFixed(micros < 20 ? 1 : 0)} µs, ${cpu?.median.toFixed(2) ?? "–"} ×`,
      ].join(" · ");
    }),
  ]);
  return `### ${bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`}\n\n${table(["", ...plan.runtimes], rows)}`;
}

function pingpong(series: Series, plan: Plan): string {
  const rows = ["connect", "grpcjs", "reconnect"].map((player) => [
    (names[player] ?? player).split(",")[0] ?? "",
    ...plan.runtimes.map((runtime) => {
      const ratio = series.ratio(["pingpong", runtime, player, "perSecond"], [
        "pingpong",
        runtime,
        "connect",
        "perSecond",
      ]);
      const rate = range(series.spread("pingpong", runtime, player, "perSecond"), thousands);
      return `${rate} · ${ratio?.median.toFixed(2) ?? "–"} ×`;
    }),
  ]);
  return `Round trips a second.\n\n${table(["", ...plan.runtimes], rows)}`;
}

function recovery(series: Series, plan: Plan): string {
  const rows = [...cuts, blackHole].map((cut) => [
    cutNames[cut] ?? cut,
    ...plan.runtimes.map((runtime) => {
      const whole = range(series.spread("recover", runtime, cut, "wholeMs"), (ms) => `${(ms / 1000).toFixed(2)} s`);
      const rest = series.spread("recover", runtime, cut, "restMs")?.median;
      return rest === undefined ? "–" : `${whole} · ${Math.round(rest)} ms`;
    }),
  ]);
  return table(["", ...plan.runtimes], rows);
}

function waiting(series: Series, plan: Plan): string {
  const milliseconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  const bytes = (count: number) => `${Math.round(count)} B`;
  const row = (name: string, print: (value: number) => string, ...path: [string, ...string[]]) => [
    name,
    ...plan.runtimes.map((runtime) => range(series.spread(path[0], runtime, ...path.slice(1)), print)),
  ];
  return table(["", ...plan.runtimes], [
    row("replay", milliseconds, "replay", "wallMs"),
    row("heap per waiter, `Subscriptions.wait()`", bytes, "waiters", "subscriptions", "bytes"),
    row("heap per waiter, `runs.result()`", bytes, "waiters", "client", "bytes"),
  ]);
}

function importing(series: Series, plan: Plan, bundle: Bundler): string {
  const times = (entry: string) =>
    plan.runtimes.map((runtime) =>
      range(series.spread("import", runtime, entry, "wallMs"), (ms) => `${ms.toFixed(0)} ms`)
    );
  const rows = Object.entries(entries).map(([entry, file]) => {
    const [own, whole] = [true, false].map((alone) => bundle(`${file}.ts`, alone));
    const print = (
      it: typeof own,
    ) => (it === undefined ? "–" : `${kilobytes(it.bytes)}, ${kilobytes(it.gzip)} gzipped`);
    return [`\`${entry}\``, ...times(entry), print(own), print(whole)];
  });
  const base = ["connect-node alone", ...times("connect"), "", ""];
  return table(["", ...plan.runtimes, "our code", "with all it needs"], [...rows, base]);
}

function range(spread: Spread | undefined, print: (value: number) => string): string {
  return spread === undefined ? "–" : `${print(spread.median)} (${print(spread.low)}–${print(spread.high)})`;
}

function thousands(value: number): string {
  return value < 10_000 ? `${(value / 1000).toFixed(1)}k` : `${Math.round(value / 1000)}k`;
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}
