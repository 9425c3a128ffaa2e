import { Code, ConnectError } from "@connectrpc/connect";
import type { Clock } from "../streams/clock.ts";
import { after } from "../streams/clock.ts";
import { StreamError } from "../streams/errors.ts";
import type { Linked } from "../streams/signal.ts";
import { linked } from "../streams/signal.ts";

/** How long a call may go on: until its caller leaves, its deadline, or its end. */
export class Life {
  /** Until the deadline, from the beginning: a dial counts. */
  readonly timeoutMs: number | undefined;
  readonly #linked: Linked;
  readonly #clock: Clock;
  readonly #deadline: number;
  #over = false;
  #error: unknown;

  constructor(clock: Clock, signal: AbortSignal | undefined, timeoutMs: number | undefined) {
    this.timeoutMs = timeoutMs;
    this.#linked = linked(signal);
    this.#clock = clock;
    this.#deadline = timeoutMs === undefined ? Infinity : clock.now() + timeoutMs;
    if (timeoutMs !== undefined) after(clock, timeoutMs, this.signal, () => this.#linked.abort(timedOut()));
  }

  /** Aborts when the call is over, however it ended. */
  get signal(): AbortSignal {
    return this.#linked.signal;
  }

  /** The error of a deadline that has passed: a peer that keeps it too may be first to say so, in its own way. */
  expired(): ConnectError | undefined {
    return this.#clock.now() >= this.#deadline ? timedOut() : undefined;
  }

  /** How it ended, once it has: `undefined` for well. */
  get outcome(): unknown {
    return this.#over ? this.#error : asError(this.signal.reason, Code.Canceled);
  }

  /** It ended by itself, with this error or well. */
  end(error?: unknown): void {
    if (this.signal.aborted) return;
    this.#over = true;
    this.#error = error;
    this.#linked.abort(error);
  }

  /** What the caller gets who was thrown this: why the call was ended, if that came first. */
  failure(thrown: unknown): Error {
    const { aborted, reason } = this.signal;
    return aborted && !this.#over ? asError(reason, Code.Canceled) : asError(thrown, Code.Unknown);
  }
}

/** Connect's error of whatever was thrown; that a channel is closed is told as it is. */
export function asError(thrown: unknown, code: Code): Error {
  return thrown instanceof StreamError ? thrown : ConnectError.from(thrown, code);
}

function timedOut(): ConnectError {
  return new ConnectError("the operation timed out", Code.DeadlineExceeded);
}
