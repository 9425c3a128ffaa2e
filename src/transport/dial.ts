import type { ClientHttp2Session } from "node:http2";
import { connect as connectHttp2 } from "node:http2";
import type { Socket } from "node:net";
import { onAbort } from "../streams/signal.ts";
import type { Address, TlsMaterial } from "./address.ts";
import { authority, connect } from "./address.ts";
import { callers, DialError } from "./failure.ts";

/** One try at a connection. */
export interface Target {
  readonly address: Address;
  /** `undefined` speaks HTTP/2 in plaintext, without asking first. */
  readonly tls: TlsMaterial | undefined;
  /** How many bytes may be on the way to us, per stream and per connection alike. */
  readonly windowBytes: number;
}

/** A connection whose peer speaks HTTP/2; whatever errors it ever emits have a listener. */
export interface Dialed {
  readonly http2: ClientHttp2Session;
  readonly socket: Socket;
  /** What requests name as their authority. */
  readonly authority: string;
}

/** In megabytes. Node's own 10 make a session that refused a few large messages useless for good. */
const maxSessionMemory = 1000;

/**
 * Connects, and resolves when the peer's SETTINGS are here: a port that accepts and says nothing is no connection.
 * Rejects with the error of the system, untouched, or with the signal's own reason, and leaves nothing open then.
 *
 * @throws at once what {@link connect} throws, as the caller's mistake: no system was asked yet
 */
export function dial({ address, tls, windowBytes }: Target, signal: AbortSignal): Promise<Dialed> {
  const socket = begin(address, tls);
  const name = authority(address, tls);
  const http2 = connectHttp2(tls === undefined ? "http://peer" : "https://peer", {
    createConnection: () => socket,
    maxSessionMemory,
    settings: { enablePush: false, initialWindowSize: windowBytes },
  });

  return new Promise((resolve, reject) => {
    let settled = false;
    let failure: unknown;
    const heard = (error: unknown) => {
      failure ??= error;
      over();
    };
    const settle = () => {
      settled = true;
      undo();
      for (const side of [socket, http2]) side.off("close", over);
      http2.off("remoteSettings", greeted);
    };
    const fail = (reason: unknown) => {
      if (settled) return;
      settle();
      http2.destroy();
      socket.destroy();
      reject(reason);
    };
    // Each runtime has its own order of error and close, and some leave one out: judge when all of this tick are here.
    const over = () => {
      setImmediate(() => fail(failure ?? new DialError("ECONNRESET", "The peer closed the connection")));
    };
    const greeted = () => {
      /* c8 ignore next -- an end that comes in one tick with the SETTINGS may be told first, as the system likes. */
      if (http2.destroyed) return;
      settle();
      // Both windows equal: Bun stalls for ever when the connection's is more than twice the stream's.
      http2.setLocalWindowSize(windowBytes);
      resolve({ http2, socket, authority: name });
    };
    for (const side of [socket, http2]) {
      side.on("error", heard);
      side.once("close", over);
    }
    http2.once("remoteSettings", greeted);
    const undo = onAbort(signal, () => fail(signal.reason));
  });
}

function begin(address: Address, tls: TlsMaterial | undefined): Socket {
  try {
    return connect(address, tls);
  } catch (thrown) {
    throw callers(thrown);
  }
}
