import type { BinaryReadOptions, BinaryWriteOptions } from "@bufbuild/protobuf";
import type { Interceptor, Transport } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { positive } from "../streams/check.ts";
import type { Clock } from "../streams/clock.ts";
import { systemClock } from "../streams/clock.ts";
import type { Connection, Ready } from "../streams/gate.ts";
import type { Address, TlsMaterial } from "./address.ts";
import { Dialer } from "./dialer.ts";
import { Grpc } from "./grpc.ts";
import { gzip } from "./gzip.ts";
import { Sessions } from "./sessions.ts";

export type { Address, TlsMaterial } from "./address.ts";

/** How connections are kept and calls are made. Every key is optional; those that Connect has too have its names. */
export interface CallingOptions {
  /** Called around every call, the first outermost; the connection is dialed inside the last. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** How often the peer is asked whether it lives, with or without calls. @default 10_000 */
  readonly pingIntervalMs?: number | undefined;
  /** How long the peer may be silent after that. @default 5000 */
  readonly pingTimeoutMs?: number | undefined;
  /** How long a dial for a call may take until the peer's SETTINGS are here. @default 5000 */
  readonly connectTimeoutMs?: number | undefined;
  /** How long a call may take that says nothing about it. @default as long as it takes */
  readonly defaultTimeoutMs?: number | undefined;
  /** How many bytes may be on the way to us, per stream and per connection alike. @default 1 MiB */
  readonly windowBytes?: number | undefined;
  /** The largest message to read. @default 4 MiB */
  readonly readMaxBytes?: number | undefined;
  /** The largest message to send; a larger one fails before it is sent. @default 4 MiB */
  readonly writeMaxBytes?: number | undefined;
  /** What the peer may compress with, the first preferred. @default gzip */
  readonly acceptCompression?: readonly Compression[] | undefined;
  /** What requests are compressed with. @default nothing */
  readonly sendCompression?: Compression | undefined;
  /** Smaller requests are sent as they are. @default 1024 */
  readonly compressMinBytes?: number | undefined;
  /** How messages are encoded and decoded. */
  readonly binaryOptions?: Partial<BinaryReadOptions & BinaryWriteOptions> | undefined;
  /** Time. @default the runtime's */
  readonly clock?: Clock | undefined;
}

/** Where a channel leads. Only `address` is required. */
export interface ChannelOptions extends CallingOptions {
  /** Asked at every dial. What it throws is the caller's error. */
  readonly address: () => Promise<Address>;
  /** Asked at the first dial, and again until it answers. What it throws is the caller's error. @default plaintext */
  readonly tls?: (() => Promise<TlsMaterial>) | undefined;
  /** What calls are made to, as interceptors see it. @default a name that leads nowhere, for the address is asked */
  readonly baseUrl?: string | undefined;
}

/** Calls to one place over one connection at a time. */
export interface Channel {
  /** For `createClient()` of Connect; a call dials if need be, and throws StreamError `closed` after `close()`. */
  readonly transport: Transport;
  /** Dials if need be, once for all who ask, and resolves when a request can be written. */
  readonly ready: Ready;
  /** Waits for a live connection without ever dialing; resolves at once, with nothing, where nothing can tell. */
  up(signal: AbortSignal): Promise<Connection | undefined>;
  /** The live connection: the one that takes new calls. */
  readonly connection: Connection | undefined;
  /** Ends every call; resolves when no socket is left. Idempotent. */
  close(): Promise<void>;
}

/**
 * gRPC over HTTP/2, on connections that notice when their peer is gone. Nothing is opened before the first call.
 *
 * @throws RangeError when an option makes no sense
 */
export function openChannel(options: ChannelOptions): Channel {
  const { address, baseUrl = "http://channel.invalid", clock = systemClock, tls } = options;
  const { pingIntervalMs = 10_000, pingTimeoutMs = 5000, connectTimeoutMs = 5000 } = options;
  const { windowBytes = 2 ** 20, readMaxBytes = 4 * 2 ** 20, writeMaxBytes = 4 * 2 ** 20 } = options;
  const numbers = { pingIntervalMs, pingTimeoutMs, connectTimeoutMs, windowBytes, readMaxBytes, writeMaxBytes };
  for (const [name, value] of Object.entries(numbers)) positive(name, value);

  const dialer = new Dialer({ address, clock, tls, windowBytes });
  const sessions = new Sessions({ clock, connectTimeoutMs, dialer, pingIntervalMs, pingTimeoutMs });
  const transport = new Grpc(sessions, {
    acceptCompression: options.acceptCompression ?? [gzip],
    baseUrl,
    binaryOptions: options.binaryOptions,
    clock,
    compressMinBytes: options.compressMinBytes ?? 1024,
    connectTimeoutMs,
    defaultTimeoutMs: options.defaultTimeoutMs,
    interceptors: options.interceptors ?? [],
    readMaxBytes,
    sendCompression: options.sendCompression,
    writeMaxBytes,
  });
  return {
    transport,
    ready: sessions.ready,
    up: (signal) => sessions.up(signal),
    get connection() {
      return sessions.connection;
    },
    close: () => sessions.close(),
  };
}
