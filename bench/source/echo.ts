import type { Socket } from "node:net";
import { createServer } from "node:net";

/** Types of HTTP/2 frames. */
const frames = { data: 0, headers: 1, settings: 4, ping: 6, windowUpdate: 8 } as const;
const flags = { ack: 1, endStream: 1, endHeaders: 4 } as const;

const headLength = 9;
const prefaceLength = 24;
/** Nothing here is held up by a window: 2 GiB outlast every measurement. */
const window = 2 ** 31 - 1;
const initialWindow = 65_535;

const greeting = Buffer.concat([
  // SETTINGS_INITIAL_WINDOW_SIZE.
  frame(frames.settings, 0, 0, Buffer.concat([Uint8Array.of(0, 4), uint32(window)])),
  frame(frames.windowUpdate, 0, 0, uint32(window - initialWindow)),
]);
/** `:status: 200` by its index, `content-type` by that of its name. */
const head = Buffer.concat([Uint8Array.of(0x88, 0x0f, 0x10), text("application/grpc")]);
const tail = Buffer.concat([Uint8Array.of(0), text("grpc-status"), text("0")]);

/** A server that gives back what it gets, and where it listens. */
export interface Echo {
  readonly hostPort: string;
  close(): Promise<void>;
}

/**
 * Gives back each message of every call and ends it OK, whatever its method. It speaks HTTP/2 by hand and keeps nothing per
 * stream, so that a call costs it a tenth of what it costs the fastest client: `node:http2` would be measured with the client.
 */
export async function echo(): Promise<Echo> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy()); // The client left in the middle.
    socket.write(greeting);
    socket.on("data", replier(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("A port has an address");
  return {
    hostPort: `127.0.0.1:${address.port}`,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Takes bytes in any pieces, and answers all frames of a piece in one write. */
function replier(socket: Socket): (piece: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let skip = prefaceLength;
  return (piece) => {
    let bytes: Buffer = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    if (bytes.length < skip) {
      rest = bytes;
      return;
    }
    bytes = bytes.subarray(skip);
    skip = 0;
    const replies: Buffer[] = [];
    let at = 0;
    while (at + headLength <= bytes.length) {
      const end = at + headLength + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      reply(
        bytes[at + 3],
        bytes[at + 4] ?? 0,
        bytes.readUInt32BE(at + 5),
        bytes.subarray(at + headLength, end),
        replies,
      );
      at = end;
    }
    rest = bytes.subarray(at);
    if (replies.length > 0) socket.write(Buffer.concat(replies));
  };
}

/** What one frame is answered with. Headers are not even decoded: a client's table of them is its own. */
function reply(type: number | undefined, flag: number, stream: number, body: Uint8Array, replies: Buffer[]): void {
  const acked = (flag & flags.ack) !== 0;
  if (type === frames.settings && !acked) replies.push(frame(frames.settings, flags.ack, 0));
  if (type === frames.ping && !acked) replies.push(frame(frames.ping, flags.ack, 0, body));
  if (type !== frames.headers && type !== frames.data) return;
  if (type === frames.headers) replies.push(frame(frames.headers, flags.endHeaders, stream, head));
  else if (body.length > 0) replies.push(frame(frames.data, 0, stream, body));
  if ((flag & flags.endStream) === 0) return;
  replies.push(frame(frames.headers, flags.endHeaders | flags.endStream, stream, tail));
}

function frame(type: number, flag: number, stream: number, body: Uint8Array = new Uint8Array()): Buffer {
  const whole = Buffer.allocUnsafe(headLength + body.length);
  whole.writeUIntBE(body.length, 0, 3);
  whole[3] = type;
  whole[4] = flag;
  whole.writeUInt32BE(stream, 5);
  whole.set(body, headLength);
  return whole;
}

/** A string of HPACK's, shorter than 127. */
function text(value: string): Buffer {
  return Buffer.concat([Uint8Array.of(value.length), Buffer.from(value, "latin1")]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
