import type { Runtime } from "./measure.ts";
import type { CallerName } from "./subjects/callers.ts";
import type { PlayerName } from "./subjects/players.ts";
import type { ReaderName } from "./subjects/readers.ts";

/** What can be measured without the rest. */
export type Part =
  | "read"
  | "parallel"
  | "unary"
  | "pingpong"
  | "idle"
  | "recover"
  | "replay"
  | "waiters"
  | "import"
  | "bundle";

/** How much is measured. */
export interface Plan {
  readonly rounds: number;
  readonly runtimes: readonly Runtime[];
  readonly parts: readonly Part[];
  readonly sizes: readonly Size[];
  readonly readers: readonly ReaderName[];
  /** Many streams at once on one connection; counts are per stream. */
  readonly parallel: Size & { readonly streams: number; readonly readers: readonly ReaderName[] };
  /** Unary calls, so many at once. */
  readonly calls: readonly Calls[];
  readonly callers: readonly CallerName[];
  readonly roundTrips: number;
  readonly players: readonly PlayerName[];
  readonly idle: { readonly streams: number; readonly readers: readonly ReaderName[] };
  /** Of the cut that takes 15 s to be noticed, so few; all of them at once. */
  readonly blackHoles: number;
  readonly keys: number;
  readonly waiters: number;
}

/** Messages of one size: so many are read, after so many to warm up. */
export interface Size {
  readonly bytes: number;
  readonly count: number;
  readonly warmup: number;
}

/** So many calls, so many of them at once, after so many to warm up. */
export interface Calls {
  readonly atOnce: number;
  readonly count: number;
  readonly warmup: number;
}

/** The measurements of the table: each takes our transport at least 150 ms. */
export const full: Plan = {
  rounds: 10,
  runtimes: ["node", "deno", "bun"],
  parts: ["read", "parallel", "unary", "pingpong", "idle", "recover", "replay", "waiters", "import", "bundle"],
  sizes: [
    { bytes: 96, count: 200_000, warmup: 30_000 },
    { bytes: 1024, count: 100_000, warmup: 15_000 },
    { bytes: 65_536, count: 2500, warmup: 500 },
  ],
  readers: ["raw", "connect", "grpcjs", "nice", "transport", "channel", "reconnect", "live"],
  parallel: { streams: 100, bytes: 96, count: 2000, warmup: 300, readers: ["connect", "grpcjs", "nice", "transport"] },
  calls: [
    { atOnce: 1, count: 1200, warmup: 500 },
    { atOnce: 64, count: 20_000, warmup: 12_000 },
  ],
  callers: ["connect", "grpcjs", "nice", "transport"],
  roundTrips: 5000,
  players: ["raw", "connect", "grpcjs", "nice", "transport", "reconnect"],
  idle: { streams: 1000, readers: ["connect", "grpcjs", "transport"] },
  blackHoles: 3,
  keys: 100_000,
  waiters: 100_000,
};

/** Enough to see that everything runs. */
export const quick: Plan = {
  ...full,
  rounds: 1,
  sizes: full.sizes.map((size) => part(size, 1 / 10)),
  parallel: { ...full.parallel, count: 200, warmup: 50 },
  calls: full.calls.map((calls) => part(calls, 1 / 10)),
  roundTrips: 300,
  blackHoles: 0,
  keys: 10_000,
  waiters: 20_000,
};

function part<T extends Calls | Size>(whole: T, share: number): T {
  return { ...whole, count: whole.count * share, warmup: whole.warmup * share };
}

/**
 * What part of a count is enough for who takes longer over each: all measurements take about as long. What warms up is the
 * same for all.
 */
export function countFor(name: string, count: number): number {
  const shares: Readonly<Record<string, number>> = { raw: 4, connect: 1 / 4, grpcjs: 1 / 2, nice: 1 / 2 };
  return Math.round(count * (shares[name] ?? 1));
}

/** The cuts that are recovered from in about a second. */
export const cuts = ["fin", "rst", "goaway", "restart"] as const;

/** The other way to break. */
export const blackHole = "blackhole";

/** The entry points, and what they stand on. */
export const entries = {
  ".": "src/mod",
  "./streams": "src/streams/mod",
  "./transport": "src/transport/mod",
  "./testing": "src/testing/mod",
  "./proto": "src/proto",
} as const;
