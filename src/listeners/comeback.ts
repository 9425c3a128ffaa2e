import type { Backoff } from "../streams/backoff.ts";
import { fullJitter } from "../streams/backoff.ts";

/** The window of a first wait, in milliseconds. */
const firstMs = 250;
/** The widest window, and from when a stream lived long enough to begin anew, in milliseconds. */
const longMs = 10_000;

/**
 * How soon a stream comes back from endings that are no failure of the client's. What happens meanwhile is lost, so it
 * comes back soon, and ever later while it lives no longer than it waited.
 */
export class Comeback {
  readonly #backoff: Backoff;
  #early = 0;
  #alone = 0;
  #waitedMs = 0;

  constructor(random: () => number) {
    this.#backoff = fullJitter({ baseMs: firstMs, capMs: longMs, random });
  }

  /** How long a stream lived, and whether it told anything: one that was of use begins anew. */
  lived(ms: number, told: boolean): void {
    if (ms >= longMs || (told && ms >= Math.max(firstMs, this.#waitedMs))) this.#early = this.#alone = 0;
  }

  /** The wait after an end that the peer gave too early. */
  early(): number {
    return this.#waitedMs = this.#backoff(++this.#early);
  }

  /** The wait of a stream that was cut alone; `undefined` for one cut again and again, which waits as all others do. */
  alone(): number | undefined {
    return ++this.#alone === 1 ? this.#waitedMs = this.#backoff(1) : undefined;
  }
}
