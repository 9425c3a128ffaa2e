/** As long as proxies let an idle stream be at the most that nothing is known of, in milliseconds. */
const usualMs = 180_000;

/** Streams that are cut sooner than this are not cut for being idle, in milliseconds; nor is renewing them worth it. */
const leastMs = 10_000;

/** How much two idle times may differ that one proxy's limit has ended, as a part of the longer one. */
const likeness = 0.25;

/**
 * How long an idle stream may go without a second one beside it: proxies cut what says nothing for too long, and none of
 * them says after how long. Two streams in a row that were cut alone after the same idle time tell it.
 */
export class Patience {
  #ms = usualMs;
  #cutAfterMs: number | undefined;

  /** In milliseconds: four fifths of what a proxy was seen to allow. */
  get ms(): number {
    return this.#ms;
  }

  /** A stream was cut while its connection lived on, when it had said nothing for so long. */
  cut(idleMs: number): void {
    const before = this.#cutAfterMs;
    this.#cutAfterMs = idleMs >= leastMs ? idleMs : undefined;
    if (before === undefined || idleMs < leastMs) return;
    if (Math.abs(before - idleMs) > likeness * Math.max(before, idleMs)) return;
    this.#ms = Math.min(usualMs, 0.8 * Math.min(before, idleMs));
  }
}
