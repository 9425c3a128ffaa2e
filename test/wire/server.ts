import { readFileSync } from "node:fs";
import type { Http2SecureServer, Http2Server, IncomingHttpHeaders, ServerHttp2Session } from "node:http2";
import { createSecureServer, createServer } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { AssignedActionSchema, Dispatcher, HeartbeatResponseSchema } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { Channel, ChannelOptions } from "../../src/transport/channel.ts";
import { openChannel } from "../../src/transport/channel.ts";

/** One call, as a server sees it. */
export type Handler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** A real HTTP/2 server on loopback that answers as it is told, however wrong. */
export interface RawServer {
  readonly hostPort: string;
  readonly port: number;
  /** Sessions that are open. */
  readonly sessions: Set<ServerHttp2Session>;
  /** Calls that are open, and all that ever came, as "path @ authority". */
  readonly open: Set<ServerHttp2Stream>;
  readonly calls: string[];
  /** What answers calls from now on. */
  handle: Handler;
  /** PINGs received. */
  readonly pings: number;
  /** Closes the port and every socket, as a process that is killed would. */
  kill(): Promise<void>;
}

/** Which certificates a server shows, and whether it wants to see one. */
export interface RawServerOptions {
  readonly tls?: { readonly as: "server" | "elsewhere"; readonly mutual?: boolean };
  readonly port?: number;
}

/** Reads one of the test certificates. */
export function pem(name: string): string {
  return readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), "utf8");
}

/** A length-prefixed message, as gRPC has it. */
export function envelope(message: Uint8Array, announced: number = message.length, flags = 0): Uint8Array {
  const bytes = new Uint8Array(5 + message.length);
  bytes[0] = flags;
  new DataView(bytes.buffer).setUint32(1, announced);
  bytes.set(message, 5);
  return bytes;
}

/** One action as it goes over the wire. */
export function action(taskId: string): Uint8Array {
  return envelope(toBinary(AssignedActionSchema, create(AssignedActionSchema, { taskRunExternalId: taskId })));
}

/** The answer to a heartbeat as it goes over the wire. */
export const beat: Uint8Array = envelope(toBinary(HeartbeatResponseSchema, create(HeartbeatResponseSchema)));

const head = { ":status": 200, "content-type": "application/grpc" };

/** Answers with these messages, and with a status unless the stream shall stay open. */
export function answer(stream: ServerHttp2Stream, messages: readonly Uint8Array[], status?: number | "none"): void {
  if (status !== undefined && status !== "none") {
    stream.respond(head, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": String(status) }));
  } else stream.respond(head);
  for (const message of messages) stream.write(message);
  if (status !== undefined) stream.end();
}

/** Answers with headers that are trailers at once. */
export function trailersOnly(stream: ServerHttp2Stream, status: number, message = ""): void {
  stream.respond({ ...head, "grpc-status": String(status), "grpc-message": message }, { endStream: true });
}

/** Starts a server; it stops by itself before any test run could wait for it. */
export async function rawServer(handle: Handler, options: RawServerOptions = {}): Promise<RawServer> {
  const { port = 0, tls } = options;
  const server: Http2Server | Http2SecureServer = tls === undefined ? createServer() : createSecureServer({
    cert: pem(`${tls.as}.crt`),
    key: pem(`${tls.as}.key`),
    ...(tls.mutual === true && { ca: pem("ca.crt"), rejectUnauthorized: true, requestCert: true }),
  });
  const sockets = new Set<Socket>();
  const keepSocket = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", ignore);
    socket.once("close", () => sockets.delete(socket));
  };
  server.on("connection", keepSocket);
  server.on("sessionError", ignore);
  server.on("tlsClientError", ignore);
  server.on("error", ignore);
  const raw = {
    hostPort: "",
    port: 0,
    sessions: new Set<ServerHttp2Session>(),
    open: new Set<ServerHttp2Stream>(),
    calls: [] as string[],
    handle,
    pings: 0,
    async kill(): Promise<void> {
      clearTimeout(timer);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of raw.sessions) session.destroy();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  server.on("session", (session: ServerHttp2Session) => {
    raw.sessions.add(session);
    session.on("error", ignore);
    session.on("ping", () => raw.pings++);
    session.once("close", () => raw.sessions.delete(session));
  });
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    raw.open.add(stream);
    raw.calls.push(`${headers[":path"]} @ ${headers[":authority"]}`);
    stream.on("error", ignore);
    stream.once("close", () => raw.open.delete(stream));
    stream.resume();
    raw.handle(stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address === "object" && address !== null) raw.port = address.port;
  raw.hostPort = `127.0.0.1:${raw.port}`;
  const timer = setTimeout(() => void raw.kill(), 30_000);
  timer.unref();
  return raw;
}

function ignore(): void {
  // The other side of a fault that the test is about.
}

/** A channel to an address, and a client on it. */
export interface Caller {
  readonly channel: Channel;
  readonly client: Client<typeof Dispatcher>;
}

/** Opens a channel; `hostPort` is read at every dial. */
export function caller(hostPort: string | (() => string), options: Partial<ChannelOptions> = {}): Caller {
  const address = () => {
    const [host = "", port] = (typeof hostPort === "string" ? hostPort : hostPort()).split(":");
    return Promise.resolve({ host, port: Number(port) });
  };
  const channel = openChannel({ address, ...options });
  return { channel, client: createClient(Dispatcher, channel.transport) };
}

/** How a stream went: what it said, and how it ended. */
export interface Course {
  readonly heard: string[];
  /** `undefined` after an OK. */
  readonly error: unknown;
}

/** Reads ListenV2 to its end. */
export async function listen(client: Client<typeof Dispatcher>, signal?: AbortSignal): Promise<Course> {
  const heard: string[] = [];
  try {
    const options = signal === undefined ? {} : { signal };
    for await (const { taskRunExternalId } of client.listenV2({ workerId: "w" }, options)) {
      heard.push(taskRunExternalId);
    }
    return { heard, error: undefined };
  } catch (error) {
    return { heard, error };
  }
}

/** The signal of nobody. */
export const never: AbortSignal = new AbortController().signal;

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Polls; the test's own limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries === 2000) throw new Error(`Never: ${condition}`);
    await pause(2);
  }
}
