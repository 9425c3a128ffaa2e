import type { Measured, Row } from "./row.ts";
import { delayMs } from "./run.ts";

/** Where a measurement is not what its row says. */
export function deviations(row: Row, measured: Measured): string[] {
  const expected: Partial<Measured> = {
    ...(row.code !== undefined && { code: row.code }),
    ...(row.guard !== undefined && { guard: row.guard }),
    loop: row.loop,
    origin: row.origin,
    verdict: row.verdict,
  };
  const found: Record<string, unknown> = { ...measured };
  const deviating = Object.entries(expected).filter(([key, value]) => found[key] !== value).map(([key, value]) =>
    `${key}: expected ${value}, got ${found[key]} (${measured.message})`
  );
  // Timers may fire a little early.
  const leastMs = (row.waitMs ?? delayMs) - 2;
  const { waitedMs } = measured;
  if (row.loop === "again" && !(waitedMs !== undefined && waitedMs >= leastMs)) {
    deviating.push(`waited ${waitedMs} ms, expected ${leastMs} at least`);
  }
  return [...deviating, ...measured.left.map((left) => `left ${left}`)];
}
