import { blackHole, cuts, entries } from "./plan.ts";
import type { Plan } from "./plan.ts";
import type { Series } from "./series.ts";
import type { Bundle } from "./size.ts";
import type { Spread } from "./statistics.ts";
import { table } from "./table.ts";

/** What a reader, a caller or a player is called. */
const names: Readonly<Record<string, string>> = {
  raw: "nothing but `node:http2`, bytes counted",
  connect: "connect-node",
  grpcjs: "grpc-js, events",
  nice: "nice-grpc",
  transport: "**the transport's own stream call**",
  channel: "**the transport** under `createClient()`",
  reconnect: "**`reconnect()`** over it",
  live: "**a listener's pump** over that",
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

/** Reading messages of one size from one stream. */
export function reading(series: Series, plan: Plan, bytes: number): string {
  return `### ${bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`}\n\n${
    rates(series, plan, ["read", bytes], plan.readers)
  }`;
}

/** Reading from many streams at once. */
export function parallel(series: Series, plan: Plan): string {
  return rates(series, plan, ["parallel"], plan.parallel.readers);
}

/** Unary calls, so many at once. */
export function unary(series: Series, plan: Plan, atOnce: number): string {
  const title = atOnce === 1 ? "One after another" : `${atOnce} at once`;
  const called = { grpcjs: "grpc-js", transport: names["channel"] ?? "" };
  return `### ${title}\n\n${rates(series, plan, ["unary", atOnce], plan.callers, called)}`;
}

/** One message there and back, and then the next. */
export function pingpong(series: Series, plan: Plan): string {
  return rates(series, plan, ["pingpong"], plan.players, { raw: "nothing but `node:http2`" });
}

/** A row per name: how fast it is, beside connect-node, and what that costs. */
function rates(
  series: Series,
  plan: Plan,
  what: readonly (string | number)[],
  rows: readonly string[],
  called: Readonly<Record<string, string>> = {},
): string {
  const cell = (row: string, runtime: string) => {
    const [kind = "", ...rest] = what;
    const name = (row: string, number: string) => [kind, runtime, ...rest, row, number];
    const ratio = series.ratio(name(row, "perSecond"), name("connect", "perSecond"));
    const cpu = series.ratio(name(row, "cpuUs"), name("connect", "cpuUs"));
    const micros = series.spread(...name(row, "cpuUs"))?.median;
    return [
      range(series.spread(...name(row, "perSecond")), thousands),
      ratio === undefined ? "" : times(ratio.median),
      micros === undefined
        ? ""
        : `${micros.toFixed(micros < 20 ? 1 : 0)} µs, ${cpu === undefined ? "–" : times(cpu.median)}`,
    ].join(" · ");
  };
  const lines = rows.map((row) => [
    called[row] ?? names[row] ?? row,
    ...plan.runtimes.map((runtime) => cell(row, runtime)),
  ]);
  return table(["", ...plan.runtimes], lines);
}

/** What a stream costs on which nothing comes. */
export function idling(series: Series, plan: Plan): string {
  const rows = plan.idle.readers.map((reader) => [
    names[reader] ?? reader,
    ...plan.runtimes.map((runtime) => range(series.spread("idle", runtime, reader, "bytes"), kilobytes)),
  ]);
  return table(["", ...plan.runtimes], rows);
}

/** How long it takes to come back. */
export function recovery(series: Series, plan: Plan): string {
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

/** What it costs to wait and to ask again. */
export function waiting(series: Series, plan: Plan): string {
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

/** What it takes to load. */
export function importing(series: Series, plan: Plan, bundle: Bundler): string {
  const took = (entry: string) =>
    plan.runtimes.map((runtime) =>
      range(series.spread("import", runtime, entry, "wallMs"), (ms) => `${ms.toFixed(0)} ms`)
    );
  const rows = Object.entries(entries).map(([entry, file]) => {
    const [own, whole] = [true, false].map((alone) =>
      plan.parts.includes("bundle") ? bundle(`${file}.ts`, alone) : undefined
    );
    const print = (
      it: typeof own,
    ) => (it === undefined ? "–" : `${kilobytes(it.bytes)}, ${kilobytes(it.gzip)} gzipped`);
    return [`\`${entry}\``, ...took(entry), print(own), print(whole)];
  });
  const base = ["connect-node alone", ...took("connect"), "", ""];
  return table(["", ...plan.runtimes, "our code", "with all it needs"], [...rows, base]);
}

function range(spread: Spread | undefined, print: (value: number) => string): string {
  return spread === undefined ? "–" : `${print(spread.median)} (${print(spread.low)}–${print(spread.high)})`;
}

function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`;
}

function thousands(value: number): string {
  return value < 10_000 ? `${(value / 1000).toFixed(1)}k` : `${Math.round(value / 1000)}k`;
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}
