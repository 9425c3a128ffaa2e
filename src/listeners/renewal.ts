import type { Root } from "../root.ts";
import type { Slot, Turn } from "../streams/gate.ts";
import type { Relay } from "./relay.ts";

/** Behind all whose stream is down: nothing is lost when it never gets a turn. */
const lastInLine: Turn = { priority: 2, failed: true };
/** How long it keeps its turn, in milliseconds: as long as any stream that is told nothing. */
const turnMs = 250;

/**
 * Opens a second call beside the one there is, in its turn at the gate. Never rejects: when it cannot be opened the older
 * one is still there, unless the signal has aborted, and with it the need.
 */
export async function renew<T>({ channel, clock, gate }: Root, relay: Relay<T>, signal: AbortSignal): Promise<void> {
  let slot: Slot | undefined;
  try {
    slot = await gate.enter(lastInLine, signal);
    await channel.ready(signal, slot.timeoutMs);
    relay.renew();
    await clock.sleep(turnMs, signal, { ref: false });
  } catch {
    // Whoever is due asks again.
  } finally {
    slot?.release();
  }
}
