import { Code, ConnectError } from "@connectrpc/connect";
import type { Clock } from "../streams/clock.ts";
import { after } from "../streams/clock.ts";
import { StreamError } from "../streams/errors.ts";
import { onAbort } from "../streams/signal.ts";

/** What the signal of a call that ended well aborts with: one for all, for each new one would capture its stack. */
const well = new DOMException("The call is over", "AbortError");

/** Told how a call ended: with this error, or well. */
type Watcher = (error: unknown) => void;

/**
 * How long a call may go on: until its caller leaves, its deadline, or its end. An `AbortSignal` costs as much as half of a
 * call, so there is one only when somebody asks for it.
 */
export class Life {
  /** Until the deadline, from the beginning: a dial counts. */
  readonly timeoutMs: number | undefined;
  readonly #clock: Clock;
  readonly #deadline: number;
  readonly #watchers: Watcher[] = [];
  readonly #undo: (() => void) | undefined;
  readonly #timer: AbortController | undefined;
  #controller: AbortController | undefined;
  #over = false;
  #error: unknown;
  /** Why it was ended, if it was: its caller left, or its deadline passed, before it ended by itself. */
  #cut: Error | undefined;

  constructor(clock: Clock, signal: AbortSignal | undefined, timeoutMs: number | undefined) {
    this.timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#deadline = timeoutMs === undefined ? Infinity : clock.now() + timeoutMs;
    this.#undo = signal && onAbort(signal, () => this.#leave(asError(signal.reason, Code.Canceled)));
    if (timeoutMs === undefined || this.#over) return;
    this.#timer = new AbortController();
    after(clock, timeoutMs, this.#timer.signal, () => this.#leave(timedOut()));
  }

  /** Aborts when the call is over, however it ended. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#over) this.#controller.abort(this.#error ?? well);
    }
    return this.#controller.signal;
  }

  /** The error of a deadline that has passed: a peer that keeps it too may be first to say so, in its own way. */
  expired(): ConnectError | undefined {
    return this.#clock.now() >= this.#deadline ? timedOut() : undefined;
  }

  /** @throws how the call ended, once it has */
  assert(): void {
    if (this.#over) throw this.#error ?? well;
  }

  /** Calls the watcher once, at the end, at once if that was; returns the undo. */
  watch(watcher: Watcher): () => void {
    if (this.#over) {
      watcher(this.#error);
      return () => {};
    }
    this.#watchers.push(watcher);
    return () => {
      const index = this.#watchers.indexOf(watcher);
      if (index >= 0) this.#watchers.splice(index, 1);
    };
  }

  /** Settles as the work does, or when the call ends, if that comes first. */
  during<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const undo = this.watch(reject);
      work.finally(undo).then(resolve, reject);
    });
  }

  /** It ended by itself, with this error or well. */
  end(error?: unknown): void {
    this.#conclude(error);
  }

  /** What the caller gets who was thrown this: why the call was ended, if that came first. */
  failure(thrown: unknown): Error {
    return this.#cut ?? asError(thrown, Code.Unknown);
  }

  #leave(error: Error): void {
    if (!this.#over) this.#cut = error;
    this.#conclude(error);
  }

  #conclude(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    this.#undo?.();
    this.#timer?.abort();
    this.#controller?.abort(error ?? well);
    for (const watcher of this.#watchers.splice(0)) watcher(error);
  }
}

/** Connect's error of whatever was thrown; that a channel is closed is told as it is. */
export function asError(thrown: unknown, code: Code): Error {
  return thrown instanceof StreamError ? thrown : ConnectError.from(thrown, code);
}

function timedOut(): ConnectError {
  return new ConnectError("the operation timed out", Code.DeadlineExceeded);
}
