import type { BinaryReadOptions, BinaryWriteOptions, DescMessage, DescMethod } from "@bufbuild/protobuf";
import type { DescMethodStreaming, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { ContextValues, Interceptor, Transport } from "@connectrpc/connect";
import type { StreamRequest, StreamResponse, UnaryRequest, UnaryResponse } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import type { Clock } from "../streams/clock.ts";
import { linked, onAbort } from "../streams/signal.ts";
import type { AnyRequest, Matter, Said } from "./begun.ts";
import { Begun } from "./begun.ts";
import type { Reading } from "./call.ts";
import { Call } from "./call.ts";
import { asError, Life } from "./life.ts";
import type { Writing } from "./request.ts";
import { encode, Input, write } from "./request.ts";
import type { Session } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { Targets } from "./targets.ts";

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
  readonly #reading: Reading;
  readonly #writing: Writing;
  readonly #targets: Targets;
  /** What answers may be packed with, as it is sent. */
  readonly #accepted: string;

  constructor(sessions: Sessions, options: GrpcOptions) {
    const { acceptCompression, baseUrl, binaryOptions: binary, readMaxBytes } = options;
    const { compressMinBytes, sendCompression: compression, writeMaxBytes } = options;
    this.#sessions = sessions;
    this.#options = options;
    this.#targets = new Targets(baseUrl);
    this.#accepted = acceptCompression.map(({ name }) => name).join();
    this.#reading = { binary, compressions: acceptCompression, maxBytes: readMaxBytes };
    this.#writing = { binary, compressMinBytes, compression, maxBytes: writeMaxBytes };
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
    const message = create(method.input, input);
    const { url } = this.#targets.of(method);
    const response = await this.#run(life, { method, message, stream: false, url }, { header, contextValues });
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
    const message = new Input(method.input, input);
    // However it ends, and the caller's own iterable: what interceptors put around it may be deaf while it waits.
    life.watch((error) => void message.release(error));
    const { url } = this.#targets.of(method);
    const response = await this.#run(life, { method, message, stream: true, url }, { header, contextValues });
    return response as StreamResponse<I, O>; // The answer to this method.
  }

  /** @throws StreamError `closed` */
  #live(signal: AbortSignal | undefined, timeoutMs = this.#options.defaultTimeoutMs): Life {
    this.#sessions.assertOpen();
    return new Life(this.#options.clock, signal, timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined);
  }

  async #run(life: Life, matter: Matter, said: Said): Promise<AnyResponse> {
    const { interceptors } = this.#options;
    const begun = new Begun(life, matter, said, interceptors.length > 0);
    let next = (last: AnyRequest): Promise<AnyResponse> =>
      last.stream ? this.#stream(begun, last) : this.#unary(begun, last);
    for (const interceptor of interceptors.toReversed()) next = interceptor(next);
    try {
      return await next(begun.request);
    } catch (thrown) {
      const error = life.failure(thrown);
      life.end(error);
      throw error;
    }
  }

  async #unary(begun: Begun, request: UnaryRequest): Promise<UnaryResponse> {
    const { message, method } = request;
    const framed = this.#encode(method, message);
    const bytes = framed instanceof Uint8Array ? framed : await framed;
    const session = this.#sessions.connection ?? await this.#dial(begun, request);
    const { call, http2 } = this.#open(session, begun, request, () => {
      // The interceptors have it now; the life ends behind them.
    });
    http2.end(bytes);
    const only = await call.messages.next();
    if (only.done === true) throw misanswered("missing output message");
    const extra = await call.messages.next();
    if (extra.done !== true) throw misanswered("received extra output message");
    return answer(false, method, only.value, call);
  }

  async #stream(begun: Begun, request: StreamRequest): Promise<StreamResponse> {
    const { life } = begun;
    const { message: input, method } = request;
    // One message goes with the headers and the end, in one write.
    const single = method.methodKind === "server_streaming";
    const whole = single ? await life.during(this.#gather(method, input)) : undefined;
    const session = this.#sessions.connection ?? await this.#dial(begun, request);
    const { call, http2 } = this.#open(session, begun, request, (error, answered) => {
      if (answered) life.end(error); // An interceptor may make a call again that failed before.
    });
    if (whole === undefined) {
      void write(input[Symbol.asyncIterator](), (message) => this.#encode(method, message), http2, call);
    }
    for (const frame of whole?.slice(0, -1) ?? []) http2.write(frame);
    if (whole !== undefined) http2.end(whole.at(-1));
    await call.opened();
    return answer(true, method, call.messages, call);
  }

  /** All of a request that is sent before its answer begins. */
  async #gather(method: DescMethod, messages: AsyncIterable<MessageShape<DescMessage>>): Promise<Uint8Array[]> {
    const frames: Uint8Array[] = [];
    for await (const message of messages) frames.push(await this.#encode(method, message));
    return frames;
  }

  /** Opens the stream of a call: at once, for a call that finds all it needs waits for nothing but its answer. */
  #open(session: Session, begun: Begun, request: AnyRequest, settled: Settled): Opened {
    const { life } = begun;
    const foreign = begun.foreignSignal(request);
    // It may have been left in the very turn in which the dial was done.
    life.assert();
    foreign?.throwIfAborted();
    const http2 = session.request(this.#headers(begun, request));
    const call = new Call(request.method.output, this.#reading, session, http2, {
      expired: () => life.expired(),
      settled: (error) => {
        leave();
        leaveForeign?.();
        settled(error, call.begun);
      },
    });
    const leave = life.watch((error) => call.abort(error ?? new ConnectError("The call is over", Code.Canceled)));
    const leaveForeign = foreign && onAbort(foreign, () => call.abort(asError(foreign.reason, Code.Canceled)));
    return { call, http2 };
  }

  async #dial(begun: Begun, request: AnyRequest): Promise<Session> {
    const either = linked(begun.signal, begun.foreignSignal(request));
    try {
      return await this.#sessions.ready(either.signal, this.#options.connectTimeoutMs);
    } finally {
      either.release();
    }
  }

  #headers(begun: Begun, request: AnyRequest): OutgoingHttpHeaders {
    const { sendCompression } = this.#options;
    const headers: OutgoingHttpHeaders = {
      ":method": "POST",
      ":path": this.#targets.path(request),
      "user-agent": userAgent,
    };
    begun.addTo(headers, request);
    headers["content-type"] = "application/grpc+proto";
    headers["te"] = "trailers"; // Finds proxies that would drop them.
    if (sendCompression !== undefined) headers["grpc-encoding"] = sendCompression.name;
    if (this.#accepted !== "") headers["grpc-accept-encoding"] = this.#accepted;
    return headers;
  }

  #encode({ input }: DescMethod, message: MessageShape<DescMessage>): Uint8Array | Promise<Uint8Array> {
    return encode(input, message, this.#writing);
  }
}

/** Called once, when the last message was read, or none will be; says whether headers came before. */
type Settled = (error: unknown, answered: boolean) => void;

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
