import process from "node:process";
import type { ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import { constants } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { StreamError } from "../streams/errors.ts";
import type { Connection } from "../streams/gate.ts";
import type { Dialed } from "./dial.ts";
import type { Peer, Rhythm } from "./ping.ts";
import { keepAlive } from "./ping.ts";
import { callers, unreachable } from "./failure.ts";

/** What a session tells its owner. */
export interface SessionEvents {
  /** The peer says that we ask too often whether it lives. */
  readonly calmed: () => void;
  /** It is over, and its socket closes. */
  readonly ended: () => void;
}

/**
 * One HTTP/2 connection from its first SETTINGS to its end. It notices a peer that is gone without a word, lets what is
 * under way finish when it has to go, and holds the process alive only while a call is open.
 */
export class Session implements Connection, Peer {
  readonly #dialed: Dialed;
  readonly #events: SessionEvents;
  readonly #life = new AbortController();
  readonly #over: Promise<void>;
  #left = false;
  #calmed = false;
  #gathering = false;
  #open = 0;
  #reads = 0;
  #why: unknown;

  constructor(dialed: Dialed, rhythm: Rhythm, events: SessionEvents) {
    const { http2, socket } = this.#dialed = dialed;
    this.#events = events;
    this.#over = new Promise((resolve) => {
      /* c8 ignore next -- a socket may break in the very tick of its SETTINGS; no test hits that tick. */
      if (socket.closed) resolve();
      else socket.once("close", () => resolve());
    });
    void this.#over.then(() => this.#end());
    http2.once("close", () => this.#end());
    // Node leaves a broken socket open that its session is done with.
    for (const side of [http2, socket]) side.once("error", (error: Error) => void this.end(error));
    http2.once("goaway", (code: number) => {
      this.#calmed = code === constants.NGHTTP2_ENHANCE_YOUR_CALM;
      if (this.#calmed) events.calmed();
      this.retire();
    });
    // node:http2 closes a session by itself at its peer's GOAWAY, and pings a closed one no more; but what it has may
    // go on for hours, on a wire that may break without a word.
    http2.close = () => this.retire();
    socket.unref();
    keepAlive(this, rhythm, this.#life.signal).then(() => this.end(dead()), () => {
      // The session ended before its peer was found dead.
    });
  }

  /** False from the moment it has ended or takes no new streams. */
  get alive(): boolean {
    const { http2, socket } = this.#dialed;
    return !this.#left && !http2.closed && !http2.destroyed && !socket.destroyed;
  }

  /** How many calls are open. */
  get open(): number {
    return this.#open;
  }

  /** Bun counts no bytes on a socket that HTTP/2 reads, so reads count too. */
  get received(): number {
    return this.#dialed.socket.bytesRead + this.#reads;
  }

  /** A call has read something. */
  read(): void {
    this.#reads++;
  }

  ask(answered: () => void): void {
    const { http2 } = this.#dialed;
    /* c8 ignore next -- between a session's death and its "close" lies a tick; no test times a PING into it. */
    if (http2.destroyed) return;
    http2.ping((error: Error | null) => {
      if (error === null) answered();
    });
  }

  /** What a call ended with that ended with the session, if the session has; `told` is what its own stream said. */
  loss(told: unknown): Error | undefined {
    const { http2, socket } = this.#dialed;
    if (!http2.destroyed && !socket.destroyed) return undefined;
    if (this.#why instanceof ConnectError || this.#why instanceof StreamError) return this.#why;
    return new ConnectError("The connection was lost", Code.Unavailable, undefined, undefined, this.#why ?? told);
  }

  /** Opens a stream; the headers are its own then. @throws ConnectError Unavailable, never sent, on a session that just went away */
  request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    const { authority, socket } = this.#dialed;
    headers[":authority"] = authority;
    this.#gather();
    const stream = this.#request(headers);
    if (this.#open++ === 0) socket.ref();
    const { received } = this;
    stream.on("close", () => {
      const code = stream.rstCode;
      if (--this.#open === 0) {
        socket.unref();
        this.#leave();
      }
      // Not the peer's GOAWAY but our own library out of memory: no later call on this session would get through.
      if (code === constants.NGHTTP2_ENHANCE_YOUR_CALM && !this.#calmed) this.retire();
      // Not the peer's refusal either: our library gave the session up over a frame that it could not read, untold.
      if (code === constants.NGHTTP2_REFUSED_STREAM && this.received === received) this.retire();
    });
    return stream;
  }

  /** Takes no new streams; closes when those it has are finished. */
  retire(): void {
    this.#left = true;
    this.#leave();
  }

  /** Ends all its streams, with this error; resolves when its socket is closed. Idempotent. */
  end(error?: Error): Promise<void> {
    this.#left = true;
    this.#why ??= error;
    // Not now: Deno crashes when a session is destroyed in the middle of what the session itself called.
    setImmediate(() => {
      this.#dialed.http2.destroy(error);
      this.#end();
    });
    return this.#over;
  }

  /** Sends what is written in one turn in one piece, as Node and Bun do by themselves; Deno sends each frame alone. */
  #gather(): void {
    if (this.#gathering) return;
    this.#gathering = true;
    const { socket } = this.#dialed;
    socket.cork();
    // What a stream is given, Deno writes in the tick after.
    process.nextTick(() =>
      process.nextTick(() => {
        this.#gathering = false;
        socket.uncork();
      })
    );
  }

  #request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    const { http2 } = this.#dialed;
    try {
      return http2.request(headers);
    } catch (error) {
      /* c8 ignore next -- between a session's death and its "close" lies a tick; no test times a call into it. */
      if (!this.alive) throw unreachable(error);
      // A session numbers a thousand million streams, and then no more.
      if (!(error instanceof Error) || !("code" in error) || error.code !== "ERR_HTTP2_OUT_OF_STREAMS") {
        throw callers(error);
      }
      /* c8 ignore start -- no test has the days that so many streams take. */
      this.retire();
      throw unreachable(error);
    }
    /* c8 ignore stop */
  }

  #leave(): void {
    if (this.#left && this.#open === 0) void this.end();
  }

  #end(): void {
    if (this.#life.signal.aborted) return;
    this.#life.abort();
    // A moment for the last frames; a peer that is gone without a word would hold a socket that waits for it.
    setImmediate(() => this.#dialed.socket.destroy());
    this.#events.ended();
  }
}

function dead(): ConnectError {
  return new ConnectError("The peer does not answer PING any more", Code.Unavailable);
}
