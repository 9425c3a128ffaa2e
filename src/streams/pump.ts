import { positive } from "./check.ts";
import { Queue } from "./queue.ts";
import type { Pushed } from "./pushed.ts";
import { push } from "./pushed.ts";

/** How much a pump reads ahead of its consumer. Every key is optional. */
export interface PumpOptions<T> {
  /** Pauses reading when so many messages wait, until half of them are read. @default Infinity */
  readonly maxMessages?: number | undefined;
  /** Pauses reading when so many bytes wait, as `sizeOf` counts them, until half of them are read. @default Infinity */
  readonly maxBytes?: number | undefined;
  /** A message's size in bytes. @default 0 for every message */
  readonly sizeOf?: ((message: T) => number) | undefined;
  /** Told when reading pauses and when it goes on. */
  readonly onPaused?: ((paused: boolean) => void) | undefined;
  /** Asked of each message when it is handed on; false leaves it out: it is void by now. @default all are handed on */
  readonly accept?: ((message: T) => boolean) | undefined;
  /** Told how many messages wait, each time one more does. */
  readonly onQueued?: ((waiting: number) => void) | undefined;
}

/**
 * Reads a source while nobody asks, so that its life belongs to the stream and not to its reader: whoever works a
 * minute on one message is still connected after it. Queues what comes, up to its bounds.
 */
export class Pump<T> {
  readonly #options: PumpOptions<T>;
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #sizeOf: (message: T) => number;
  readonly #queue: Queue<T> = new Queue();
  #bytes = 0;
  #ended = false;
  #error: unknown;
  #failed = false;
  #asker: { resolve(read: IteratorResult<T, undefined>): void; reject(error: unknown): void } | undefined;
  /** What the last asker was given; who asks meanwhile is behind it. */
  #asked: Promise<IteratorResult<T, undefined>> = Promise.resolve({ done: true, value: undefined });
  #drained: (() => void) | undefined;

  /** @throws RangeError when a bound makes no sense */
  constructor(options: PumpOptions<T> = {}) {
    const { maxMessages = Infinity, maxBytes = Infinity } = options;
    positive("maxMessages", maxMessages);
    positive("maxBytes", maxBytes);
    this.#options = options;
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
    this.#sizeOf = options.sizeOf ?? (() => 0);
  }

  /** Reads the source to its end; never rejects: an error is for whoever asks next. */
  async run(source: AsyncIterable<T> | Pushed<T>): Promise<void> {
    try {
      const pauses = push in source ? source[push]((message) => this.put(message) || this.#ended) : this.#pull(source);
      for await (const _ of pauses) {
        if (this.#ended) return;
        await this.#room();
      }
      this.end();
    } catch (error) {
      this.fail(error);
    }
  }

  /** The next message, in order; after the last one, how the source ended. */
  next(): Promise<IteratorResult<T, undefined>> {
    while (this.#queue.length > 0) {
      const value = this.#take();
      if (this.#accepts(value)) return Promise.resolve({ done: false, value });
    }
    if (this.#failed) {
      this.#failed = false;
      return Promise.reject(this.#error);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    if (this.#asker !== undefined) {
      const again = () => this.next();
      return this.#asked.then(again, again);
    }
    return this.#asked = new Promise((resolve, reject) => {
      this.#asker = { resolve, reject };
    });
  }

  /** Throws away what waits, and ends quietly. */
  stop(): void {
    this.#drop();
    this.#failed = false;
    this.end();
  }

  /** Ends with an error, behind what waits. */
  fail(error: unknown): void {
    if (this.#ended) return;
    const asker = this.#asker;
    this.#asker = undefined;
    if (asker === undefined) {
      this.#failed = true;
      this.#error = error;
    }
    this.end();
    asker?.reject(error);
  }

  /** Ends with an error, before what waits: the consumer itself has said stop. */
  abort(error: unknown): void {
    if (!this.#ended) this.fail(error);
    else if (this.#failed || this.#queue.length > 0) {
      this.#failed = true;
      this.#error = error;
    }
    this.#drop();
  }

  /** Hands the message on or queues it; true when reading should pause. */
  put(message: T): boolean {
    if (this.#ended) return false;
    const asker = this.#asker;
    if (asker !== undefined) {
      if (!this.#accepts(message)) return false;
      this.#asker = undefined;
      asker.resolve({ done: false, value: message });
      return false;
    }
    this.#queue.push(message);
    this.#bytes += this.#sizeOf(message);
    this.#options.onQueued?.(this.#queue.length);
    return this.#full();
  }

  /** Yields when reading should pause, or end. */
  async *#pull(source: AsyncIterable<T>): AsyncGenerator<unknown, void> {
    for await (const message of source) {
      if (this.put(message) || this.#ended) yield;
    }
  }

  #accepts(message: T): boolean {
    return this.#options.accept?.(message) ?? true;
  }

  #take(): T {
    const message = this.#queue.shift();
    this.#bytes -= this.#sizeOf(message);
    if (this.#drained !== undefined && this.#hasRoom()) this.#drained();
    return message;
  }

  #full(): boolean {
    return this.#queue.length >= this.#maxMessages || this.#bytes >= this.#maxBytes;
  }

  /** Not as soon as one message is read: a slow loop would stop and start the reading with each. */
  #hasRoom(): boolean {
    return this.#queue.length <= this.#maxMessages / 2 && this.#bytes <= this.#maxBytes / 2;
  }

  #room(): Promise<void> {
    this.#options.onPaused?.(true);
    return new Promise((resolve) => {
      this.#drained = () => {
        this.#drained = undefined;
        this.#options.onPaused?.(false);
        resolve();
      };
    });
  }

  #drop(): void {
    this.#queue.clear();
    this.#bytes = 0;
  }

  /** Ends quietly, behind what waits. */
  end(): void {
    this.#ended = true;
    this.#drained?.();
    this.#asker?.resolve({ done: true, value: undefined });
    this.#asker = undefined;
  }
}
