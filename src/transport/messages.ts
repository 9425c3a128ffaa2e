import type { BinaryReadOptions, DescMessage, MessageShape } from "@bufbuild/protobuf";
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { Queue } from "../streams/queue.ts";
import { textOf } from "./failure.ts";

/** What the messages of a call are read from, and what becomes of them. */
export interface Source {
  /** Reading should pause, or may go on. */
  readonly paused: (paused: boolean) => void;
  /** Something here cannot be decoded: nobody will ask for what is behind it. */
  readonly broken: (error: unknown) => void;
  /** The last one was read, or none will be, for this reason. Called once. */
  readonly drained: (failure: unknown) => void;
}

/** How messages are decoded. */
export interface Decoding<O extends DescMessage> {
  readonly output: O;
  readonly binary: Partial<BinaryReadOptions> | undefined;
  /** The largest message, also when it is unpacked. */
  readonly maxBytes: number;
}

type Read<O extends DescMessage> = IteratorResult<MessageShape<O>, undefined>;

interface Asker<O extends DescMessage> {
  readonly resolve: (read: Read<O> | Promise<Read<O>>) => void;
  readonly reject: (error: unknown) => void;
}

/** A message that is still compressed. */
interface Packed {
  readonly packed: Uint8Array;
}

/** Reading pauses when so many bytes wait, and goes on when half of them are read. */
const maxQueuedBytes = 256 * 1024;

/** What a message that waits costs beyond its bytes: a flood of empty ones is bounded too. */
const queuedCost = 64;

/**
 * The messages of one call, as its caller reads them. The way of a message is short, for every one pays for it: who asks
 * before it is here is given it as it comes; what comes before anybody asks waits as it came, and is decoded when it is
 * asked for. No generator, no copy, and no object per message but the two that an iterator must make.
 */
export class Messages<O extends DescMessage> implements AsyncIterableIterator<MessageShape<O>, undefined> {
  /** Set when the headers say so. */
  compression: Compression | undefined;
  readonly #decoding: Decoding<O>;
  readonly #source: Source;
  readonly #queue: Queue<Uint8Array | Packed> = new Queue();
  readonly #askers: Asker<O>[] = [];
  #queuedBytes = 0;
  #paused = false;
  #ended = false;
  #drained = false;
  #dropped = false;
  /** How many are being unpacked for somebody. */
  #unpacking = 0;
  #failure: unknown;

  constructor(decoding: Decoding<O>, source: Source) {
    this.#decoding = decoding;
    this.#source = source;
  }

  next(): Promise<Read<O>> {
    const read = this.poll();
    if (read !== undefined) return Promise.resolve(read);
    const { first } = this.#queue;
    if (first !== undefined && "packed" in first) return this.#unpack(this.#shift(first.packed));
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#askers.push({ resolve, reject }));
  }

  /** What is here already; `undefined` when nothing is that needs no waiting, and `next()` tells what comes. */
  poll(): IteratorYieldResult<MessageShape<O>> | undefined {
    const { first } = this.#queue;
    if (!(first instanceof Uint8Array)) return undefined;
    const read = this.#parse(this.#shift(first));
    this.#rest();
    return read;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** A message came. */
  deliver(message: Uint8Array, compressed: boolean): void {
    if (this.#ended) return;
    const asker = this.#askers.shift();
    if (asker === undefined) return this.#put(message, compressed);
    if (compressed) return asker.resolve(this.#unpack(message));
    const read = this.#parse(message);
    if (read === undefined) asker.reject(this.#failure);
    else asker.resolve(read);
  }

  /** No more come: with an error, or because that was all. What waits is still read first. */
  end(failure?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    for (const { resolve, reject } of this.#askers.splice(0)) {
      if (failure === undefined) resolve({ done: true, value: undefined });
      else reject(failure);
    }
    this.#rest();
  }

  /** Throws away what waits: whoever asks is told why. */
  drop(failure: unknown): void {
    if (this.#drained) return;
    this.#queue.clear();
    this.#dropped = true;
    this.#failure = failure;
    this.end(failure);
    this.#rest();
  }

  #rest(): void {
    if (!this.#ended || this.#drained || this.#queue.length > 0 || this.#unpacking > 0) return;
    this.#drained = true;
    this.#source.drained(this.#failure);
  }

  #put(message: Uint8Array, compressed: boolean): void {
    this.#queue.push(compressed ? { packed: message } : message);
    this.#queuedBytes += message.byteLength + queuedCost;
    if (this.#paused || this.#queuedBytes <= maxQueuedBytes) return;
    this.#paused = true;
    this.#source.paused(true);
  }

  #shift(message: Uint8Array): Uint8Array {
    this.#queue.shift();
    this.#queuedBytes -= message.byteLength + queuedCost;
    if (this.#paused && this.#queuedBytes <= maxQueuedBytes / 2) {
      this.#paused = false;
      this.#source.paused(false);
    }
    return message;
  }

  /** `undefined` for what does not decode: then this is how the call failed. */
  #parse(message: Uint8Array): IteratorYieldResult<MessageShape<O>> | undefined {
    try {
      return { done: false, value: this.#decode(message) };
    } catch (error) {
      this.#source.broken(error);
      return undefined;
    }
  }

  #decode(message: Uint8Array): MessageShape<O> {
    const { binary, output } = this.#decoding;
    try {
      return fromBinary(output, message, binary);
    } catch (error) {
      throw new ConnectError(`parse binary: ${textOf(error)}`, Code.Internal);
    }
  }

  async #unpack(packed: Uint8Array): Promise<Read<O>> {
    const { compression } = this;
    this.#unpacking++;
    try {
      if (compression === undefined) {
        throw new ConnectError("protocol error: a compressed message without an encoding", Code.Internal);
      }
      const message = await compression.decompress(packed, this.#decoding.maxBytes);
      if (this.#dropped) throw this.#failure;
      return { done: false, value: this.#decode(message) };
    } catch (error) {
      this.#source.broken(error);
      throw error;
    } finally {
      this.#unpacking--;
      this.#rest();
    }
  }
}
