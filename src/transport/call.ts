import type { BinaryReadOptions, DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { ClientHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import { markUnsent, StreamError } from "../streams/errors.ts";
import { FrameReader } from "./frames.ts";
import type { Source } from "./messages.ts";
import { Messages } from "./messages.ts";
import type { Session } from "./session.ts";
import type { Fields } from "./status.ts";
import { failureOf, refusal, resetOf, toHeaders, unspoken } from "./status.ts";

/** How responses are read. */
export interface Reading {
  /** The largest message, also when it is unpacked. */
  readonly maxBytes: number;
  /** What the peer may pack messages with. */
  readonly compressions: readonly Compression[];
  readonly binary: Partial<BinaryReadOptions> | undefined;
}

/** Until there are some. */
const none: Fields = {};

/** Whose call it is. */
export interface Owner {
  /** The error of a deadline that has passed. */
  expired(): ConnectError | undefined;
  /** Nothing is left to be read, or to be done: this is how it ended. Called once. */
  settled(error: unknown): void;
}

/**
 * The response side of one call on its HTTP/2 stream: reads headers, messages and status, and says how it ended, whatever
 * the peer and the runtime do or leave out. What was received is handed on before the failure that came behind it, unless
 * it is the caller who ends the call.
 */
export class Call<O extends DescMessage> implements Source {
  readonly messages: Messages<O>;
  readonly #reading: Reading;
  readonly #session: Session;
  readonly #stream: ClientHttp2Stream;
  readonly #owner: Owner;
  readonly #frames: FrameReader;
  #opening: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined;
  /** What came before the headers: Deno may tell of them behind the first data. */
  #early: Uint8Array[] | undefined;
  #headers: Fields = none;
  /** The trailers, or the headers where they are the whole answer. */
  #status: Fields | undefined;
  #header: Headers | undefined;
  #trailer: Headers | undefined;
  #begun = false;
  #ended = false;
  #broke: unknown;
  #over = false;
  #failure: unknown;

  constructor(output: O, reading: Reading, session: Session, stream: ClientHttp2Stream, owner: Owner) {
    this.#reading = reading;
    this.#session = session;
    this.#stream = stream;
    this.#owner = owner;
    this.messages = new Messages({ output, binary: reading.binary, maxBytes: reading.maxBytes }, this);
    this.#frames = new FrameReader(
      reading.maxBytes,
      (message, compressed) => this.messages.deliver(message, compressed),
    );
    stream.on("response", (fields) => this.#respond(fields));
    stream.on("data", (chunk: Uint8Array) => this.#read(chunk));
    stream.on("trailers", (fields) => this.#told(fields));
    stream.on("end", () => this.#end());
    stream.on("close", () => this.#finish(this.#verdict()));
    // For the stream's whole life: an error that comes after the caller has left must not be uncaught.
    stream.on("error", (error) => this.#broke ??= error);
  }

  /** Resolves when the headers are here, and right. Ask once, in the turn of its making: only an abort comes before. */
  opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over) reject(this.#failure);
      else this.#opening = { resolve, reject };
    });
  }

  /** The response's headers. */
  get header(): Headers {
    return this.#header ??= toHeaders(this.#headers);
  }

  /** The response's trailers: filled when its end is here. */
  get trailer(): Headers {
    return this.#trailer ??= this.#trailersInto(new Headers());
  }

  /** Whether the headers are here, and right. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Whether it has its whole answer, and takes no more of the request. */
  get over(): boolean {
    return this.#over;
  }

  paused(paused: boolean): void {
    if (paused) this.#stream.pause();
    else this.#stream.resume();
  }

  broken(error: unknown): void {
    this.abort(error);
  }

  drained(failure: unknown): void {
    this.#owner.settled(failure);
  }

  /** Ends it from our side, before what waits to be read. */
  abort(error: unknown): void {
    this.#finish(error);
    this.messages.drop(error);
  }

  #respond(fields: Fields): void {
    if (this.#over) return;
    this.#headers = fields;
    if ("grpc-status" in fields) this.#status = fields;
    const wrong = refusal(fields) ?? this.#encoded(fields) ?? (this.#status && failureOf(this.#status, fields));
    if (wrong !== undefined) return this.#finish(wrong);
    this.#begin();
    /* c8 ignore next -- only Deno tells of data before it tells of headers. */
    for (const bytes of this.#early?.splice(0) ?? []) this.#cut(bytes);
  }

  #begin(): void {
    this.#begun = true;
    this.#opening?.resolve();
  }

  #encoded(fields: Fields): ConnectError | undefined {
    const name = fields["grpc-encoding"];
    if (name === undefined || name === "identity") return undefined;
    this.messages.compression = this.#reading.compressions.find((one) => one.name === name);
    if (this.messages.compression !== undefined) return undefined;
    return new ConnectError(`unsupported response encoding "${String(name)}"`, Code.Internal, this.header);
  }

  #read(chunk: Uint8Array): void {
    this.#session.read();
    if (this.#over) return;
    // Once per chunk: a Buffer's `subarray` makes Buffers, and a message's fields of bytes would be some.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.#headers !== none) return this.#cut(bytes);
    /* c8 ignore next -- only Deno tells of data before it tells of headers. */
    (this.#early ??= []).push(bytes);
  }

  #cut(bytes: Uint8Array): void {
    try {
      this.#frames.read(bytes);
    } catch (error) {
      this.#finish(error);
    }
  }

  #told(trailers: Fields): void {
    this.#status ??= trailers;
    /* c8 ignore next -- Node tells of the trailers before it tells of the end; others need not. */
    if (this.#ended) this.#finish(this.#verdict());
  }

  #end(): void {
    this.#ended = true;
    if (this.#status !== undefined) this.#finish(this.#verdict());
    // No status, but what tells of a reset or a lost connection may still be on its way.
    else setImmediate(() => this.#finish(this.#verdict()));
  }

  /** How it ended: the peer's own word, if there is one, whatever happened to the wire behind it. */
  #verdict(): unknown {
    const status = this.#status;
    const failure = status && failureOf(status, this.#headers);
    if (failure !== undefined) return failure;
    if (status !== undefined && this.#ended) return this.#frames.broken ? incomplete() : undefined;
    return this.#owner.expired() ?? this.#loss();
  }

  /** Why there is no status. A lost connection looks like a clean end, or like a peer that cancelled, so it is asked first. */
  #loss(): Error {
    if (this.#broke instanceof ConnectError || this.#broke instanceof StreamError) return this.#broke;
    const { rstCode } = this.#stream;
    const lost = this.#session.loss(this.#broke) ?? resetOf(rstCode, this.#broke);
    const unanswered = this.#headers === none;
    // Whatever a peer calls it: who has answered has seen the request.
    const refused = unanswered && rstCode === constants.NGHTTP2_REFUSED_STREAM;
    if (lost !== undefined) return refused ? markUnsent(lost) : lost;
    if (unanswered) return new ConnectError("The stream closed without a response", Code.Unavailable);
    return this.#frames.broken ? incomplete() : unspoken();
  }

  #finish(failure: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#failure = failure;
    this.#early = undefined;
    if (this.#trailer !== undefined) this.#trailersInto(this.#trailer);
    if (failure === undefined) this.#begin();
    else this.#opening?.reject(failure);
    this.messages.end(failure);
    const { writableEnded, writableLength } = this.#stream;
    // What ended well on both sides closes by itself.
    if (failure === undefined && writableEnded && writableLength === 0) return;
    // Not in the turn of the end, for the runtime may close the stream too.
    setImmediate(() => this.#leave(failure));
  }

  #leave(failure: unknown): void {
    const stream = this.#stream;
    // Node keeps a stream for ever that its peer has reset while a part of the request waited to be written.
    if (stream.closed) stream.destroy();
    // What its peer takes no more would wait to be sent for ever.
    else if (failure !== undefined || stream.writableLength > 0) stream.close(constants.NGHTTP2_CANCEL);
    // What was written to its end closes by itself, when the last of it is sent.
    else if (!stream.writableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
  }

  #trailersInto(headers: Headers): Headers {
    return this.#over && this.#status !== undefined && this.#status !== this.#headers
      ? toHeaders(this.#status, headers)
      : headers;
  }
}

function incomplete(): ConnectError {
  return new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
}
