import type { Transport } from "@connectrpc/connect";
import type { Connection, Ready } from "../streams/gate.ts";
import type { TlsMaterial } from "./address.ts";
import type { CallingOptions } from "./channel.ts";
import { openChannel } from "./channel.ts";

/** Where a transport leads, and how. Only `baseUrl` is required. */
export interface TransportOptions extends CallingOptions {
  /** `http://host:port` speaks HTTP/2 in plaintext, `https://host` over TLS; a path goes before that of each method. */
  readonly baseUrl: string | URL;
  /** Whom to trust, and who we are. @default the runtime's authorities, and nobody */
  readonly tls?: TlsMaterial | undefined;
}

/** A transport with a life: connections that notice when their peer is gone. */
export interface GrpcTransport extends Transport, AsyncDisposable {
  /** Dials if need be, and resolves when a request can be written: `ready` of `reconnect()`. */
  readonly ready: Ready;
  /** The live connection, if there is one. */
  readonly connection: Connection | undefined;
  /** Ends every call, which throws StreamError `closed` then; resolves when no socket is left. Idempotent. */
  close(): Promise<void>;
}

/**
 * A gRPC transport for Connect's clients, on Node, Deno and Bun. It dials at the first call, keeps one connection for all
 * calls and replaces it when it is lost or asked to go, pings its peer, and holds no process alive while no call is open.
 *
 * A message's fields of bytes are views of what the wire brought, up to a few hundred kilobytes of it: copy what you keep.
 *
 * @throws TypeError or RangeError at once, when an option makes no sense
 *
 * @example
 * ```ts
 * const transport = createTransport({ baseUrl: "http://127.0.0.1:7070" });
 * const client = createClient(Greeter, transport);
 * console.log(await client.greet({ name: "Ada" }));
 * await transport.close();
 * ```
 */
export function createTransport(options: TransportOptions): GrpcTransport {
  const { baseUrl, tls, ...calling } = options;
  const url = new URL(baseUrl);
  const { hostname, protocol } = url;
  if (protocol !== "http:" && protocol !== "https:") {
    throw new TypeError(`baseUrl must begin with http:// or https://, got ${url.href}`);
  }
  if (protocol === "http:" && tls !== undefined) throw new TypeError(`tls makes no sense with ${url.origin}`);
  const address = {
    host: hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? { "http:": 80, "https:": 443 }[protocol] : Number(url.port),
  };
  const channel = openChannel({
    ...calling,
    baseUrl: url.origin + url.pathname,
    address: () => Promise.resolve(address),
    tls: protocol === "https:" ? () => Promise.resolve(tls ?? {}) : undefined,
  });
  const { transport } = channel;
  return {
    unary: (...call) => transport.unary(...call),
    stream: (...call) => transport.stream(...call),
    ready: channel.ready,
    get connection() {
      return channel.connection;
    },
    close: () => channel.close(),
    [Symbol.asyncDispose]: () => channel.close(),
  };
}
