import { Code, ConnectError } from "@connectrpc/connect";
import type { Backoff } from "./backoff.ts";
import { fullJitter } from "./backoff.ts";
import { positive } from "./check.ts";
import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import { pushback } from "./pushback.ts";

/** How a call is repeated. Every key is optional. */
export interface RetryOptions {
  /** Ends the call and the waits; rejects with the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
  /** How many tries in all. @default 5 */
  readonly attempts?: number | undefined;
  /** @default full jitter from 5 s, doubling, cap 80 s: the reference client's */
  readonly backoff?: Backoff | undefined;
  /** Whether an error may be mended by another try. @default isRetryable */
  readonly retryable?: ((error: unknown) => boolean) | undefined;
  /** The longest that a peer's own advice keeps a call away, in milliseconds. @default 60_000 */
  readonly maxPushbackMs?: number | undefined;
  /** Time. @default the runtime's */
  readonly clock?: Clock | undefined;
}

const retryableCodes: ReadonlySet<Code> = new Set([
  Code.ResourceExhausted,
  Code.DeadlineExceeded,
  Code.Internal,
  Code.Unavailable,
]);

/** Whether the reference client repeats a unary call that failed this way. */
export function isRetryable(error: unknown): boolean {
  return error instanceof ConnectError && retryableCodes.has(error.code);
}

/** Makes a call, again while it fails in a way that another try may mend; the last error is thrown as it is. */
export async function retry<T>(call: (attempt: number) => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { signal, attempts = 5, retryable = isRetryable, maxPushbackMs = 60_000, clock = systemClock } = options;
  const backoff = options.backoff ?? fullJitter({ baseMs: 5000, capMs: 80_000 });
  positive("attempts", attempts);
  for (let attempt = 1;; attempt++) {
    signal?.throwIfAborted();
    try {
      return await call(attempt);
    } catch (error) {
      signal?.throwIfAborted();
      if (attempt >= attempts || !retryable(error)) throw error;
      const askedMs = pushback(error, clock.now());
      await clock.sleep(askedMs === undefined ? backoff(attempt) : Math.min(askedMs, maxPushbackMs), signal);
    }
  }
}
