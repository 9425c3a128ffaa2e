import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { Code, ConnectError, type ConnectRouter, createConnectRouter, type Interceptor } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import type { Clock } from "../../streams/clock.ts";
import { Call, drained } from "./call.ts";
import { keepAlive, type PingTiming, strike } from "./keepalive.ts";
import { names } from "./method.ts";

/** PEM texts; with `ca` clients must show a certificate of it. */
export interface ServerTls {
  readonly key: string | Uint8Array;
  readonly cert: string | Uint8Array;
  readonly ca?: string | Uint8Array;
}

export interface ServerOptions {
  readonly tls: ServerTls | undefined;
  readonly maxMessageBytes: number;
  readonly clock: Clock;
  readonly timing: PingTiming;
  readonly routes: (router: ConnectRouter) => void;
  /** Decides about a call that arrived; serves it or ends it. */
  readonly accept: (call: Call, handler: UniversalHandler) => Promise<void>;
}

const windowBytes = 10 * 1024 * 1024;

/** A gRPC server over node:http2 that can drain and die. */
export class Server {
  readonly #options: ServerOptions;
  readonly #handlers: ReadonlyMap<string, UniversalHandler>;
  readonly #calls = new Set<Call>();
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  #http: Http2Server | Http2SecureServer | undefined;
  #draining = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { maxMessageBytes, routes } = options;
    const router = createConnectRouter({
      connect: false,
      grpcWeb: false,
      readMaxBytes: maxMessageBytes,
      acceptCompression: [compressionGzip],
      interceptors: [hideErrors],
    });
    routes(router);
    this.#handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  }

  /** Listens on loopback and resolves with the port. */
  async listen(port: number): Promise<number> {
    const settings = { initialWindowSize: windowBytes };
    const { tls } = this.#options;
    const http = tls === undefined ? createServer({ settings, maxSessionMemory: 1000 }) : createSecureServer({
      settings,
      maxSessionMemory: 1000,
      key: text(tls.key),
      cert: text(tls.cert),
      ...(tls.ca === undefined ? {} : { ca: text(tls.ca), requestCert: true, rejectUnauthorized: true }),
    });
    http.on("connection", (socket: Socket) => this.#track(this.#sockets, socket));
    http.on("session", (session: ServerHttp2Session) => this.#greet(session));
    http.on("sessionError", () => {
      // A broken session closes, and its streams with it.
    });
    http.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => this.#open(stream, headers));
    await new Promise<void>((resolve, reject) => {
      http.once("error", reject);
      http.listen(port, "127.0.0.1", resolve);
    });
    this.#http = http;
    this.#draining = false;
    return (http.address() as AddressInfo).port; // A TCP server that listens has no other kind of address.
  }

  /** The open streams, of one method or all; unary calls are none. */
  streams(method?: string): Call[] {
    return [...this.#calls].filter((call) => call.streaming && (method === undefined || names(method, call.method)));
  }

  goAway(code: number): void {
    for (const session of this.#sessions) if (!session.destroyed) session.goaway(code);
  }

  /** Ends every stream OK, says goodbye to every connection, refuses new ones; waits for unary calls, but not long. */
  async drain(late: Promise<unknown>): Promise<void> {
    this.#draining = true;
    for (const call of this.streams()) call.end(call.drainError, drained);
    this.#http?.close();
    // A session that is closed says GOAWAY 0, and lets its calls end and its last bytes out.
    const gone = [...this.#sessions].map((session) =>
      new Promise<void>((resolve) => session.once("close", resolve).close())
    );
    await Promise.race([Promise.all(gone), late]);
    await this.kill();
  }

  /** Cuts every connection and closes the port, at once. */
  async kill(): Promise<void> {
    const http = this.#http;
    this.#http = undefined;
    for (const call of this.#calls) call.kill();
    // Sockets first: a process that dies says no goodbye, a session that is destroyed does.
    for (const socket of this.#sockets) socket.destroy();
    for (const session of this.#sessions) session.destroy();
    if (http?.listening) await new Promise<void>((resolve) => http.close(() => resolve()));
  }

  #greet(session: ServerHttp2Session): void {
    this.#track(this.#sessions, session);
    session.on("error", () => {
      // A broken session closes, and its streams with it.
    });
    session.setLocalWindowSize?.(windowBytes);
    const { clock, timing } = this.#options;
    void keepAlive(session, clock, timing);
    if (timing.minPingMs > 0) strike(session, timing.minPingMs);
  }

  #open(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const path = String(headers[":path"]);
    const handler = this.#handlers.get(path);
    const call = new Call(stream, headers, handler !== undefined && handler.method.methodKind !== "unary");
    this.#calls.add(call);
    void call.closed.then(() => this.#calls.delete(call));
    if (handler === undefined) {
      const [, service, method] = path.split("/");
      const known = [...this.#handlers.values()].some((it) => it.service.typeName === service);
      const text = known ? `unknown method ${method} for service ${service}` : `unknown service ${service}`;
      return call.end(new ConnectError(text, Code.Unimplemented));
    }
    if (this.#draining && call.streaming) return call.end(undefined, drained);
    this.#options.accept(call, handler).catch(() => {
      // What breaks here is the stream itself; it may be gone already.
      call.reset(2);
    });
  }

  #track<T extends { once(event: "close", listener: () => void): unknown }>(all: Set<T>, one: T): void {
    all.add(one);
    one.once("close", () => all.delete(one));
  }
}

/** What is no gRPC status is hidden behind one sentence, as in the real engine. */
const hideErrors: Interceptor = (next) => async (request) => {
  try {
    const response = await next(request);
    return response.stream ? { ...response, message: hiding(response.message) } : response;
  } catch (error) {
    throw hidden(error);
  }
};

async function* hiding<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw hidden(error);
  }
}

function hidden(error: unknown): unknown {
  return error instanceof ConnectError ? error : new ConnectError("An internal error occurred.", Code.Internal);
}

function text(pem: string | Uint8Array): string {
  return typeof pem === "string" ? pem : new TextDecoder().decode(pem);
}
