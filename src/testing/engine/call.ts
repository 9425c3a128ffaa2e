import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { type ConnectError, type ContextKey, createContextKey, createContextValues } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { grpcStatusOk, headerGrpcStatus, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { likeGrpcGo } from "./texts.ts";

const contentType = "application/grpc+proto";

/** The reason a stream's signal carries when the engine drains. */
export const drained: Error = new Error("The engine drains");
/** The reason a stream's signal carries when the engine dies. */
export const killed: Error = new Error("The engine was killed");
/** The reason a stream's signal carries when a fault ended it. */
const faulted: Error = new Error("A fault ended the stream");
/** The reason a stream's signal carries when the client left. */
const left: Error = new Error("The client left");

/** Where a handler finds the call it serves. */
export const callKey: ContextKey<Call | undefined> = createContextKey<Call | undefined>(undefined);

/**
 * One call on the wire. Headers leave with the first message and not before; an ending without a message is one frame,
 * Trailers-Only. Connect's own adapter writes two frames there, and its handlers cannot be ended from outside.
 */
export class Call {
  /** With its service: `Dispatcher/ListenV2`. */
  readonly method: string;
  readonly streaming: boolean;
  readonly authorization: string | undefined;
  /** What a drain ends the call with; OK without it. */
  drainError: ConnectError | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #left = new AbortController();
  readonly #closed: Promise<void>;
  #trailers: OutgoingHttpHeaders = {};
  #over = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, streaming: boolean) {
    this.method = String(headers[":path"]).slice(1);
    this.streaming = streaming;
    this.authorization = headers.authorization;
    this.#stream = stream;
    this.#headers = headers;
    stream.on("error", () => {
      // A stream that breaks also closes, and that is what is listened to.
    });
    stream.on("wantTrailers", () => {
      if (!stream.destroyed) stream.sendTrailers(this.#trailers);
      this.#giveUp();
    });
    this.#closed = new Promise((resolve) => stream.once("close", resolve));
    stream.once("aborted", () => this.#leave(left));
    stream.once("close", () => this.#leave(left));
  }

  /** Resolves when the stream is gone, however. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /** Lets Connect's handler answer; `beforeWrite` is awaited before everything that leaves. */
  async serve(handler: UniversalHandler, beforeWrite: () => Promise<void>): Promise<void> {
    const response = await handler({
      httpVersion: "2.0",
      method: String(this.#headers[":method"]),
      url: `http://engine/${this.method}`,
      header: webHeaders(this.#headers),
      body: this.#body(),
      signal: this.#left.signal,
      contextValues: createContextValues().set(callKey, this),
    });
    const body = response.body?.[Symbol.asyncIterator]();
    try {
      for (let chunk = await body?.next(); chunk !== undefined && chunk.done !== true; chunk = await body?.next()) {
        await beforeWrite();
        if (this.#over) return;
        this.#respond(response.status, response.header);
        await this.#write(chunk.value);
      }
      await beforeWrite();
      this.#finish(response.status, response.header, response.trailer);
    } finally {
      await body?.return?.();
    }
  }

  /** Ends the call from outside, OK or with an error; whoever serves it is told by its signal. */
  end(error?: ConnectError, reason: Error = faulted): void {
    if (this.#over) return;
    const trailer = new Headers({ [headerGrpcStatus]: grpcStatusOk });
    if (error !== undefined) setTrailerStatus(trailer, error);
    // First the reason: Bun calls a stream aborted that is answered before its request was read.
    this.#left.abort(reason);
    this.#finish(200, undefined, trailer);
  }

  /** Resets the stream with an HTTP/2 error code. */
  reset(code: number): void {
    this.#over = true;
    if ("bun" in process.versions) {
      // Bun's close() ends a stream that has not answered with an empty DATA frame, which is no HTTP/2.
      Object.assign(this.#stream, { rstCode: code });
      this.#stream.destroy(faulted);
    } else {
      this.#stream.close(code);
    }
    this.#leave(faulted);
  }

  /** The process dies: the handler is told, and nothing is written. */
  kill(): void {
    this.#over = true;
    this.#leave(killed);
  }

  #leave(reason: Error): void {
    this.#over = true;
    this.#left.abort(reason);
  }

  #respond(status: number, header: Headers | undefined): void {
    if (this.#stream.headersSent) return;
    this.#stream.respond({ ":status": status, ...nodeHeaders(header) }, { waitForTrailers: true });
  }

  #finish(status: number, header: Headers | undefined, trailer: Headers | undefined): void {
    if (this.#over || this.#stream.destroyed) return;
    this.#over = true;
    likeGrpcGo(trailer);
    this.#trailers = nodeHeaders(trailer);
    if (this.#stream.headersSent) {
      this.#stream.end();
    } else {
      const headers = { "content-type": contentType, ...nodeHeaders(header), ...this.#trailers };
      this.#stream.respond({ ":status": status, ...headers }, { endStream: true });
      this.#giveUp();
    }
  }

  /**
   * Gives a stream up whose answer is complete. What the client still uploads is read and dropped, or it would fill the
   * session's memory; and an open upload does not keep the stream, as grpc-go does not let it either.
   */
  #giveUp(): void {
    this.#stream.resume();
    setImmediate(() => {
      if (!this.#stream.readableEnded && !this.#stream.destroyed) this.#stream.close(0);
    });
  }

  /** Resolves when the transport has the bytes, or will never take them. */
  #write(chunk: Uint8Array): Promise<void> | undefined {
    const stream = this.#stream;
    if (stream.destroyed || stream.write(chunk)) return undefined;
    return new Promise((resolve) => {
      const done = () => {
        stream.off("drain", done).off("close", done);
        resolve();
      };
      stream.on("drain", done).on("close", done);
    });
  }

  /** Leaving early must not destroy the stream: the answer still goes out on it. */
  async *#body(): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.#stream.iterator({ destroyOnReturn: false })) yield chunk;
  }
}

function webHeaders(headers: IncomingHttpHeaders): Headers {
  const web = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(":") && value !== undefined) web.set(name, String(value));
  }
  // The engine answers in the encoding of the request.
  if (!web.has("grpc-encoding")) web.delete("grpc-accept-encoding");
  return web;
}

function nodeHeaders(headers: Headers | undefined): OutgoingHttpHeaders {
  return Object.fromEntries(headers ?? []);
}
