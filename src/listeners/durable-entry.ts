import { onAbort } from "../streams/signal.ts";

/** How the engine says that a step is done: its bytes, or what went wrong. */
export interface Completion {
  readonly payload: Uint8Array;
  readonly error: string | undefined;
}

/** What a completion means; throws what its waiters get. */
export type Read<V> = (completion: Completion) => V;

/** One who waits for a step. */
export interface Waiter<V> {
  readonly resolve: (value: V) => void;
  readonly reject: (error: unknown) => void;
}

/** One step of a durable task's invocation, and what came of it. What comes before anybody waits is kept. */
export class Entry<V = unknown> {
  readonly branch: bigint;
  readonly node: bigint;
  /** Whether the engine counts its completion among those that come in order. */
  readonly isOrdered: boolean;
  readonly #read: Read<V>;
  readonly #waiters = new Set<Waiter<V>>();
  #outcome: ((waiter: Waiter<V>) => void) | undefined;
  #asked = false;

  constructor(ref: { readonly branchId: bigint; readonly nodeId: bigint }, isOrdered: boolean, read: Read<V>) {
    this.branch = ref.branchId;
    this.node = ref.nodeId;
    this.isOrdered = isOrdered;
    this.#read = read;
  }

  get settled(): boolean {
    return this.#outcome !== undefined;
  }

  /** Whether it is waited for. */
  get awaited(): boolean {
    return this.#waiters.size > 0;
  }

  /** Whether it is done, and nobody has asked. */
  get buffered(): boolean {
    return this.settled && !this.#asked;
  }

  /**
   * Settles the waiter with the outcome, in the very turn in which it comes: whoever waits for several steps sees them
   * settle in the order in which the engine told them.
   */
  join(waiter: Waiter<V>, signal?: AbortSignal): void {
    this.#asked = true;
    if (signal?.aborted) return waiter.reject(signal.reason);
    if (this.#outcome !== undefined) return this.#outcome(waiter);
    const undo = signal && onAbort(signal, () => {
      this.#waiters.delete(own);
      waiter.reject(signal.reason);
    });
    const own: Waiter<V> = {
      resolve: (value) => {
        undo?.();
        waiter.resolve(value);
      },
      reject: (error) => {
        undo?.();
        waiter.reject(error);
      },
    };
    this.#waiters.add(own);
  }

  /** The first completion stays. */
  complete(completion: Completion): void {
    if (this.#outcome !== undefined) return;
    try {
      const value = this.#read(completion);
      this.#end((waiter) => waiter.resolve(value));
    } catch (error) {
      this.#end((waiter) => waiter.reject(error));
    }
  }

  /** Nothing will come of it any more. */
  fail(error: unknown): void {
    if (this.#outcome === undefined) this.#end((waiter) => waiter.reject(error));
  }

  /** Sends those away who wait; whoever waits later may still get it. */
  dismiss(error: unknown): void {
    for (const waiter of this.#leaving()) waiter.reject(error);
  }

  #end(outcome: (waiter: Waiter<V>) => void): void {
    this.#outcome = outcome;
    for (const waiter of this.#leaving()) outcome(waiter);
  }

  #leaving(): Waiter<V>[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    return waiters;
  }
}
