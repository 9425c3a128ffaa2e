import type { Clock } from "./clock.ts";
import { after } from "./clock.ts";

/** Into how many parts a round is cut: so many times a round a few keys come up, never many at once. */
const parts = 30;
/** Prime to `parts`: keys added one after another come up far apart, and fill all parts alike. */
const stride = 11;

/** How a round goes. */
export interface RoundsOptions {
  readonly clock: Clock;
  /** Draws from [0, 1). */
  readonly random: () => number;
  /** How long a round takes, give or take a fifth, drawn anew each round, in milliseconds. */
  readonly roundMs: number;
}

/**
 * Goes round a set of keys: each comes up once a round, a thirtieth of them at a time. A key keeps its part for as long
 * as it stays, so that neither keys that come and go nor a set that shrinks makes it wait longer than a round.
 */
export class Rounds<K> {
  readonly #options: RoundsOptions;
  readonly #parts: Set<K>[] = Array.from({ length: parts }, () => new Set<K>());
  #next = parts - 1;
  #turn = 0;

  constructor(options: RoundsOptions) {
    this.#options = options;
  }

  add(key: K): void {
    this.#parts[this.#next]?.add(key);
    this.#next = (this.#next + stride) % parts;
  }

  delete(key: K): void {
    for (const part of this.#parts) if (part.delete(key)) return;
  }

  /** Goes on until the signal aborts. A visit that returns false could not be made, and is tried again. */
  run(visit: (keys: ReadonlySet<K>) => boolean, signal: AbortSignal): void {
    const { clock, random, roundMs } = this.#options;
    let tickMs = 0;
    const arm = (): void => {
      if (tickMs === 0 || this.#turn === 0) tickMs = roundMs * (0.8 + 0.4 * random()) / parts;
      after(clock, tickMs, signal, tick);
    };
    const tick = (): void => {
      const part = this.#parts[this.#turn];
      if (part !== undefined && visit(part)) this.#turn = (this.#turn + 1) % parts;
      arm();
    };
    arm();
  }
}
