import type { Runtime } from "./measure.ts";
import type { ReaderName } from "./subjects/readers.ts";

/** How much is measured. */
export interface Plan {
  readonly rounds: number;
  readonly runtimes: readonly Runtime[];
  readonly sizes: readonly Size[];
  readonly readers: readonly ReaderName[];
  readonly roundTrips: number;
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

/** The measurements of the table. */
export const full: Plan = {
  rounds: 10,
  runtimes: ["node", "deno", "bun"],
  sizes: [
    { bytes: 96, count: 50_000, warmup: 15_000 },
    { bytes: 1024, count: 25_000, warmup: 8000 },
    { bytes: 65_536, count: 1500, warmup: 300 },
  ],
  readers: ["raw", "connect", "grpcjs", "reconnect", "live"],
  roundTrips: 3000,
  blackHoles: 3,
  keys: 100_000,
  waiters: 100_000,
};

/** Enough to see that everything runs. */
export const quick: Plan = {
  ...full,
  rounds: 2,
  sizes: full.sizes.map(({ bytes, count, warmup }) => ({ bytes, count: count / 5, warmup: warmup / 5 })),
  roundTrips: 500,
  blackHoles: 0,
  keys: 10_000,
  waiters: 20_000,
};

/** The cuts that are recovered from in about a second. */
export const cuts = ["fin", "rst", "goaway", "restart"] as const;

/** The other way to break. */
export const blackHole = "blackhole";

/** The entry points, and what they stand on. */
export const entries = {
  ".": "src/mod",
  "./streams": "src/streams/mod",
  "./testing": "src/testing/mod",
  "./proto": "src/proto",
} as const;
