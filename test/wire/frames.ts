import type { Socket } from "node:net";
import { createServer } from "node:net";

/** Types of HTTP/2 frames, by number. */
const type = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, window: 8 };

/** The setting that says how much a new stream may be sent unasked. */
const initialWindow = 4;

const endStream = 1;
const ack = 1;
const endHeaders = 4;
const prefaceLength = 24;

/** Headers of a gRPC answer, and trailers of an OK. */
export const head: Readonly<Record<string, string>> = { ":status": "200", "content-type": "application/grpc" };
export const ok: Readonly<Record<string, string>> = { "grpc-status": "0" };

/** What a server does about a call. */
export type FrameCall = (connection: FrameConnection, id: number) => void;

/** One connection of a server that writes any frame it is told to, whatever library the runtime has. */
export class FrameConnection {
  readonly socket: Socket;
  /** Ids of the calls that came, and of those the client reset, with the code. */
  readonly calls: number[] = [];
  readonly resets: Map<number, number> = new Map();
  /** Ids of the calls that got headers, and of those that neither side has ended. */
  readonly answered: Set<number> = new Set();
  readonly open: Set<number> = new Set();
  /** When PINGs came, in milliseconds. */
  readonly pings: number[] = [];
  /** How many bytes the client takes unasked: on a new stream, and on the connection. */
  readonly windows: { stream: number; connection: number } = { stream: 65_535, connection: 65_535 };
  closed = false;
  #buffered: Uint8Array = new Uint8Array();
  #greeted = false;
  readonly #call: FrameCall;

  constructor(socket: Socket, call: FrameCall) {
    this.socket = socket;
    this.#call = call;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Uint8Array) => this.#read(chunk));
    socket.on("error", () => {
      // The client's side of a fault that the test is about.
    });
    socket.once("close", () => {
      this.closed = true;
      this.open.clear();
    });
    this.frame(type.settings, 0, 0);
  }

  headers(id: number, fields: Readonly<Record<string, string>>, end = false): void {
    this.answered.add(id);
    if (end) this.open.delete(id);
    const block = Object.entries(fields).flatMap(([name, value]) => [0, ...text(name), ...text(value)]);
    this.frame(type.headers, endHeaders | (end ? endStream : 0), id, Uint8Array.from(block));
  }

  data(id: number, bytes: Uint8Array, end = false): void {
    if (end) this.open.delete(id);
    this.frame(type.data, end ? endStream : 0, id, bytes);
  }

  reset(id: number, code: number): void {
    this.open.delete(id);
    this.frame(type.reset, 0, id, words(code));
  }

  goaway(last: number, code: number): void {
    this.frame(type.goaway, 0, 0, words(last, code));
  }

  frame(kind: number, flags: number, id: number, payload: Uint8Array = new Uint8Array()): void {
    if (this.socket.destroyed) return;
    const { length } = payload;
    const front = Uint8Array.of(length >> 16, (length >> 8) & 255, length & 255, kind, flags, ...words(id));
    this.socket.write(new Uint8Array([...front, ...payload]));
  }

  #read(chunk: Uint8Array): void {
    this.#buffered = new Uint8Array([...this.#buffered, ...chunk]);
    if (!this.#greeted) {
      if (this.#buffered.length < prefaceLength) return;
      this.#buffered = this.#buffered.subarray(prefaceLength);
      this.#greeted = true;
    }
    for (;;) {
      const [a = 0, b = 0, c = 0, kind = 0, flags = 0] = this.#buffered;
      const end = 9 + ((a << 16) | (b << 8) | c);
      if (this.#buffered.length < Math.max(9, end)) return;
      const view = new DataView(this.#buffered.buffer, this.#buffered.byteOffset);
      const payload = this.#buffered.slice(9, end);
      this.#buffered = this.#buffered.subarray(end);
      this.#frame(kind, flags, view.getUint32(5), payload);
    }
  }

  #frame(kind: number, flags: number, id: number, payload: Uint8Array): void {
    switch (kind) {
      case type.headers:
        this.calls.push(id);
        this.open.add(id);
        return this.#call(this, id);
      case type.reset:
        this.open.delete(id);
        this.resets.set(id, new DataView(payload.buffer).getUint32(0));
        return;
      case type.settings:
        if ((flags & ack) !== 0) return;
        for (let at = 0; at < payload.length; at += 6) {
          const view = new DataView(payload.buffer, at);
          if (view.getUint16(0) === initialWindow) this.windows.stream = view.getUint32(2);
        }
        return this.frame(type.settings, ack, 0);
      case type.ping:
        if ((flags & ack) !== 0) return;
        this.pings.push(performance.now());
        return this.frame(type.ping, ack, 0, payload);
      case type.window:
        if (id === 0) this.windows.connection += new DataView(payload.buffer).getUint32(0);
    }
  }
}

/** A listening {@link FrameConnection} factory. */
export interface FrameServer {
  readonly hostPort: string;
  /** All there ever were, in order. */
  readonly connections: FrameConnection[];
  close(): Promise<void>;
}

/** Serves frames: `call` is told of every call that comes, and of the connection it came on. */
export async function frameServer(call: FrameCall): Promise<FrameServer> {
  const connections: FrameConnection[] = [];
  const server = createServer((socket) => connections.push(new FrameConnection(socket, call)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const close = async () => {
    clearTimeout(timer);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const { socket } of connections) socket.destroy();
    await closed;
  };
  const timer = setTimeout(() => void close(), 30_000);
  timer.unref();
  return { hostPort: `127.0.0.1:${port}`, connections, close };
}

/** A literal of HPACK; short, so that its length fits in one byte. */
function text(value: string): number[] {
  return [value.length, ...new TextEncoder().encode(value)];
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => view.setUint32(4 * index, value));
  return bytes;
}
