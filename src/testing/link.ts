import type { Socket } from "node:net";
import { Lane } from "./lane.ts";

/** How a connection is cut: torn down at once, or closed politely in the middle of whatever it was. */
export type Cut = "rst" | "fin";

/** What a port may do to a new connection instead of serving it. */
export type Trap = "close" | "rst" | "garbage" | "silence" | "http502";

/** What a link asks of the proxy it belongs to. */
export interface LinkRules {
  /** How long bytes take, each way, in milliseconds. */
  delayMs(): number;
  /** How many of these bytes may go down before the link is cut, and how; `undefined` lets them all pass. */
  quota(bytes: number): { readonly bytes: number; readonly how: Cut } | undefined;
}

/** How long a peer may leave a connection half closed that we ended, in milliseconds. */
const lingerMs = 1000;

/** One proxied connection: a socket to the client, one to the server unless it is a trap, and a lane each way. */
export class Link {
  readonly up: Lane = new Lane();
  readonly down: Lane = new Lane();
  readonly #client: Socket;
  readonly #server: Socket | undefined;
  readonly #rules: LinkRules;
  /** Resolves when no socket of it is left. */
  readonly closed: Promise<unknown>;
  #cut = false;

  /** Both sockets must allow to be half open: endings pass through the lanes like bytes. */
  constructor(client: Socket, server: Socket | undefined, rules: LinkRules) {
    this.#client = client;
    this.#server = server;
    this.#rules = rules;
    this.closed = Promise.all(this.#sockets.map((socket) => {
      socket.setNoDelay(true);
      return new Promise<void>((resolve) => socket.once("close", () => resolve()));
    }));
    if (server === undefined) {
      client.on("error", () => client.destroy());
      client.on("end", () => client.end());
      // Unread bytes would turn our polite ending into a reset.
      client.resume();
    } else {
      this.#join(client, server, this.up, (chunk) => send(client, server, chunk));
      this.#join(server, client, this.down, (chunk) => this.#send(chunk));
    }
  }

  /** Does to the client what the trap is for. */
  spring(trap: Trap): void {
    switch (trap) {
      case "close":
        return this.cut("fin");
      case "rst":
        return this.cut("rst");
      case "garbage":
        this.#client.write("\u0007this is no protocol that anybody speaks\r\n".repeat(4));
        return;
      case "http502":
        this.#client.write("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return this.cut("fin");
      case "silence":
        return;
    }
  }

  /** Ends both sides, stalled or not; what was on its way is lost. */
  cut(how: Cut): void {
    this.#cut = true;
    this.up.clear();
    this.down.clear();
    for (const socket of this.#sockets) {
      if (how === "rst") reset(socket);
      else finish(socket);
    }
  }

  get #sockets(): Socket[] {
    return this.#server === undefined ? [this.#client] : [this.#client, this.#server];
  }

  /** Sends down the lane to `to` whatever comes from `from`: bytes, a half close, an end of any kind. */
  #join(from: Socket, to: Socket, lane: Lane, pass: (chunk: Uint8Array) => void): void {
    let broken = false;
    const push = (act: () => void) => {
      if (!this.#cut) lane.push(act, this.#rules.delayMs());
    };
    from.on("data", (chunk: Uint8Array) => push(() => pass(chunk)));
    from.on("end", () => push(() => to.end()));
    from.on("error", (error: Error & { readonly code?: string }) => {
      broken = error.code === "ECONNRESET" || error.code === "EPIPE";
      from.destroy();
    });
    from.on("close", () => push(() => (broken ? reset(to) : finish(to))));
  }

  #send(chunk: Uint8Array): void {
    const quota = this.#rules.quota(chunk.length);
    if (quota === undefined) return send(this.#server, this.#client, chunk);
    this.#cut = true;
    this.#client.write(chunk.subarray(0, quota.bytes), () => this.cut(quota.how));
  }
}

/** Writes, and stops the source while the sink is full. */
function send(from: Socket | undefined, to: Socket, chunk: Uint8Array): void {
  if (to.destroyed || to.writableEnded || to.write(chunk) || from === undefined) return;
  // What was held for long comes all at once: one listener is enough for a source that is stopped already.
  if (from.isPaused()) return;
  from.pause();
  to.once("drain", () => from.resume());
}

/** Node never closes a socket that it is told to reset while it still ends: one that ended before is only destroyed. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else if (!socket.destroyed) socket.resetAndDestroy();
}

/** Ends politely, reads on so that it stays polite, and does not wait for ever. */
function finish(socket: Socket): void {
  if (socket.destroyed) return;
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
}
