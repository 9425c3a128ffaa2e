import type { Clock } from "../../streams/clock.ts";
import type { Agenda } from "./agenda.ts";
import type { FaultBox } from "./fault-box.ts";
import type { SeenBook } from "./seen.ts";
import type { State } from "./state.ts";
import type { EngineTiming } from "./timing.ts";
import type { UserEvents } from "./user-events.ts";

/** What every part of the engine shares. */
export interface Core {
  readonly tenantId: string;
  readonly clock: Clock;
  readonly timing: EngineTiming;
  readonly random: () => number;
  readonly agenda: Agenda;
  readonly state: State;
  readonly faults: FaultBox;
  readonly seen: SeenBook;
  readonly userEvents: UserEvents;
  /** Dies of something the engine stumbles over. */
  readonly crash: () => void;
  readonly maxMessageBytes: number;
  readonly unknownWorkflows: "phantom" | "refuse";
  /** Aborts when the engine is closed for good. */
  readonly closing: AbortSignal;
  /** Another one for every process: a worker that belongs to a dead one gets its work sent to nobody. */
  dispatcherId: string;
  /** No work is assigned before: after a crash the real engine's scheduler is found late. */
  blindUntil: number;
}

/** Calls `act` on the first beat of the housekeeping grid that is `ms` away or more; returns the undo. */
export function housekeep(core: Core, ms: number, act: () => void): () => void {
  const grid = Math.max(core.timing.housekeepingMs, 1);
  return core.agenda.at(Math.ceil((core.clock.now() + ms) / grid) * grid, act);
}

/** The value, or undefined when it takes longer than `ms`. */
export async function within<T>(core: Core, ms: number, value: Promise<T>): Promise<T | undefined> {
  const timer = new AbortController();
  const late = core.clock.sleep(ms, timer.signal, { ref: false }).then(() => undefined, () => undefined);
  try {
    return await Promise.race([value, late]);
  } finally {
    timer.abort();
  }
}

/** Waits as long as a fault wants; not at all without one, and not longer than the engine is there. */
export async function delayed(core: Core, ms: number): Promise<void> {
  if (ms > 0) {
    await core.clock.sleep(ms, core.closing, { ref: false }).catch(() => {
      // Closed meanwhile: whoever waited finds its stream gone.
    });
  }
}
