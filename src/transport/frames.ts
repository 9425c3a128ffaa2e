import { Code, ConnectError } from "@connectrpc/connect";

/** A gRPC message on the wire: one byte of flags, four of length, and as many as those say. */
const prefixBytes = 5;

const nothing = new Uint8Array();

/** A message as it is sent: its prefix and itself, in one piece. */
export function frame(message: Uint8Array, compressed: boolean): Uint8Array {
  const framed = new Uint8Array(prefixBytes + message.byteLength);
  framed[0] = compressed ? 1 : 0;
  new DataView(framed.buffer).setUint32(1, message.byteLength);
  framed.set(message, prefixBytes);
  return framed;
}

/** What is done with a message; its bytes are a view of what the wire brought, unless it came in several pieces. */
export type Deliver = (message: Uint8Array, compressed: boolean) => void;

/**
 * Cuts what the wire brings into messages. One inside a chunk is a view of it, for a copy costs a third of the reading
 * of a small one; one across chunks is allocated once, from its length, when that was checked.
 */
export class FrameReader {
  readonly #maxBytes: number;
  readonly #deliver: Deliver;
  /** The beginning of a prefix that came in several pieces. */
  #prefix: Uint8Array = nothing;
  #prefixed = 0;
  /** A message that came in several pieces, as far as it is here. */
  #message: Uint8Array | undefined;
  #filled = 0;

  constructor(maxBytes: number, deliver: Deliver) {
    this.#maxBytes = maxBytes;
    this.#deliver = deliver;
  }

  /** Whether a message has begun and not ended. */
  get broken(): boolean {
    return this.#prefixed > 0;
  }

  /** @throws ConnectError for a message that is too large, or for what is no message */
  read(chunk: Uint8Array): void {
    const end = chunk.byteLength;
    let at = this.#prefixed > 0 ? this.#resume(chunk) : 0;
    while (end - at >= prefixBytes) {
      const begin = at + prefixBytes;
      const length = this.#lengthAt(chunk, at);
      if (length > end - begin) return this.#begin(chunk, at, length);
      at = begin + length;
      this.#deliver(chunk.subarray(begin, at), chunk[begin - prefixBytes] === 1);
    }
    if (at < end) {
      this.#prefix = new Uint8Array(prefixBytes);
      this.#prefix.set(chunk.subarray(at));
      this.#prefixed = end - at;
    }
  }

  /** Keeps the beginning of a message whose end is not here. */
  #begin(chunk: Uint8Array, at: number, length: number): void {
    this.#prefix = chunk.slice(at, at + prefixBytes);
    this.#prefixed = prefixBytes;
    this.#message = new Uint8Array(length);
    this.#message.set(chunk.subarray(at + prefixBytes));
    this.#filled = chunk.byteLength - at - prefixBytes;
  }

  /** Goes on with what a chunk before began; the offset from which this one is to be read on. */
  #resume(chunk: Uint8Array): number {
    let at = 0;
    if (this.#message === undefined) {
      at = Math.min(prefixBytes - this.#prefixed, chunk.byteLength);
      this.#prefix.set(chunk.subarray(0, at), this.#prefixed);
      this.#prefixed += at;
      if (this.#prefixed < prefixBytes) return at;
      this.#message = new Uint8Array(this.#lengthAt(this.#prefix, 0));
      this.#filled = 0;
    }
    const message = this.#message;
    const until = Math.min(at + message.byteLength - this.#filled, chunk.byteLength);
    message.set(chunk.subarray(at, until), this.#filled);
    this.#filled += until - at;
    if (this.#filled === message.byteLength) {
      this.#message = undefined;
      this.#prefixed = 0;
      this.#deliver(message, this.#prefix[0] === 1);
    }
    return until;
  }

  #lengthAt(bytes: Uint8Array, at: number): number {
    const flags = bytes[at]!; // All inside the bounds, as the caller has looked.
    if (flags > 1) throw new ConnectError(`protocol error: a message with flags ${flags}`, Code.Internal);
    const length = bytes[at + 1]! * 2 ** 24 + (bytes[at + 2]! << 16 | bytes[at + 3]! << 8 | bytes[at + 4]!);
    if (length > this.#maxBytes) throw tooLarge(length, this.#maxBytes);
    return length;
  }
}

/** A message that the reader would not take; its sender may have no such limit. */
export function tooLarge(bytes: number | undefined, maxBytes: number): ConnectError {
  const size = bytes === undefined ? "" : ` ${bytes}`;
  const text = `message size${size} is larger than configured readMaxBytes ${maxBytes}`;
  return new ConnectError(text, Code.ResourceExhausted);
}
