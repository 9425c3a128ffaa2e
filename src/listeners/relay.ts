import { Pump } from "../streams/pump.ts";
import { linked } from "../streams/signal.ts";
import type { Linked } from "../streams/signal.ts";

/** One call, as its opener gives it to a relay. */
export interface Call<T> {
  readonly messages: AsyncIterable<T>;
  /** Told how it ended, when another one goes on: a newer one, or an older one in its place. */
  readonly onLeft: (error: unknown, wasNewest: boolean) => void;
}

/**
 * Several calls that are one stream to whoever reads: a new call can be opened before the old one is let go, so that
 * nothing sent meanwhile is lost. It ends as its last call ends.
 */
export class Relay<T> implements AsyncIterable<T> {
  readonly #open: (signal: AbortSignal) => Call<T>;
  readonly #signal: AbortSignal;
  readonly #pump = new Pump<T>();
  /** The oldest first. */
  #calls: Linked[] = [];

  /** Opens the first call at once. */
  constructor(open: (signal: AbortSignal) => Call<T>, signal: AbortSignal) {
    this.#open = open;
    this.#signal = signal;
    this.renew();
  }

  /** How many calls are open. */
  get size(): number {
    return this.#calls.length;
  }

  /** Opens one more call, the newest. */
  renew(): void {
    const life = linked(this.#signal);
    const call = this.#open(life.signal);
    this.#calls.push(life);
    void this.#read(life, call);
  }

  /** Lets all calls go but the newest. */
  retire(): void {
    for (const call of this.#calls.splice(0, this.#calls.length - 1)) call.abort();
  }

  /** Says something between what the calls say. */
  put(message: T): void {
    this.#pump.put(message);
  }

  /** Ends the stream with an error of the owner's, and all calls with it. */
  fail(error: unknown): void {
    this.#pump.fail(error);
    for (const call of this.#calls.splice(0)) call.abort();
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return { next: () => this.#pump.next() };
  }

  async #read(life: Linked, call: Call<T>): Promise<void> {
    try {
      for await (const message of call.messages) this.#pump.put(message);
      if (this.#leave(life, call, undefined)) this.#pump.end();
    } catch (error) {
      if (this.#leave(life, call, error)) this.#pump.fail(error);
    } finally {
      life.abort();
    }
  }

  /** True when the stream ends with it. */
  #leave(life: Linked, { onLeft }: Call<T>, error: unknown): boolean {
    const index = this.#calls.indexOf(life);
    if (index < 0) return false;
    this.#calls.splice(index, 1);
    if (this.#calls.length === 0) return true;
    onLeft(error, index === this.#calls.length);
    return false;
  }
}
