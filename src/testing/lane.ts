/** One direction of a proxied connection: what comes in goes out in order, late or not at all if told so. */
export class Lane {
  readonly #queue: { readonly due: number; readonly act: () => void }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #held = false;

  /** Does `act` after everything before it, `delayMs` from now at the earliest. */
  push(act: () => void, delayMs: number): void {
    this.#queue.push({ due: performance.now() + delayMs, act });
    this.#move();
  }

  /** Nothing moves any more, and nothing is lost. */
  hold(): void {
    this.#held = true;
  }

  resume(): void {
    this.#held = false;
    this.#move();
  }

  /** Forgets what is on its way. */
  clear(): void {
    this.#queue.length = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #move(): void {
    if (this.#held || this.#timer !== undefined) return;
    for (let head = this.#queue[0]; head !== undefined && !this.#held; head = this.#queue[0]) {
      const leftMs = head.due - performance.now();
      if (leftMs > 0) return this.#wait(leftMs);
      this.#queue.shift();
      head.act();
    }
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#move();
    }, ms);
  }
}
