import { ConfigError } from "./errors.ts";
import type { Authorization } from "./root.ts";
import { redact, show } from "./show.ts";
import { fullJitter } from "./streams/backoff.ts";
import type { Clock } from "./streams/clock.ts";
import { after } from "./streams/clock.ts";
import { retryAfter } from "./streams/pushback.ts";
import { linked } from "./streams/signal.ts";

/** How long the headers of an answer may take where the caller sets no time, in milliseconds. */
const headersMs = 30_000;
/** The longest `retry-after` that is heeded, in milliseconds; a longer one is no advice for a call that is waited for. */
const longestAfterMs = 5000;
/** The largest answer that is taken, in bytes as they are once unpacked: no read of this API is near it. */
const largestBytes = 2 ** 25;
/** What a gateway answers while the server behind it is away or busy. */
const passing: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** How a request is made. */
export interface RestOptions {
  /** Ends the request and the waits; rejects with the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long everything may take, tries and body included, in milliseconds; then it rejects with a `TimeoutError`.
   *
   * @default 30_000 for each try's headers
   */
  readonly timeoutMs?: number | undefined;
  readonly headers?: HeadersInit | undefined;
}

/** A request with a method and a body of its own. */
export interface RestRequest extends RestOptions {
  /** @default "GET" */
  readonly method?: string | undefined;
  readonly body?: BodyInit | undefined;
}

/** What REST calls stand on. */
export interface RestSource {
  readonly serverUrl: string | undefined;
  readonly authorization: Authorization;
  /** Aborts when the client closes. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: () => number;
  /** How often a read is made at the most. */
  readonly attempts: number;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
}

/** The server answered a REST call with a status that is no success, or with more than is taken. */
export class RestError extends Error {
  override readonly name = "RestError";
  readonly status: number;
  /** The beginning of what it said, without anything in it that looks like a token. */
  readonly body: string;

  constructor(status: number, path: string, body: string) {
    super(`The server answered ${status} to ${path}${body === "" ? "" : `: ${body}`}`);
    this.status = status;
    this.body = body;
  }
}

/**
 * The REST API, with the client's credentials. Reads without a body are made again after what passes: a gateway's 502,
 * 503 and 504, 429, and a connection that was lost.
 */
export class Rest {
  readonly #source: RestSource;

  constructor(source: RestSource) {
    this.#source = source;
  }

  /**
   * Reads JSON.
   *
   * @throws RestError; SyntaxError when what comes is no JSON; ConfigError without a server URL; TypeError for a path
   * that leaves the server, and whatever `fetch` throws when the connection is lost at each try
   */
  async get(path: string, options: RestOptions = {}): Promise<unknown> {
    const response = await this.fetch(path, options);
    const text = await response.text();
    if (!response.ok) throw new RestError(response.status, path, redact(text.slice(0, 300)));
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw new SyntaxError(`What the server answered to ${show(path)} is no JSON`, { cause });
    }
  }

  /**
   * Makes any request; whatever the server answers in the end is an answer, and is here whole.
   *
   * @throws RestError for more than 32 MiB, or a status that HTTP does not have; else as {@link Rest.get}
   */
  async fetch(path: string, { body, headers, method = "GET", signal, timeoutMs }: RestRequest = {}): Promise<Response> {
    const { attempts, clock, random } = this.#source;
    const url = this.#url(path);
    if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs >= 0)) {
      throw new RangeError(`timeoutMs must be a number from 0, got ${show(timeoutMs)}`);
    }
    const life = linked(signal, this.#source.signal);
    const isRead = body === undefined && /^(GET|HEAD)$/i.test(method);
    const backoff = fullJitter({ baseMs: 250, capMs: 5000, random });
    if (timeoutMs !== undefined) after(clock, timeoutMs, life.signal, () => life.abort(timedOut()));
    try {
      for (let attempt = 1;; attempt++) {
        life.signal.throwIfAborted();
        const isLast = !isRead || attempt >= attempts;
        let askedMs: number | undefined;
        const init = {
          method,
          headers: await this.#headers(headers, life.signal),
          ...(body !== undefined && { body }),
        };
        try {
          const response = await this.#send(path, url, init, life.signal, timeoutMs === undefined);
          if (isLast || !passing.has(response.status)) return response;
          askedMs = heed(response, clock.now());
        } catch (error) {
          life.signal.throwIfAborted();
          if (isLast || error instanceof RestError) throw error;
        }
        await clock.sleep(askedMs ?? backoff(attempt), life.signal);
      }
    } finally {
      life.abort();
    }
  }

  /** One try; its headers must be here in time, its body may take as long as the caller lets it. */
  async #send(
    path: string,
    url: string,
    init: RequestInit,
    signal: AbortSignal,
    bounded: boolean,
  ): Promise<Response> {
    const { clock, fetch } = this.#source;
    const attempt = linked(signal);
    const waiting = linked(signal);
    if (bounded) after(clock, headersMs, waiting.signal, () => attempt.abort(timedOut()));
    try {
      const response = await fetch(url, { ...init, signal: attempt.signal });
      waiting.abort();
      const { headers, status } = response;
      if (status < 200 || status > 599) throw new RestError(status, path, ""); // No Response can be made of it.
      const bytes = await whole(response);
      if (bytes === undefined) throw new RestError(status, path, `more than ${largestBytes / 2 ** 20} MiB`);
      return new Response(bytes.length === 0 ? null : bytes, { headers, status, ...reason(response) });
    } finally {
      waiting.abort();
      attempt.abort();
    }
  }

  #url(path: string): string {
    const { serverUrl } = this.#source;
    if (serverUrl === undefined) {
      const setting = { option: "serverUrl", variable: "HATCHET_CLIENT_SERVER_URL" };
      throw new ConfigError(setting, "is missing, and the token names none: pass the option, or set the variable");
    }
    if (typeof path !== "string") throw new TypeError(`path must be a text, got ${show(path)}`);
    const url = URL.parse(path.replace(/^\/+/, ""), `${serverUrl}/`);
    // The token goes with every request, and must not go elsewhere.
    if (url !== null && `${url.href}/`.startsWith(`${serverUrl}/`)) return url.href;
    throw new TypeError(`path must stay on the server, got ${show(path)}`);
  }

  async #headers(own: HeadersInit | undefined, signal: AbortSignal): Promise<Headers> {
    const headers = new Headers(own);
    if (!headers.has("accept")) headers.set("accept", "application/json");
    headers.set("authorization", await this.#source.authorization(signal));
    return headers;
  }
}

/** All of a body; nothing when there is more of it than is taken. */
async function whole({ body }: Response): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  const reader = body?.getReader();
  for (let read = await reader?.read(); read?.value !== undefined; read = await reader?.read()) {
    chunks.push(read.value);
    size += read.value.length;
    if (size > largestBytes) return undefined;
  }
  const bytes = new Uint8Array(size);
  for (let chunk = chunks.pop(); chunk !== undefined; chunk = chunks.pop()) bytes.set(chunk, size -= chunk.length);
  return bytes;
}

/** A server may say there what no Response takes; the status says the same. */
function reason({ statusText }: Response): { readonly statusText?: string } {
  return /^[\t\x20-\x7e]*$/.test(statusText) ? { statusText } : {};
}

/** How long the server asks us to wait, if that is not too long. */
function heed(response: Response, nowMs: number): number | undefined {
  const askedMs = retryAfter(response.headers.get("retry-after"), nowMs);
  return askedMs === undefined || askedMs > longestAfterMs ? undefined : askedMs;
}

function timedOut(): DOMException {
  return new DOMException("The server did not answer in time", "TimeoutError");
}
