import { positive } from "../streams/check.ts";
import { isLoopback } from "./hostport.ts";

/** How often the engine is asked whether it lives. Every key is optional; `undefined` means the default. */
export interface KeepAliveOptions {
  /**
   * How often, in milliseconds. The engine hangs up on whoever asks more often than every 5000; only one on a loopback
   * address may be asked more often, for tests.
   *
   * @default 10_000
   */
  readonly intervalMs?: number | undefined;
  /** How long it may be silent after that. @default 5000 */
  readonly timeoutMs?: number | undefined;
}

/** How often it really is; an infinite interval is never. */
export interface KeepAlive {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** How streams and calls are tried again. Every key is optional; `undefined` means the default. */
export interface ClientRetryOptions {
  /** The window of the wait after a first failure of the connection; it doubles with each further one. @default 2000 */
  readonly firstDelayMs?: number | undefined;
  /** The widest window after failures that came fast. @default 10_000 */
  readonly capMs?: number | undefined;
  /** The widest window after time-outs and refusals, and the longest wait that the engine may ask for. @default 60_000 */
  readonly slowCapMs?: number | undefined;
  /** The first time-out of a connect; it doubles with each that runs into it. @default 5000 */
  readonly connectTimeoutMs?: number | undefined;
  /** The window of the wait before a call is made a second time; it doubles with each further one. @default 1000 */
  readonly baseMs?: number | undefined;
  /** How often whoever waits to be let in tries; then `unreachable`. @default 5 */
  readonly setupAttempts?: number | undefined;
  /** How often a call that was never sent is made. @default setupAttempts, or 1 with HATCHET_CLIENT_NO_GRPC_RETRY */
  readonly callAttempts?: number | undefined;
  /** How often a REST read is made. @default 5, or 1 with HATCHET_CLIENT_NO_RETRY */
  readonly restAttempts?: number | undefined;
  /** The how-manyth ending in a row that nobody understands throws `stalled`. @default 10 */
  readonly maxSuspects?: number | undefined;
}

/** The same with every default in its place. */
export type RetryPolicy = { readonly [K in keyof ClientRetryOptions]-?: number };

/** What the environment says of retries. */
export interface RetryFlags {
  readonly noCallRetry: boolean;
  readonly noRestRetry: boolean;
}

const shortestIntervalMs = 5000;

/** @throws RangeError or TypeError saying option, rule and value */
export function resolveKeepAlive(options: false | KeepAliveOptions = {}, host: string | undefined): KeepAlive {
  if (options === false) return { intervalMs: Infinity, timeoutMs: 5000 };
  const { intervalMs = 10_000, timeoutMs = 5000 } = objectOf("keepAlive", options);
  above0("keepAlive.intervalMs", intervalMs);
  above0("keepAlive.timeoutMs", timeoutMs);
  if (intervalMs < shortestIntervalMs && !(host !== undefined && isLoopback(host))) {
    const why = "the engine hangs up on whoever asks more often";
    throw new RangeError(`keepAlive.intervalMs must be at least ${shortestIntervalMs}, got ${intervalMs}: ${why}`);
  }
  return { intervalMs, timeoutMs };
}

/** @throws RangeError or TypeError saying option, rule and value */
export function resolveRetry(options: ClientRetryOptions = {}, { noCallRetry, noRestRetry }: RetryFlags): RetryPolicy {
  const { firstDelayMs = 2000, capMs = 10_000, slowCapMs = 60_000, connectTimeoutMs = 5000 } = objectOf(
    "retry",
    options,
  );
  const { baseMs = 1000, setupAttempts = 5, maxSuspects = 10 } = options;
  const { callAttempts = noCallRetry ? 1 : setupAttempts, restAttempts = noRestRetry ? 1 : 5 } = options;
  const waits = { firstDelayMs, capMs, slowCapMs, connectTimeoutMs, baseMs };
  const counts = { setupAttempts, callAttempts, restAttempts, maxSuspects };
  for (const [name, value] of Object.entries({ ...waits, ...counts })) above0(`retry.${name}`, value);
  return { ...waits, ...counts };
}

function objectOf<O extends object>(name: string, options: O): O {
  if (typeof options === "object" && options !== null) return options;
  throw new TypeError(`${name} must be an object, got ${String(options)}`);
}

function above0(name: string, value: number): void {
  if (typeof value !== "number") throw new TypeError(`${name} must be a number, got ${typeof value}`);
  positive(name, value);
}
