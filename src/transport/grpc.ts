import type { BinaryReadOptions, BinaryWriteOptions, DescMessage, DescMethod } from "@bufbuild/protobuf";
import type { DescMethodStreaming, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { ContextValues, Interceptor, Transport } from "@connectrpc/connect";
import type { StreamRequest, StreamResponse, UnaryRequest, UnaryResponse } from "@connectrpc/connect";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import type { Clock } from "../streams/clock.ts";
import { linked, onAbort, unlessAborted } from "../streams/signal.ts";
import { Call } from "./call.ts";
import { asError, Life } from "./life.ts";
import type { Writing } from "./request.ts";
import { encode, Input, write } from "./request.ts";
import type { Sessions } from "./sessions.ts";

/** How calls are made, with every default in its place. */
export interface GrpcOptions {
  /** What calls are made to, as interceptors see it; its path goes before each method's. */
  readonly baseUrl: string;
  readonly clock: Clock;
  /** How long a dial for a call may take. */
  readonly connectTimeoutMs: number;
  /** The first is the outermost. */
  readonly interceptors: readonly Interceptor[];
  readonly acceptCompression: readonly Compression[];
  readonly sendCompression: Compression | undefined;
  readonly compressMinBytes: number;
  readonly readMaxBytes: number;
  readonly writeMaxBytes: number;
  readonly defaultTimeoutMs: number | undefined;
  readonly binaryOptions: Partial<BinaryReadOptions & BinaryWriteOptions> | undefined;
}

type AnyRequest = UnaryRequest | StreamRequest;
type AnyResponse = UnaryResponse | StreamResponse;

/** Who calls, as servers see it. */
const userAgent = "grpc-es-coppice/0.1.0";

/**
 * gRPC on the sessions of one channel, as a transport of Connect's. Here is what a call costs once; what each of its
 * messages costs is in `frames.ts` and `messages.ts`.
 */
export class Grpc implements Transport {
  readonly #sessions: Sessions;
  readonly #options: GrpcOptions;
  readonly #base: string;
  readonly #origin: string;
  readonly #writing: Writing;

  constructor(sessions: Sessions, options: GrpcOptions) {
    const { baseUrl, binaryOptions, compressMinBytes, sendCompression, writeMaxBytes } = options;
    this.#sessions = sessions;
    this.#options = options;
    this.#base = baseUrl.replace(/\/$/, "");
    this.#origin = new URL(baseUrl).origin;
    this.#writing = { binary: binaryOptions, compressMinBytes, compression: sendCompression, maxBytes: writeMaxBytes };
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: MessageInitShape<I>,
    contextValues?: ContextValues,
  ): Promise<UnaryResponse<I, O>> {
    const life = this.#live(signal, timeoutMs);
    const common = this.#request(method, life, header, contextValues);
    const response = await this.#run(life, { ...common, method, stream: false, message: create(method.input, input) });
    life.end();
    return response as UnaryResponse<I, O>; // The answer to this method.
  }

  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: AsyncIterable<MessageInitShape<I>>,
    contextValues?: ContextValues,
  ): Promise<StreamResponse<I, O>> {
    const life = this.#live(signal, timeoutMs);
    const common = this.#request(method, life, header, contextValues);
    const message = new Input(method.input, input);
    // However it ends, and the caller's own iterable: what interceptors put around it may be deaf while it waits.
    onAbort(life.signal, () => void message.release(life.outcome));
    const response = await this.#run(life, { ...common, method, stream: true, message });
    return response as StreamResponse<I, O>; // The answer to this method.
  }

  /** @throws StreamError `closed` */
  #live(signal: AbortSignal | undefined, timeoutMs = this.#options.defaultTimeoutMs): Life {
    this.#sessions.assertOpen();
    return new Life(this.#options.clock, signal, timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined);
  }

  #request(
    { name, parent }: DescMethod,
    { signal, timeoutMs }: Life,
    header: HeadersInit | undefined,
    contextValues: ContextValues = createContextValues(),
  ): Omit<UnaryRequest, "stream" | "method" | "message"> {
    const headers = new Headers(header);
    if (timeoutMs !== undefined) headers.set("grpc-timeout", timeoutOf(timeoutMs));
    const url = `${this.#base}/${parent.typeName}/${name}`;
    return { service: parent, requestMethod: "POST", url, signal, header: headers, contextValues };
  }

  async #run(life: Life, request: AnyRequest): Promise<AnyResponse> {
    let next = (last: AnyRequest): Promise<AnyResponse> =>
      last.stream ? this.#stream(life, last) : this.#unary(life, last);
    for (const interceptor of this.#options.interceptors.toReversed()) next = interceptor(next);
    try {
      return await next(request);
    } catch (thrown) {
      const error = life.failure(thrown);
      life.end(error);
      throw error;
    }
  }

  async #unary(life: Life, request: UnaryRequest): Promise<UnaryResponse> {
    const { message, method } = request;
    const bytes = await this.#encode(method, message);
    const { call, http2 } = await this.#open(life, request, () => {
      // The interceptors have it now; the life ends behind them.
    });
    http2.end(bytes);
    await call.opened;
    const only = await call.messages.next();
    if (only.done === true) throw misanswered("missing output message");
    const extra = await call.messages.next();
    if (extra.done !== true) throw misanswered("received extra output message");
    return answer(false, method, only.value, call);
  }

  async #stream(life: Life, request: StreamRequest): Promise<StreamResponse> {
    const { message: input, method } = request;
    // One message goes with the headers and the end, in one write.
    const single = method.methodKind === "server_streaming";
    const whole = single ? await unlessAborted(this.#gather(method, input), life.signal) : undefined;
    const { call, http2 } = await this.#open(life, request, (error) => {
      if (call.begun) life.end(error); // An interceptor may make a call again that failed before.
    });
    if (whole === undefined) {
      void write(input[Symbol.asyncIterator](), (message) => this.#encode(method, message), http2, call);
    }
    for (const frame of whole?.slice(0, -1) ?? []) http2.write(frame);
    if (whole !== undefined) http2.end(whole.at(-1));
    await call.opened;
    return answer(true, method, call.messages, call);
  }

  /** All of a request that is sent before its answer begins. */
  async #gather(method: DescMethod, messages: AsyncIterable<MessageShape<DescMessage>>): Promise<Uint8Array[]> {
    const frames: Uint8Array[] = [];
    for await (const message of messages) frames.push(await this.#encode(method, message));
    return frames;
  }

  /** Opens the stream of a call. `settled` is called once, when the last of its messages was read, or none will be. */
  async #open(life: Life, request: AnyRequest, settled: (error: unknown) => void): Promise<Opened> {
    const { acceptCompression, binaryOptions, connectTimeoutMs, readMaxBytes } = this.#options;
    // An interceptor may have put a signal of its own in the place of ours.
    const own = request.signal === life.signal ? undefined : linked(life.signal, request.signal);
    const signal = own?.signal ?? life.signal;
    try {
      signal.throwIfAborted();
      const session = this.#sessions.connection ?? await this.#sessions.ready(signal, connectTimeoutMs);
      // It may have been left in the very turn in which the dial was done.
      signal.throwIfAborted();
      const http2 = session.request(this.#headers(request));
      const reading = { binary: binaryOptions, compressions: acceptCompression, maxBytes: readMaxBytes };
      const call = new Call(request.method.output, reading, session, http2, {
        expired: () => life.expired(),
        settled: (error) => {
          leave();
          own?.release();
          settled(error);
        },
      });
      const leave = onAbort(signal, () => call.abort(asError(signal.reason, Code.Canceled)));
      return { call, http2 };
    } catch (error) {
      own?.release();
      throw error;
    }
  }

  #headers({ header, url }: AnyRequest): OutgoingHttpHeaders {
    const { acceptCompression, sendCompression } = this.#options;
    const headers: OutgoingHttpHeaders = { ":method": "POST", ":path": this.#path(url), "user-agent": userAgent };
    for (const [name, value] of header) headers[name] = value;
    headers["content-type"] = "application/grpc+proto";
    headers["te"] = "trailers"; // Finds proxies that would drop them.
    if (sendCompression !== undefined) headers["grpc-encoding"] = sendCompression.name;
    if (acceptCompression.length > 0) {
      headers["grpc-accept-encoding"] = acceptCompression.map(({ name }) => name).join();
    }
    return headers;
  }

  #path(url: string): string {
    const { origin, pathname, search } = new URL(url);
    if (origin === this.#origin) return pathname + search;
    throw new ConnectError(`cannot make a request to ${origin}: the channel leads to ${this.#origin}`, Code.Internal);
  }

  #encode({ input }: DescMethod, message: MessageShape<DescMessage>): Uint8Array | Promise<Uint8Array> {
    return encode(input, message, this.#writing);
  }
}

interface Opened {
  readonly call: Call<DescMessage>;
  readonly http2: ClientHttp2Stream;
}

/** Interceptors spread what they are given, so that its accessors must be its own. */
function answer<S extends boolean, M extends DescMethod, T>(stream: S, method: M, message: T, call: Call<DescMessage>) {
  return {
    stream,
    service: method.parent,
    method,
    message,
    get header(): Headers {
      return call.header;
    },
    get trailer(): Headers {
      return call.trailer;
    },
  };
}

function misanswered(what: string): ConnectError {
  return new ConnectError(`protocol error: ${what} for unary method`, Code.Unimplemented);
}

/** At most eight digits and a unit: a long time is told in seconds. */
function timeoutOf(ms: number): string {
  return ms <= 1e8 - 1 ? `${Math.ceil(ms)}m` : `${Math.min(Math.ceil(ms / 1000), 1e8 - 1)}S`;
}
