import type { Attempt } from "./attempt.ts";
import { positive } from "./check.ts";
import type { Clock } from "./clock.ts";
import { after, systemClock } from "./clock.ts";
import { StreamError } from "./errors.ts";
import type { StreamOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { reconnect } from "./reconnect.ts";
import { Rounds } from "./rounds.ts";
import { linked, onAbort } from "./signal.ts";
import type { Ending, Verdict } from "./verdict.ts";

/** What is shared, and how. */
export interface SubscriptionsOptions<K, V, Request, Message> extends Omit<StreamOptions, "onEnd"> {
  /** Opens the shared stream; the requests are one per key, every registered one first. */
  readonly open: (requests: AsyncIterable<Request>, attempt: Attempt<Message>) => AsyncIterable<Message>;
  /** The request that subscribes to a key; made when the key is registered, and sent each time it must be. */
  readonly request: (key: K) => Request;
  /** Hands what a message says to its waiters. */
  readonly deliver: (message: Message, waiters: Subscriptions<K, V, Request, Message>) => void;
  /**
   * Told what `deliver` threw at a message. That message is lost and nothing else is: one that nobody can read ends
   * neither the stream nor the waits.
   */
  readonly onUndelivered?: ((error: unknown, message: Message) => void) | undefined;
  /** How long the stream is kept after the last waiter left, in milliseconds. @default 30_000 */
  readonly lingerMs?: number | undefined;
  /** Every registered key is requested again within this time, give or take a fifth. @default 30_000 */
  readonly reassertMs?: number | undefined;
}

/** One who waits for a key. */
interface Waiter<V> {
  readonly resolve: (value: V) => void;
  readonly reject: (error: unknown) => void;
  /** Attempts that failed before this waiter was let in; -1 from when it was. */
  tries: number;
}

/** All who wait for one key. */
export interface Entry<V> {
  /** Since when somebody waits, on the stream's clock. */
  readonly sinceMs: number;
  readonly waiters: Waiter<V>[];
}

/** A key that is on every stream. */
interface Registered<V, Request> extends Entry<V> {
  readonly request: Request;
}

const inside = -1;

/**
 * Any number of waiters for any number of keys on one shared stream. Whoever waits is on the current stream, whatever
 * becomes of the one before: every new attempt begins with every registered key.
 *
 * The stream belongs to no waiter: the first one opens it on the owner's signal, a waiter that aborts disturbs nobody,
 * and after the last one it lingers. Until a stream was live, each waiter is bounded by `setupAttempts` of its own;
 * whoever is in stays in.
 */
export class Subscriptions<K, V, Request, Message> {
  readonly #options: SubscriptionsOptions<K, V, Request, Message>;
  readonly #clock: Clock;
  readonly #lingerMs: number;
  readonly #setupAttempts: number;
  /** In the order in which the keys were registered. */
  readonly #entries = new Map<K, Registered<V, Request>>();
  readonly #rounds: Rounds<Registered<V, Request>>;
  #outbox: Outbox<Request> | undefined;
  #running = false;
  #closed: StreamError | undefined;
  #wasLive = false;
  #isIn = false;
  #stop: ((reason?: unknown) => void) | undefined;
  #cancelLinger: AbortController | undefined;

  constructor(options: SubscriptionsOptions<K, V, Request, Message>) {
    const { lingerMs = 30_000, reassertMs = 30_000, setupAttempts = Infinity } = options;
    const { clock = systemClock, random = Math.random } = options;
    positive("lingerMs", lingerMs);
    positive("reassertMs", reassertMs);
    positive("setupAttempts", setupAttempts);
    this.#options = options;
    this.#clock = clock;
    this.#lingerMs = lingerMs;
    this.#rounds = new Rounds({ clock, random, roundMs: reassertMs });
    this.#setupAttempts = setupAttempts;
  }

  /** How many keys are registered. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether somebody waits for a key. */
  has(key: K): boolean {
    return this.#entries.has(key);
  }

  /** Whether a stream is up that carries the registered keys. */
  get connected(): boolean {
    return this.#isIn;
  }

  /** Whether the shared stream is open, being opened, or waiting to be opened again. */
  get running(): boolean {
    return this.#running;
  }

  /** What is registered, the oldest first. */
  entries(): IterableIterator<[K, Entry<V>]> {
    return this.#entries.entries();
  }

  /**
   * Waits for a key. Rejects with the signal's own reason; with `unreachable` when `setupAttempts` attempts failed and
   * no stream was ever live; with what ended the stream for good; with `closed`.
   */
  wait(key: K, signal?: AbortSignal): Promise<V> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const waiter: Waiter<V> = { resolve, reject, tries: this.#wasLive || this.#isIn ? inside : 0 };
      const entry = this.#join(key, waiter);
      if (signal === undefined) return;
      const undo = onAbort(signal, () => {
        this.#leave(key, entry, waiter);
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

  /** Ends the stream; whoever waits, and whoever will, gets `closed`. Idempotent. */
  close(): void {
    this.#closed ??= new StreamError("closed", "The stream was closed by its owner");
    this.#failAll(this.#closed);
    this.#stop?.();
    this.#cancelLinger?.abort();
  }

  #join(key: K, waiter: Waiter<V>): Registered<V, Request> {
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      entry.waiters.push(waiter);
      return entry;
    }
    const registered = { sinceMs: this.#clock.now(), waiters: [waiter], request: this.#options.request(key) };
    this.#entries.set(key, registered);
    this.#rounds.add(registered);
    this.#cancelLinger?.abort();
    if (!this.#running) void this.#run();
    else if (this.#outbox?.replayed) this.#outbox.push(registered.request);
    return registered;
  }

  /** By identity: another waiter for the same key is not this one's to remove. Whoever has settled leaves no more. */
  #leave(key: K, entry: Registered<V, Request>, waiter: Waiter<V>): void {
    entry.waiters.splice(entry.waiters.indexOf(waiter), 1);
    if (entry.waiters.length === 0) this.#forget(key, entry);
  }

  #take(key: K): readonly Waiter<V>[] {
    const entry = this.#entries.get(key);
    if (entry === undefined) return [];
    this.#forget(key, entry);
    return entry.waiters;
  }

  #forget(key: K, entry: Registered<V, Request>): void {
    this.#entries.delete(key);
    this.#rounds.delete(entry);
    if (this.#entries.size > 0 || !this.#running) return;
    this.#cancelLinger?.abort();
    const linger = this.#cancelLinger = new AbortController();
    after(this.#clock, this.#lingerMs, linger.signal, () => this.#stop?.());
  }

  #failAll(error: unknown): void {
    for (const key of [...this.#entries.keys()]) this.fail(key, error);
  }

  /** Runs the shared stream until nobody needs it; never rejects: an error is for the waiters. */
  async #run(): Promise<void> {
    this.#running = true;
    const { signal, open, ...options } = this.#options;
    const life = linked(signal);
    this.#stop = life.abort;
    try {
      const messages = reconnect<Message>((attempt) => open(this.#requests(attempt), attempt), {
        ...options,
        signal: life.signal,
        setupAttempts: undefined,
        judge: (verdict, ending) => this.#judge(verdict, ending),
        onEnd: () => (this.#entries.size > 0 ? "transient" : "end"),
        onIn: () => {
          this.#letIn();
          options.onIn?.();
        },
        onStatus: (status) => {
          if (status.state === "live") this.#wasLive = true;
          options.onStatus?.(status);
        },
      });
      for await (const message of messages) this.#deliver(message);
    } catch (error) {
      if (signal?.aborted) this.#failAll(signal.reason);
      else if (!life.signal.aborted) this.#failAll(error);
    } finally {
      life.abort();
      this.#cancelLinger?.abort();
      this.#stop = undefined;
      this.#running = false;
      // Whoever came while the stream was ending was carried by nothing.
      if (this.#entries.size > 0) void this.#run();
    }
  }

  /** The request side of an attempt: what is registered now, then what comes, then everything once more and again. */
  #requests(attempt: Attempt<Message>): Outbox<Request> {
    const outbox = new Outbox(requestsOf(this.#entries.values()), attempt.signal);
    this.#outbox = outbox;
    this.#isIn = false;
    onAbort(attempt.signal, () => {
      this.#isIn = false;
    });
    // The peer may lose a subscription without a word, so each is made again now and then; not into a queue that waits.
    this.#rounds.run((due) => {
      if (!outbox.idle) return false;
      for (const { request } of due) outbox.push(request);
      return true;
    }, attempt.signal);
    return outbox;
  }

  #deliver(message: Message): void {
    const { deliver, onUndelivered } = this.#options;
    try {
      deliver(message, this);
    } catch (error) {
      onUndelivered?.(error, message);
    }
  }

  #letIn(): void {
    this.#isIn = true;
    for (const { waiters } of this.#entries.values()) {
      for (const waiter of waiters) waiter.tries = inside;
    }
  }

  /** A failed attempt counts for each waiter that it carried and did not let in; for nobody nothing comes back. */
  #judge(verdict: Verdict, ending: Ending): Verdict | Promise<Verdict> {
    const { judge } = this.#options;
    const decide = (word: Verdict): Verdict => {
      if (word === "end" && verdict !== "end") {
        this.#failAll(new StreamError("closed", "The stream was ended", { cause: ending.error }));
      }
      if (word !== "transient" && word !== "suspect" && word !== "doubt") return word;
      this.#countTry(ending.error);
      return this.#entries.size > 0 ? word : "end";
    };
    const word = judge?.(verdict, ending) ?? verdict;
    return typeof word === "string" ? decide(word) : word.then(decide);
  }

  #countTry(cause: unknown): void {
    const attempts = this.#setupAttempts;
    for (const [key, entry] of [...this.#entries]) {
      for (const waiter of [...entry.waiters]) {
        if (waiter.tries === inside || ++waiter.tries < attempts) continue;
        this.#leave(key, entry, waiter);
        waiter.reject(new StreamError("unreachable", `Not let in after ${attempts} attempts`, { attempts, cause }));
      }
    }
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

function* requestsOf<Request>(entries: Iterable<{ readonly request: Request }>): Generator<Request> {
  for (const { request } of entries) yield request;
}
