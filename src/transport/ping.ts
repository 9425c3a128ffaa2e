import type { Clock } from "../streams/clock.ts";
import { linked } from "../streams/signal.ts";

/** A peer that can be asked whether it lives. */
export interface Peer {
  /** Grows with whatever is received: any byte is a sign of life. */
  readonly received: number;
  /** Asks for an answer, and tells when it is here. */
  ask(answered: () => void): void;
}

/** How often a peer is asked, and how long it may take to answer. */
export interface Rhythm {
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** A deadline that fires later than this was held up by our own loop, and so was the answer. */
const lateMs = 100;

/** Asks again and again; resolves when the peer is dead. Rejects when the signal aborts. Holds no process alive. */
export async function keepAlive(peer: Peer, rhythm: Rhythm, signal: AbortSignal): Promise<void> {
  do await rhythm.clock.sleep(rhythm.intervalMs, signal, { ref: false }); while (await answers(peer, rhythm, signal));
}

/** Asks once; false when nothing at all was received until the deadline, and the deadline could be believed. */
async function answers(peer: Peer, { clock, timeoutMs }: Rhythm, signal: AbortSignal): Promise<boolean> {
  const waiting = linked(signal);
  peer.ask(() => waiting.abort());
  let { received } = peer;
  let believed = true;
  try {
    for (;;) {
      const due = clock.now() + timeoutMs;
      await clock.sleep(timeoutMs, waiting.signal, { ref: false });
      const late = clock.now() - due > lateMs;
      if (peer.received !== received) received = peer.received;
      else if (late && believed) believed = false;
      else return false;
    }
  } catch (error) {
    if (signal.aborted) throw error;
    return true;
  } finally {
    waiting.abort();
  }
}
