import type { Backoff } from "./backoff.ts";
import { fullJitter } from "./backoff.ts";
import { positive } from "./check.ts";
import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import type { Gate, Ready } from "./gate.ts";
import type { StreamStatus } from "./status.ts";
import type { Ending, OnEnd, Origin, Verdict } from "./verdict.ts";
import { originOf } from "./verdict.ts";

/** How a stream is kept alive. Every key is optional; `undefined` means the default. */
export interface StreamOptions {
  /** Ends the stream; the loop throws the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
  /** Time. @default the runtime's */
  readonly clock?: Clock | undefined;
  /** Chance: draws from [0, 1). @default Math.random */
  readonly random?: (() => number) | undefined;
  /** How long to wait after n failures in a row; a gate's own delays replace it. @default fullJitter() */
  readonly backoff?: Backoff | undefined;
  /** The how-manyth suspect ending in a row throws `stalled`. @default 10 */
  readonly maxSuspects?: number | undefined;
  /** From when an attempt counts as steady, in milliseconds after it was sent. @default 10_000 */
  readonly steadyMs?: number | undefined;
  /** How many attempts may fail before the first is let in; then `unreachable`. @default Infinity */
  readonly setupAttempts?: number | undefined;
  /** Decorates the usual verdict on an ending; asked once per ending. */
  readonly judge?: ((verdict: Verdict, ending: Ending) => Verdict | Promise<Verdict>) | undefined;
  /**
   * Tells endings that are no failure of the client's: how long to wait for each, in milliseconds, apart from all
   * others. It is not counted, and the gate hears nothing of it. @default none is
   */
  readonly apart?: ((ending: Ending) => number | undefined) | undefined;
  /** Who made an error. @default originOf */
  readonly origin?: ((error: unknown) => Origin) | undefined;
  /** What the peer's own OK ends and Canceled mean. @default "transient": a stream that lives */
  readonly onEnd?: OnEnd | undefined;
  /** Tells when a request can be written; awaited before each attempt opens. */
  readonly ready?: Ready | undefined;
  /** Shared by the streams of one client, so that they come back one after another. */
  readonly gate?: Gate | undefined;
  /** Who goes first through the gate: the lower. @default 0 */
  readonly priority?: number | undefined;
  /** Told of every move of the stream. */
  readonly onStatus?: ((status: StreamStatus) => void) | undefined;
  /** Told when an attempt was let in: it got headers or a message, or outlived its sending by 250 ms. */
  readonly onIn?: (() => void) | undefined;
}

/** Options with every default in its place; inside the package these travel. */
export interface Policy {
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly maxSuspects: number;
  readonly steadyMs: number;
  readonly setupAttempts: number;
  readonly judge: (verdict: Verdict, ending: Ending) => Verdict | Promise<Verdict>;
  readonly apart: (ending: Ending) => number | undefined;
  readonly origin: (error: unknown) => Origin;
  readonly onEnd: OnEnd;
  readonly ready: Ready | undefined;
  readonly gate: Gate | undefined;
  readonly priority: number;
  readonly onStatus: (status: StreamStatus) => void;
  readonly onIn: () => void;
}

/** Fills in the defaults. @throws RangeError saying option, rule and value */
export function resolve(options: StreamOptions): Policy {
  const { clock = systemClock, random = Math.random, maxSuspects = 10, steadyMs = 10_000 } = options;
  const { setupAttempts = Infinity, priority = 0 } = options;
  positive("maxSuspects", maxSuspects);
  positive("steadyMs", steadyMs);
  positive("setupAttempts", setupAttempts);
  if (Number.isNaN(priority)) throw new RangeError("priority must be a number, got NaN");
  return {
    clock,
    backoff: options.backoff ?? fullJitter({ random }),
    maxSuspects,
    steadyMs,
    setupAttempts,
    judge: options.judge ?? ((verdict) => verdict),
    apart: options.apart ?? (() => undefined),
    origin: options.origin ?? originOf,
    onEnd: options.onEnd ?? (() => "transient"),
    ready: options.ready,
    gate: options.gate,
    priority,
    onStatus: options.onStatus ?? (() => {}),
    onIn: options.onIn ?? (() => {}),
  };
}
