import type { DescMessage, DescMethodStreaming, DescMethodUnary, MessageShape } from "@bufbuild/protobuf";
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

/** A call as it was begun: the request that the interceptors get, whose headers and signal are made when one asks. */
export class Begun {
  readonly life: Life;
  readonly request: AnyRequest;
  #header: Headers | undefined;

  constructor(
    life: Life,
    matter: Matter,
    header: HeadersInit | undefined,
    contextValues: ContextValues = createContextValues(),
  ) {
    this.life = life;
    if (header !== undefined) this.#header = this.#headersOf(header);
    const ask = () => this.#header ??= this.#headersOf(undefined);
    const { message, method, stream, url } = matter;
    // Interceptors spread what they are given, so that its accessors must be its own.
    const request = {
      stream,
      service: method.parent,
      method,
      requestMethod: "POST",
      url,
      contextValues,
      message,
      get signal(): AbortSignal {
        return life.signal;
      },
      get header(): Headers {
        return ask();
      },
    };
    this.request = request as AnyRequest; // `stream` says which, here as in the matter.
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
