import type { PumpOptions } from "./pump.ts";
import { Pump } from "./pump.ts";
import { linked, onAbort } from "./signal.ts";

/** How a live stream is read. */
export interface LiveStreamOptions<T> extends PumpOptions<T> {
  /** Ends the stream; the loop throws the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the stream quietly: what it belongs to is closed. */
  readonly owner?: AbortSignal | undefined;
}

/**
 * A stream that is read whether or not somebody asks, looped over once, and closable from anywhere.
 *
 * It opens when the loop begins. `break` and `close()` end it quietly, the caller's signal with its own reason. Loop
 * with `for await`, one message at a time.
 */
export class LiveStream<T> implements AsyncIterable<T>, AsyncDisposable {
  readonly #open: (signal: AbortSignal) => AsyncIterable<T>;
  readonly #options: LiveStreamOptions<T>;
  readonly #pump: Pump<T>;
  readonly #life = new AbortController();
  #looped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(open: (signal: AbortSignal) => AsyncIterable<T>, options: LiveStreamOptions<T> = {}) {
    this.#open = open;
    this.#options = options;
    this.#pump = new Pump(options);
  }

  /** @throws TypeError on a second loop: what the first one read is gone */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    if (this.#looped) throw new TypeError("A live stream is looped over once; open another");
    this.#looped = true;
    const { signal } = this.#options;
    if (!this.#life.signal.aborted) this.#running = this.#run();
    const iterator: AsyncIterableIterator<T, undefined> = {
      next: () => {
        // Also when the source has ended and only its queue is left: the caller has said stop.
        if (signal?.aborted) this.#pump.abort(signal.reason);
        return this.#pump.next();
      },
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /** Ends the loop quietly; resolves when everything is released. Idempotent. */
  async close(): Promise<void> {
    this.#pump.stop();
    this.#life.abort();
    await this.#running;
  }

  /** The same as {@link LiveStream.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    const { owner, signal } = this.#options;
    const life = linked(signal, this.#life.signal, owner);
    const undo = onAbort(life.signal, () => {
      if (signal?.aborted) this.#pump.abort(signal.reason);
      else this.#pump.stop();
    });
    try {
      if (!life.signal.aborted) await this.#pump.run(this.#open(life.signal));
    } catch (error) {
      this.#pump.fail(error); // `run` never rejects: it was the opener, and the loop is who asks.
    } finally {
      undo();
      life.abort();
    }
  }
}
