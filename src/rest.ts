import { ConfigError } from "./errors.ts";
import type { Authorization } from "./root.ts";
import { fullJitter } from "./streams/backoff.ts";
import type { Clock } from "./streams/clock.ts";
import { after } from "./streams/clock.ts";
import { retryAfter } from "./streams/pushback.ts";
import { linked } from "./streams/signal.ts";

/** How long the headers of an answer may take where the caller sets no time, in milliseconds. */
const headersMs = 30_000;
/** The longest `retry-after` that is heeded, in milliseconds; a longer one is no advice for a call that is waited for. */
const longestAfterMs = 5000;
/** What a gateway answers while the server behind it is away or busy. */
const passing: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** How a request is made. */
export interface RestOptions {
  /** Ends the request and the waits; rejects with the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
  /** How long everything may take, tries and body included, in milliseconds. @default 30_000 for each try's headers */
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

/** The server answered a REST call with a status that is no success. */
export class RestError extends Error {
  override readonly name = "RestError";
  readonly status: number;
  /** The beginning of what it said. */
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
   * @throws RestError, ConfigError without a server URL, TypeError for a path that leaves the server
   */
  async get(path: string, options: RestOptions = {}): Promise<unknown> {
    const response = await this.fetch(path, options);
    if (!response.ok) throw new RestError(response.status, path, (await response.text()).slice(0, 300));
    return await response.json();
  }

  /** Makes any request; whatever the server answers in the end is an answer, and is here whole. */
  async fetch(path: string, { body, headers, method = "GET", signal, timeoutMs }: RestRequest = {}): Promise<Response> {
    const { attempts, clock, random } = this.#source;
    const url = this.#url(path);
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
          const response = await this.#send(url, init, life.signal, timeoutMs === undefined);
          if (isLast || !passing.has(response.status)) return response;
          askedMs = heed(response, clock.now());
        } catch (error) {
          life.signal.throwIfAborted();
          if (isLast) throw error;
        }
        await clock.sleep(askedMs ?? backoff(attempt), life.signal);
      }
    } finally {
      life.abort();
    }
  }

  /** One try; its headers must be here in time, its body may take as long as the caller lets it. */
  async #send(url: string, init: RequestInit, signal: AbortSignal, bounded: boolean): Promise<Response> {
    const { clock, fetch } = this.#source;
    const attempt = linked(signal);
    const waiting = linked(signal);
    if (bounded) after(clock, headersMs, waiting.signal, () => attempt.abort(timedOut()));
    try {
      const response = await fetch(url, { ...init, signal: attempt.signal });
      waiting.abort();
      const bytes = await response.arrayBuffer();
      const { headers, status, statusText } = response;
      return new Response(bytes.byteLength === 0 ? null : bytes, { headers, status, statusText });
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
    const url = new URL(path.replace(/^\/+/, ""), `${serverUrl}/`);
    // The token goes with every request, and must not go elsewhere.
    if (`${url.href}/`.startsWith(`${serverUrl}/`)) return url.href;
    throw new TypeError(`path must stay on the server, got ${JSON.stringify(path)}`);
  }

  async #headers(own: HeadersInit | undefined, signal: AbortSignal): Promise<Headers> {
    const headers = new Headers(own);
    if (!headers.has("accept")) headers.set("accept", "application/json");
    headers.set("authorization", await this.#source.authorization(signal));
    return headers;
  }
}

/** How long the server asks us to wait, if that is not too long. */
function heed(response: Response, nowMs: number): number | undefined {
  const askedMs = retryAfter(response.headers.get("retry-after"), nowMs);
  return askedMs === undefined || askedMs > longestAfterMs ? undefined : askedMs;
}

function timedOut(): DOMException {
  return new DOMException("The server did not answer in time", "TimeoutError");
}
