import { milliseconds } from "./check.ts";
import { onAbort } from "./signal.ts";

/** Time as streams see it. Tests pass a virtual one; nothing else in this folder starts a timer. */
export interface Clock {
  /** Milliseconds since the epoch that never go back, whatever happens to the wall clock. */
  now(): number;
  /**
   * Resolves after `ms`; rejects with the signal's own reason as soon as it aborts. `ref: false` lets the process exit
   * meanwhile.
   */
  sleep(ms: number, signal?: AbortSignal, options?: SleepOptions): Promise<void>;
}

/** How a sleep treats the process. */
export interface SleepOptions {
  /** Whether the sleep keeps the process alive. @default true */
  readonly ref?: boolean;
}

/** A longer delay makes timers fire at once, on every runtime. */
const longestMs = 2 ** 31 - 1;

/** Sleeps on the runtime's own timers; see {@link Clock.sleep}. */
export function sleep(ms: number, signal?: AbortSignal, options?: SleepOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    milliseconds(ms);
    if (signal?.aborted) return reject(signal.reason);
    const until = systemClock.now() + ms;
    let timer: ReturnType<typeof setTimeout>;
    let undo = () => {};
    const arm = (left: number) => {
      timer = setTimeout(() => {
        const rest = left > longestMs ? until - systemClock.now() : 0;
        if (rest > 0) return arm(rest);
        undo();
        resolve();
      }, Math.min(Math.max(left, 0), longestMs));
      if (options?.ref === false) unref(timer);
    };
    arm(ms);
    if (signal !== undefined) {
      undo = onAbort(signal, () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    }
  });
}

/** The runtime's own time. */
export const systemClock: Clock = { now: () => performance.timeOrigin + performance.now(), sleep };

/** Calls `act` in `ms` unless the signal aborts first; never keeps the process alive. */
export function after(clock: Clock, ms: number, signal: AbortSignal, act: () => void): void {
  clock.sleep(ms, signal, { ref: false }).then(act, () => {
    // Aborted: whoever aborted knows why, and there is nothing left to do.
  });
}

/** A browser's timers are numbers and hold nothing alive. */
function unref(timer: unknown): void {
  if (typeof timer === "object" && timer !== null && "unref" in timer && typeof timer.unref === "function") {
    timer.unref();
  }
}
