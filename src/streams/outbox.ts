import { Queue } from "./queue.ts";
import { onAbort } from "./signal.ts";

/**
 * The request side of one attempt at a bidirectional stream: the replay first, then what is pushed, until the attempt's
 * signal aborts.
 *
 * Written by hand because Connect pulls it: a generator parked on `await` is never woken when the call ends, and an
 * iterator without `throw` is an unhandled rejection. An item is sent when the transport has pulled it.
 */
export class Outbox<T> implements AsyncIterableIterator<T, undefined> {
  #replay: Iterator<T> | undefined;
  readonly #pushed: Queue<T> = new Queue();
  readonly #undo: () => void;
  #replayed = false;
  #ended = false;
  #asker: ((item: IteratorResult<T, undefined>) => void) | undefined;

  constructor(replay: Iterable<T>, signal: AbortSignal) {
    this.#replay = replay[Symbol.iterator]();
    this.#undo = onAbort(signal, () => this.#end());
  }

  /** Whether everything to be replayed was pulled; what is registered before need not be pushed. */
  get replayed(): boolean {
    return this.#replayed;
  }

  /** Whether everything was pulled, and the transport would take more. */
  get idle(): boolean {
    return this.#asker !== undefined;
  }

  /** Sends an item, behind the replay; after the end it goes nowhere. */
  push(item: T): void {
    if (this.#ended) return;
    if (this.#asker === undefined) {
      this.#pushed.push(item);
      return;
    }
    const asker = this.#asker;
    this.#asker = undefined;
    asker({ done: false, value: item });
  }

  /** What was pushed and not pulled: never sent on this attempt. */
  unsent(): T[] {
    return this.#pushed.waiting();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const item = this.#ended ? undefined : this.#pull();
    if (item !== undefined) return Promise.resolve(item);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#asker = resolve;
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Connect throws in what broke the call; the response side tells the same, so here it is only an end. */
  throw(): Promise<IteratorResult<T, undefined>> {
    return this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #pull(): IteratorYieldResult<T> | undefined {
    if (!this.#replayed) {
      const replay = this.#replay?.next();
      if (replay !== undefined && replay.done !== true) return { done: false, value: replay.value };
      this.#replay = undefined;
      this.#replayed = true;
    }
    return this.#pushed.length > 0 ? { done: false, value: this.#pushed.shift() } : undefined;
  }

  #end(): void {
    this.#ended = true;
    // It may follow a registry that lives on, and whoever kept the call's error would keep all that comes and goes there.
    this.#replay = undefined;
    this.#undo?.();
    this.#asker?.({ done: true, value: undefined });
    this.#asker = undefined;
  }
}
