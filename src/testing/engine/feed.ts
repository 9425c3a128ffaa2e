interface Entry<T> {
  readonly message: T;
  readonly settle: (written: boolean) => void;
}

/** The messages of one stream on their way out; each push learns whether its message was handed to the transport. */
export class Feed<T> implements AsyncIterable<T> {
  readonly #entries: Entry<T>[] = [];
  #closed = false;
  #writing = false;
  #wake = () => {};
  #idle: (() => void)[] = [];

  /** Resolves true when the transport has the message, false when the stream ended first. */
  push(message: T): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    return new Promise((settle) => {
      this.#entries.push({ message, settle });
      this.#wake();
    });
  }

  /** Resolves when nothing is on its way. */
  idle(): Promise<void> {
    if (!this.#writing && this.#entries.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Ends the stream; what is still queued is lost. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.splice(0)) entry.settle(false);
    this.#rest();
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    try {
      while (!this.#closed) {
        const entry = this.#entries.shift();
        if (entry === undefined) {
          await new Promise<void>((resolve) => this.#wake = resolve);
          continue;
        }
        yield* this.#write(entry);
      }
    } finally {
      this.close();
    }
  }

  /** Whoever asks for the next message has written this one. */
  async *#write(entry: Entry<T>): AsyncGenerator<T, void> {
    let written = false;
    this.#writing = true;
    try {
      yield entry.message;
      written = true;
    } finally {
      this.#writing = false;
      entry.settle(written);
      if (this.#entries.length === 0) this.#rest();
    }
  }

  #rest(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
