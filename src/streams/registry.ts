import type { Clock } from "./clock.ts";
import { StreamError } from "./errors.ts";
import { onAbort } from "./signal.ts";

/** One who waits for a key. */
interface Waiter<V> {
  readonly resolve: (value: V) => void;
  readonly reject: (error: unknown) => void;
  /** Attempts that failed before this waiter was let in; `inside` from when it was. */
  tries: number;
}

/** All who wait for one key. */
export interface Entry<V> {
  /** Since when somebody waits, on the stream's clock. */
  readonly sinceMs: number;
  readonly waiters: Waiter<V>[];
}

/** A key that is on every stream, with the request that puts it there. */
export interface Registered<K, V, Request> extends Entry<V> {
  readonly key: K;
  readonly request: Request;
}

/** Whom a registry asks and tells. */
export interface RegistryEvents<K, V, Request> {
  /** The request that subscribes to a key. */
  readonly request: (key: K) => Request;
  /** What ended the stream for all, as those who wait for a key get it. */
  readonly explain: (error: unknown, key: K) => unknown;
  readonly added: (entry: Registered<K, V, Request>) => void;
  readonly removed: (entry: Registered<K, V, Request>) => void;
}

const inside = -1;

/** Who waits for what, in the order in which the keys came: any number of waiters a key, each removed by identity. */
export class Registry<K, V, Request> {
  readonly #clock: Clock;
  readonly #events: RegistryEvents<K, V, Request>;
  readonly #entries = new Map<K, Registered<K, V, Request>>();

  constructor(clock: Clock, events: RegistryEvents<K, V, Request>) {
    this.#clock = clock;
    this.#events = events;
  }

  /** How many keys are registered. */
  get size(): number {
    return this.#entries.size;
  }

  has(key: K): boolean {
    return this.#entries.has(key);
  }

  /** What is registered, the oldest first. */
  entries(): IterableIterator<[K, Registered<K, V, Request>]> {
    return this.#entries.entries();
  }

  /** What to ask for, the oldest first; a key that comes while somebody reads is among them. */
  *requests(): Generator<Request> {
    for (const { request } of this.#entries.values()) yield request;
  }

  /** Waits for a key; rejects with the signal's own reason. `isIn` says that it needs not be let in. */
  wait(key: K, isIn: boolean, signal: AbortSignal | undefined): Promise<V> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter<V> = { resolve, reject, tries: isIn ? inside : 0 };
      const entry = this.#join(key, waiter);
      if (signal === undefined) return;
      const undo = onAbort(signal, () => {
        this.#leave(entry, waiter);
        reject(signal.reason);
      });
      Object.assign(waiter, settled(waiter, undo));
    });
  }

  /** Resolves all who wait for a key; nothing happens when nobody does. */
  settle(key: K, value: V): void {
    for (const waiter of this.#take(key)) waiter.resolve(value);
  }

  /** Rejects all who wait for a key. */
  fail(key: K, error: unknown): void {
    for (const waiter of this.#take(key)) waiter.reject(error);
  }

  /** Rejects all who wait. */
  failAll(error: unknown): void {
    for (const key of [...this.#entries.keys()]) this.fail(key, this.#events.explain(error, key));
  }

  /** Whoever waits now is in, and stays in. */
  letIn(): void {
    for (const { waiters } of this.#entries.values()) {
      for (const waiter of waiters) waiter.tries = inside;
    }
  }

  /** One more attempt that carried everybody has failed; whoever was never in, and has had enough, is told. */
  countTry(attempts: number, cause: unknown): void {
    for (const entry of [...this.#entries.values()]) {
      for (const waiter of [...entry.waiters]) {
        if (waiter.tries === inside || ++waiter.tries < attempts) continue;
        this.#leave(entry, waiter);
        const error = new StreamError("unreachable", `Not let in after ${attempts} attempts`, { attempts, cause });
        waiter.reject(this.#events.explain(error, entry.key));
      }
    }
  }

  #join(key: K, waiter: Waiter<V>): Registered<K, V, Request> {
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      entry.waiters.push(waiter);
      return entry;
    }
    const added = { key, request: this.#events.request(key), sinceMs: this.#clock.now(), waiters: [waiter] };
    this.#entries.set(key, added);
    this.#events.added(added);
    return added;
  }

  /** By identity: another waiter for the same key is not this one's to remove. Whoever has settled leaves no more. */
  #leave(entry: Registered<K, V, Request>, waiter: Waiter<V>): void {
    entry.waiters.splice(entry.waiters.indexOf(waiter), 1);
    if (entry.waiters.length === 0) this.#remove(entry);
  }

  #take(key: K): readonly Waiter<V>[] {
    const entry = this.#entries.get(key);
    if (entry === undefined) return [];
    this.#remove(entry);
    return entry.waiters;
  }

  #remove(entry: Registered<K, V, Request>): void {
    this.#entries.delete(entry.key);
    this.#events.removed(entry);
  }
}

/** The same waiter, that undoes its abort listener when it settles. */
function settled<V>(waiter: Waiter<V>, undo: () => void): Pick<Waiter<V>, "resolve" | "reject"> {
  const { resolve, reject } = waiter;
  return {
    resolve: (value) => {
      undo();
      resolve(value);
    },
    reject: (error) => {
      undo();
      reject(error);
    },
  };
}
