/** First in, first out; slots are cleared as they are read, so that nothing lives longer than it waits. */
export class Queue<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  /** How many wait. */
  get length(): number {
    return this.#items.length - this.#head;
  }

  /** The oldest, if any waits. */
  get first(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** The oldest, which waits no more. Ask for `length` first. */
  shift(): T {
    const item = this.#items[this.#head] as T; // Inside the bounds, as the caller has looked.
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) this.clear();
    else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** All that wait, oldest first; they go on waiting. */
  waiting(): T[] {
    return this.#items.slice(this.#head) as T[]; // From the head on no slot is cleared.
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
