import { positive } from "./check.ts";

/** How long to wait after the given number of failures in a row, counted from 1, in milliseconds. */
export type Backoff = (failures: number) => number;

/** The shape of {@link fullJitter}. */
export interface FullJitterOptions {
  /** The window after the first failure. @default 1000 */
  readonly baseMs?: number;
  /** The widest window. @default 30_000 */
  readonly capMs?: number;
  /** What each further failure multiplies the window by. @default 2 */
  readonly factor?: number;
  /** Draws from [0, 1). @default Math.random */
  readonly random?: () => number;
}

/**
 * Full jitter: a wait drawn evenly from [0, min(capMs, baseMs · factorⁿ⁻¹)), so that clients that lost a server in the
 * same instant do not come back in the same instant.
 *
 * @throws RangeError when a duration or the factor makes no sense.
 */
export function fullJitter(options: FullJitterOptions = {}): Backoff {
  const { baseMs = 1000, capMs = 30_000, factor = 2, random = Math.random } = options;
  positive("baseMs", baseMs);
  positive("capMs", capMs);
  if (!(factor >= 1)) throw new RangeError(`factor must be at least 1, got ${factor}`);
  return (failures) => random() * Math.min(capMs, baseMs * factor ** Math.max(0, failures - 1));
}
