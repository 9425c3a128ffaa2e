/** Lets completions of one invocation out in the order of their numbers: a higher one waits until the gap is filled. */
export class Release<T> {
  readonly #held = new Map<number, T>();
  #last: number;
  #since: number | undefined;

  /** `last` counts as let out before. */
  constructor(last: number) {
    this.#last = last;
  }

  /** The highest number that was let out. */
  get last(): number {
    return this.#last;
  }

  /** When the oldest of those began to wait that still do. */
  get heldSinceMs(): number | undefined {
    return this.#since;
  }

  /** What leaves now. Numbers that were let out before pass again. */
  take(order: number, message: T, nowMs: number): T[] {
    if (order <= this.#last) return [message];
    this.#held.set(order, message);
    const out: T[] = [];
    for (let next = this.#held.get(this.#last + 1); next !== undefined; next = this.#held.get(this.#last + 1)) {
      this.#held.delete(++this.#last);
      out.push(next);
    }
    if (this.#held.size === 0) this.#since = undefined;
    else if (out.length > 0) this.#since = nowMs;
    else this.#since ??= nowMs;
    return out;
  }
}
