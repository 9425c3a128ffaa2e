import { show } from "./show.ts";

const uuids = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const names = /^[A-Za-z0-9._-]+$/;
/** The engine counts nanoseconds in 64 bits: 292 years, in milliseconds. */
const longestMs = 9_223_372_036_854;
const units = [["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]] as const;

/**
 * The id in the engine's spelling, lower case, so that it compares equal to what comes back.
 *
 * @throws TypeError when it is no UUID
 */
export function uuid(value: unknown, what: string): string {
  if (typeof value === "string" && uuids.test(value)) return value.toLowerCase();
  throw new TypeError(`${what} must be a UUID, got ${show(value)}`);
}

/** The name of a worker, workflow or task. @throws TypeError when the engine would not take it */
export function named(value: unknown, what: string): string {
  if (typeof value === "string" && names.test(value)) return value;
  throw new TypeError(`${what} must be made of letters, digits, ".", "-" and "_", got ${show(value)}`);
}

/** How urgent a run is: 1 low, 2 medium, 3 high. @throws RangeError when it is none of these */
export function priority(value: unknown): 1 | 2 | 3 {
  if (value === 1 || value === 2 || value === 3) return value;
  throw new RangeError(`priority must be 1, 2 or 3, got ${show(value)}`);
}

/** A duration as the engine reads it, in the largest unit that is exact. @throws RangeError when there is none */
export function durationText(ms: number, what = "duration"): string {
  if (!Number.isInteger(ms) || ms < 0 || ms > longestMs) {
    throw new RangeError(`${what} must be whole milliseconds from 0 to ${longestMs}, got ${show(ms)}`);
  }
  const [unit, size] = units.find(([, one]) => ms >= one && ms % one === 0) ?? ["s", 1000];
  return `${ms / size}${unit}`;
}
