import type { ServerHttp2Session } from "node:http2";
import type { Clock } from "../../streams/clock.ts";
import { linked } from "../../streams/signal.ts";

/** How a server and its clients may ping each other. */
export interface PingTiming {
  readonly pingMs: number;
  readonly pingTimeoutMs: number;
  readonly minPingMs: number;
}

/** Pings the client for as long as the session lives, and ends a session that does not answer. */
export async function keepAlive(session: ServerHttp2Session, clock: Clock, timing: PingTiming): Promise<void> {
  const closed = new AbortController();
  session.once("close", () => closed.abort());
  try {
    for (;;) {
      await clock.sleep(timing.pingMs, closed.signal, { ref: false });
      const patience = linked(closed.signal);
      session.ping(() => patience.abort());
      const waited = clock.sleep(timing.pingTimeoutMs, patience.signal, { ref: false });
      const late = await waited.then(() => true, () => false);
      patience.release();
      if (late) return session.destroy();
    }
  } catch {
    // The session closed, which is what this waits for when nothing is wrong.
  }
}

/** Ends a session that is pinged too often, as grpc-go does after three strikes. */
export function strike(session: ServerHttp2Session, minPingMs: number): void {
  let last = -Infinity;
  let strikes = 0;
  session.on("ping", () => {
    const now = performance.now();
    strikes = now - last < minPingMs ? strikes + 1 : 0;
    last = now;
    if (strikes < 3) return;
    session.goaway(11, 0, new TextEncoder().encode("too_many_pings"));
    session.destroy();
  });
}
