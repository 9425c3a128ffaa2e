import type { Attempt } from "./attempt.ts";
import { positive } from "./check.ts";
import type { Clock } from "./clock.ts";
import { after, systemClock } from "./clock.ts";
import { StreamError } from "./errors.ts";
import type { StreamOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { reconnect } from "./reconnect.ts";
import type { Entry, Registered } from "./registry.ts";
import { Registry } from "./registry.ts";
import { Rounds } from "./rounds.ts";
import { linked, onAbort } from "./signal.ts";
import type { Ending, Verdict } from "./verdict.ts";

/** What is shared, and how. */
export interface SubscriptionsOptions<K, V, Request, Message> extends Omit<StreamOptions, "onEnd"> {
  /** Opens the shared stream; the requests are one per key, every registered one first. */
  readonly open: (requests: AsyncIterable<Request>, attempt: Attempt<Message>) => AsyncIterable<Message>;
  /** The request that subscribes to a key; made when the key is registered, and sent each time it must be. */
  readonly request: (key: K) => Request;
  /** What ended the stream for all, as those who wait for a key get it. @default the same */
  readonly explain?: ((error: unknown, key: K) => unknown) | undefined;
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
  readonly #registry: Registry<K, V, Request>;
  readonly #rounds: Rounds<Registered<K, V, Request>>;
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
    this.#setupAttempts = setupAttempts;
    this.#rounds = new Rounds({ clock, random, roundMs: reassertMs });
    this.#registry = new Registry(clock, {
      request: options.request,
      explain: options.explain ?? ((error) => error),
      added: (entry) => this.#added(entry),
      removed: (entry) => this.#removed(entry),
    });
  }

  /** How many keys are registered. */
  get size(): number {
    return this.#registry.size;
  }

  /** Whether anybody waits for a key. */
  has(key: K): boolean {
    return this.#registry.has(key);
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
    return this.#registry.entries();
  }

  /**
   * Waits for a key. Rejects with the signal's own reason; with `unreachable` when `setupAttempts` attempts failed and
   * no stream was ever live; with what ended the stream for good; with `closed`.
   */
  wait(key: K, signal?: AbortSignal): Promise<V> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return this.#registry.wait(key, this.#wasLive || this.#isIn, signal);
  }

  /** Resolves all who wait for a key; nothing happens when nobody does. */
  settle(key: K, value: V): void {
    this.#registry.settle(key, value);
  }

  /** Rejects all who wait for a key. */
  fail(key: K, error: unknown): void {
    this.#registry.fail(key, error);
  }

  /** Ends the stream; whoever waits, and whoever will, gets `closed`. Idempotent. */
  close(): void {
    this.#closed ??= new StreamError("closed", "The stream was closed by its owner");
    this.#registry.failAll(this.#closed);
    this.#stop?.();
    this.#cancelLinger?.abort();
  }

  #added(entry: Registered<K, V, Request>): void {
    this.#rounds.add(entry);
    this.#cancelLinger?.abort();
    if (!this.#running) void this.#run();
    else if (this.#outbox?.replayed) this.#outbox.push(entry.request);
  }

  #removed(entry: Registered<K, V, Request>): void {
    this.#rounds.delete(entry);
    if (this.size > 0 || !this.#running) return;
    this.#cancelLinger?.abort();
    const linger = this.#cancelLinger = new AbortController();
    after(this.#clock, this.#lingerMs, linger.signal, () => this.#stop?.());
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
        onEnd: () => (this.size > 0 ? "transient" : "end"),
        onIn: () => {
          this.#isIn = true;
          this.#registry.letIn();
          options.onIn?.();
        },
        onStatus: (status) => {
          if (status.state === "live") this.#wasLive = true;
          options.onStatus?.(status);
        },
      });
      for await (const message of messages) this.#deliver(message);
    } catch (error) {
      if (signal?.aborted) this.#registry.failAll(signal.reason);
      else if (!life.signal.aborted) this.#registry.failAll(error);
    } finally {
      life.abort();
      this.#cancelLinger?.abort();
      this.#stop = undefined;
      this.#running = false;
      // Whoever came while the stream was ending was carried by nothing.
      if (this.size > 0) void this.#run();
    }
  }

  /** The request side of an attempt: what is registered now, then what comes, then everything once more and again. */
  #requests(attempt: Attempt<Message>): Outbox<Request> {
    const outbox = new Outbox(this.#registry.requests(), attempt.signal);
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

  /** A failed attempt counts for each waiter that it carried and did not let in; for nobody nothing comes back. */
  #judge(verdict: Verdict, ending: Ending): Verdict | Promise<Verdict> {
    const { judge } = this.#options;
    const decide = (word: Verdict): Verdict => {
      if (word === "end" && verdict !== "end") {
        this.#registry.failAll(new StreamError("closed", "The stream was ended", { cause: ending.error }));
      }
      if (word !== "transient" && word !== "suspect" && word !== "doubt") return word;
      this.#registry.countTry(this.#setupAttempts, ending.error);
      return this.size > 0 ? word : "end";
    };
    const word = judge?.(verdict, ending) ?? verdict;
    return typeof word === "string" ? decide(word) : word.then(decide);
  }
}
