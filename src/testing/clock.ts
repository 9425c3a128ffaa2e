import { milliseconds } from "../streams/check.ts";
import type { Clock } from "../streams/clock.ts";
import { onAbort } from "../streams/signal.ts";

interface Sleeper {
  readonly at: number;
  readonly order: number;
  awake: boolean;
  readonly wake: () => void;
}

/**
 * Time that passes only when everybody sleeps: `drive()` leaps from sleep to sleep, so an hour of reconnects takes
 * milliseconds, and a hang is an error instead of a time-out.
 */
export class VirtualClock implements Clock {
  #now: number;
  #order = 0;
  readonly #sleepers: Sleeper[] = [];
  #asleep = 0;

  constructor(startMs = 0) {
    this.#now = startMs;
  }

  /** How many sleeps are under way; 0 when everything was released. */
  get asleep(): number {
    return this.#asleep;
  }

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      milliseconds(ms);
      if (signal?.aborted) return reject(signal.reason);
      let undo = () => {};
      const sleeper: Sleeper = {
        at: this.#now + Math.max(0, ms),
        order: this.#order++,
        awake: false,
        wake: () => {
          undo();
          resolve();
        },
      };
      if (signal !== undefined) {
        undo = onAbort(signal, () => {
          sleeper.awake = true;
          this.#asleep--;
          reject(signal.reason);
        });
      }
      this.#asleep++;
      this.#push(sleeper);
    });
  }

  /**
   * Runs `work` to its end, leaping whenever nothing else can happen.
   *
   * @throws Error "stuck at N ms, nobody asleep" when work waits for something that cannot come, and "still going at N
   * ms" when it outlives `limitMs` of virtual time (a day by default).
   */
  async drive<T>(work: Promise<T> | (() => Promise<T>), limitMs = 86_400_000): Promise<T> {
    const end = this.#now + limitMs;
    let settled = false;
    const settle = () => {
      settled = true;
    };
    const running = typeof work === "function" ? work() : work;
    running.then(settle, settle);
    for (await turn(); !settled; await turn()) {
      if (!this.#leap()) {
        await turn();
        await turn();
        if (settled || this.#asleep > 0) continue;
        throw new Error(`stuck at ${this.#now} ms, nobody asleep`);
      }
      if (this.#now > end) throw new Error(`still going at ${this.#now} ms`);
    }
    return running;
  }

  /** Lets `ms` pass, with everything that happens in it. */
  pass(ms: number): Promise<void> {
    return this.drive(this.sleep(ms));
  }

  /** Time that passes while nobody is woken: a loop that is blocked, or a machine that slept. */
  jump(ms: number): void {
    this.#now += ms;
  }

  /** Moves to the next sleep that is due and wakes all that are due with it. */
  #leap(): boolean {
    let next = this.#pop();
    while (next?.awake) next = this.#pop();
    if (next === undefined) return false;
    this.#now = Math.max(this.#now, next.at);
    for (; next !== undefined; next = this.#sleepers[0]?.at === next.at ? this.#pop() : undefined) {
      if (next.awake) continue;
      next.awake = true;
      this.#asleep--;
      next.wake();
    }
    return true;
  }

  #push(sleeper: Sleeper): void {
    const heap = this.#sleepers;
    let index = heap.push(sleeper) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(sleeper, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = sleeper;
  }

  #pop(): Sleeper | undefined {
    const heap = this.#sleepers;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return top;
  }
}

function before(a: Sleeper, b: Sleeper): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Lets every microtask and every callback that is ready run; timers would cost a millisecond a leap. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
