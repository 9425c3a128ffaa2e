import { Pump } from "../streams/pump.ts";
import { linked } from "../streams/signal.ts";
import type { Linked } from "../streams/signal.ts";

/** One call of a relay. */
interface Call extends Linked {
  /** Told how it ended, when it is spare: then an older one goes on in its place. */
  readonly onSpared: ((error: unknown) => void) | undefined;
}

/**
 * Several calls that are one stream to whoever reads: a new call can be opened before the old one is let go, so that
 * nothing sent meanwhile is lost. It ends as its newest call ends, unless that one was spare and an older one is left;
 * what becomes of the older ones is nobody's concern.
 */
export class Relay<T> implements AsyncIterable<T> {
  readonly #open: (signal: AbortSignal) => AsyncIterable<T>;
  readonly #signal: AbortSignal;
  readonly #pump = new Pump<T>();
  #calls: Call[] = [];

  /** Opens the first call at once. */
  constructor(open: (signal: AbortSignal) => AsyncIterable<T>, signal: AbortSignal) {
    this.#open = open;
    this.#signal = signal;
    this.renew();
  }

  /** How many calls are open. */
  get size(): number {
    return this.#calls.length;
  }

  /** Opens one more call, the newest; with `onSpared` it is spare. */
  renew(onSpared?: (error: unknown) => void): void {
    const call = { ...linked(this.#signal), onSpared };
    this.#calls.push(call);
    void this.#read(call);
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

  async #read(call: Call): Promise<void> {
    try {
      for await (const message of this.#open(call.signal)) this.#pump.put(message);
      if (this.#leave(call, undefined)) this.#pump.end();
    } catch (error) {
      if (this.#leave(call, error)) this.#pump.fail(error);
    } finally {
      call.abort();
    }
  }

  /** True when the stream ends with it. */
  #leave(call: Call, error: unknown): boolean {
    const index = this.#calls.indexOf(call);
    if (index < 0) return false;
    this.#calls.splice(index, 1);
    if (index < this.#calls.length) return false;
    if (index === 0 || call.onSpared === undefined) return true;
    call.onSpared(error);
    return false;
  }
}
