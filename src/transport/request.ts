import type { BinaryWriteOptions, DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { ClientHttp2Stream } from "node:http2";
import { textOf } from "./failure.ts";
import { frame } from "./frames.ts";

/** How requests are written. */
export interface Writing {
  /** The largest message, before it is packed. */
  readonly maxBytes: number;
  /** What messages are packed with, if they are. */
  readonly compression: Compression | undefined;
  /** Smaller ones are not packed. */
  readonly compressMinBytes: number;
  readonly binary: Partial<BinaryWriteOptions> | undefined;
}

/** A message as it goes over the wire. @throws ConnectError for one that does not encode, or is too large to send */
export function encode<I extends DescMessage>(
  schema: I,
  message: MessageShape<I>,
  writing: Writing,
): Uint8Array | Promise<Uint8Array> {
  const bytes = toBytes(schema, message, writing);
  const { compression, compressMinBytes, maxBytes } = writing;
  if (bytes.byteLength > maxBytes) {
    const text = `message size ${bytes.byteLength} is larger than configured writeMaxBytes ${maxBytes}`;
    throw new ConnectError(text, Code.ResourceExhausted);
  }
  if (compression === undefined || bytes.byteLength < compressMinBytes) return frame(bytes, false);
  return compression.compress(bytes).then((packed) => frame(packed, true));
}

/** The request side of a call. */
export interface Writer {
  /** Whether the peer has answered for good, and takes no more. */
  readonly over: boolean;
  /** What the caller's own iterable threw. */
  abort(error: unknown): void;
}

/** Writes what the caller's iterable yields, as fast as the peer takes it, and then says that it was all. */
export async function write<M>(
  messages: AsyncIterator<M>,
  encoded: (message: M) => Uint8Array | Promise<Uint8Array>,
  stream: ClientHttp2Stream,
  call: Writer,
): Promise<void> {
  try {
    for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
      const framed = encoded(next.value);
      const bytes = framed instanceof Uint8Array ? framed : await framed;
      if (call.over) return;
      if (!stream.write(bytes)) await writable(stream);
      if (call.over) return;
    }
    if (!call.over) stream.end();
  } catch (error) {
    if (!call.over) call.abort(ConnectError.from(error, Code.Internal));
  }
}

/** What the caller sends: takes partial messages, and yields full ones for the interceptors. */
export class Input<I extends DescMessage> implements AsyncIterable<MessageShape<I>> {
  readonly #schema: I;
  readonly #input: AsyncIterable<MessageInitShape<I>>;
  #begun: AsyncIterator<MessageInitShape<I>> | undefined;

  constructor(schema: I, input: AsyncIterable<MessageInitShape<I>>) {
    this.#schema = schema;
    this.#input = input;
  }

  /** By hand, for a generator would be deaf to `return` while it waits. */
  [Symbol.asyncIterator](): AsyncIterator<MessageShape<I>> {
    const inner = this.#begun = this.#input[Symbol.asyncIterator]();
    return {
      next: async () => this.#fill(await inner.next()),
      return: async (value: unknown) => this.#fill(await inner.return?.(value) ?? { done: true, value }),
    };
  }

  /** Lets go of the caller's iterable: tells it what broke the call, and that nobody will ask again. */
  async release(error: unknown): Promise<void> {
    try {
      const iterator = this.#begun ?? this.#input[Symbol.asyncIterator]();
      if (error !== undefined) await iterator.throw?.(error);
      await iterator.return?.();
    } catch {
      // One that throws while it is thrown away has nobody left to tell.
    }
  }

  #fill(next: IteratorResult<MessageInitShape<I>>): IteratorResult<MessageShape<I>> {
    return next.done === true ? next : { done: false, value: create(this.#schema, next.value) };
  }
}

function toBytes<I extends DescMessage>(schema: I, message: MessageShape<I>, { binary }: Writing): Uint8Array {
  try {
    return toBinary(schema, message, binary);
  } catch (error) {
    throw new ConnectError(
      `serialize binary: ${textOf(error)}`,
      Code.Internal,
    );
  }
}

/** Resolves when the stream takes more, or nothing any more. */
function writable(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      stream.off("drain", go);
      stream.off("close", go);
      resolve();
    };
    stream.on("drain", go);
    stream.on("close", go);
  });
}
