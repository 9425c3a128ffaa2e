import type { Polled } from "./pushed.ts";
import { onAbort } from "./signal.ts";

/** Races an iterator against a signal, with one listener for its whole life: not every iterator heeds its signal. */
export class Reader<T> {
  readonly #iterator: Polled<T>;
  readonly #signal: AbortSignal;
  readonly #undo: () => void;
  #aborted = false;
  #done = false;
  #fail: (reason: unknown) => void = () => {};

  constructor(source: AsyncIterable<T>, signal: AbortSignal) {
    this.#iterator = source[Symbol.asyncIterator]();
    this.#signal = signal;
    this.#undo = onAbort(signal, () => {
      this.#aborted = true;
      this.#fail(signal.reason);
    });
  }

  /** The next message; rejects with the signal's reason as soon as it aborts, whatever the iterator does. */
  next(): Promise<IteratorResult<T>> {
    return new Promise((resolve, reject) => {
      // Asked in any case: a call of Connect's that has begun and is never read fails where nobody sees it.
      if (this.#aborted) reject(this.#signal.reason);
      this.#fail = reject;
      this.#iterator.next().then((read) => {
        if (read.done === true) this.#done = true;
        resolve(read);
      }, (error: unknown) => {
        this.#done = true;
        reject(error);
      });
    });
  }

  /** What is here already, if the iterator tells. */
  poll(): IteratorYieldResult<T> | undefined {
    return this.#aborted ? undefined : this.#iterator.poll?.();
  }

  /** Lets go of the iterator; one that has not ended is asked to. */
  release(): void {
    this.#undo();
    if (this.#done) return;
    // In a function of its own, for iterators written by hand may throw at once or promise nothing.
    (async () => await this.#iterator.return?.())().catch(() => {
      // An iterator that fails while it is thrown away has nobody left to tell.
    });
  }
}
