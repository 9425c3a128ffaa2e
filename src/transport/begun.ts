import type { DescMessage, DescMethod, DescMethodStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import type { DescService, MessageShape } from "@bufbuild/protobuf";
import type { ContextValues, StreamRequest, UnaryRequest } from "@connectrpc/connect";
import { createContextValues } from "@connectrpc/connect";
import type { OutgoingHttpHeaders } from "node:http2";
import type { Life } from "./life.ts";

export type AnyRequest = UnaryRequest | StreamRequest;

/** What a request is about. */
export type Matter =
  & { readonly url: string }
  & (
    | { readonly stream: false; readonly method: DescMethodUnary; readonly message: MessageShape<DescMessage> }
    | {
      readonly stream: true;
      readonly method: DescMethodStreaming;
      readonly message: AsyncIterable<MessageShape<DescMessage>>;
    }
  );

/** What the caller says about a call beside the message. */
export interface Said {
  readonly header: HeadersInit | undefined;
  readonly contextValues: ContextValues | undefined;
}

/** A call as it was begun, and its request, whose headers, signal and context are made when one asks. */
export class Begun {
  readonly life: Life;
  readonly stream: boolean;
  readonly method: DescMethod;
  readonly service: DescService;
  readonly requestMethod = "POST";
  readonly url: string;
  readonly message: Matter["message"];
  /** What is passed on: this itself, or, where somebody may spread it, what can be spread. */
  readonly request: AnyRequest;
  #header: Headers | undefined;
  #contextValues: ContextValues | undefined;

  constructor(life: Life, matter: Matter, said: Said, intercepted: boolean) {
    this.life = life;
    this.stream = matter.stream;
    this.method = matter.method;
    this.service = matter.method.parent;
    this.url = matter.url;
    this.message = matter.message;
    this.#contextValues = said.contextValues;
    if (said.header !== undefined) this.#header = this.#headersOf(said.header);
    this.request = (intercepted ? spreadable(this) : this) as AnyRequest; // `stream` says which, here as in the matter.
  }

  get signal(): AbortSignal {
    return this.life.signal;
  }

  get header(): Headers {
    return this.#header ??= this.#headersOf(undefined);
  }

  get contextValues(): ContextValues {
    return this.#contextValues ??= createContextValues();
  }

  /** The signal that an interceptor has put in the place of ours, if one has. */
  foreignSignal(request: AnyRequest): AbortSignal | undefined {
    return request === this.request || request.signal === this.life.signal ? undefined : request.signal;
  }

  /** Adds what the caller and the interceptors say; most say nothing. */
  addTo(headers: OutgoingHttpHeaders, request: AnyRequest): void {
    const { timeoutMs } = this.life;
    const header = request === this.request ? this.#header : request.header;
    if (header !== undefined) { for (const [name, value] of header) headers[name] = value; }
    else if (timeoutMs !== undefined) headers["grpc-timeout"] = timeoutOf(timeoutMs);
  }

  #headersOf(header: HeadersInit | undefined): Headers {
    const { timeoutMs } = this.life;
    const headers = new Headers(header);
    if (timeoutMs !== undefined) headers.set("grpc-timeout", timeoutOf(timeoutMs));
    return headers;
  }
}

/** At most eight digits and a unit: a long time is told in seconds. */
function timeoutOf(ms: number): string {
  return Math.ceil(ms) < 1e8 ? `${Math.ceil(ms)}m` : `${Math.min(Math.ceil(ms / 1000), 1e8 - 1)}S`;
}

/** Interceptors spread what they are given, so that its accessors must be its own: too dear for a call that has none. */
function spreadable(begun: Begun) {
  const { contextValues, message, method, requestMethod, service, stream, url } = begun;
  return {
    stream,
    service,
    method,
    requestMethod,
    url,
    contextValues,
    message,
    get signal(): AbortSignal {
      return begun.signal;
    },
    get header(): Headers {
      return begun.header;
    },
  };
}
