import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { isRefusal } from "../doubt.ts";
import type { Clock } from "../streams/clock.ts";
import { originOf } from "../streams/verdict.ts";

/** How often a worker says that it lives, in milliseconds: the engine schedules nothing on one silent for 5 s. */
const beatMs = 4000;
/** A beat is given up before the next is due. */
export const beatTimeoutMs = 3500;
/** A beat begun so soon after its stream may have overtaken it: its refusal proves nothing, in milliseconds. */
const overtakenMs = 4000;
/** How soon such a beat is repeated, in milliseconds. */
const againMs = 1000;
/** When the next one is due of a worker that is to be handed nothing for a while, in milliseconds. */
const putOffMs = 8000;
/** From when without an accepted beat the worker is not schedulable, in milliseconds. */
const silentMs = 10_000;

/** What a heartbeat needs, and whom it tells. */
export interface Pulse {
  readonly clock: Clock;
  /** Sends one beat, on the session that is there. */
  readonly beat: (at: Timestamp, signal: AbortSignal) => Promise<unknown>;
  /** When the newest stream was sent. */
  readonly sentAt: () => number;
  /**
   * The engine took a beat: the worker is schedulable. It proves nothing about the stream. True puts the next beat off
   * until nothing more is handed out.
   */
  readonly accepted: () => boolean;
  /** The engine knows of no stream of this worker's. */
  readonly deaf: (error: unknown) => void;
  /** The engine does not know the worker. */
  readonly forgotten: (error: unknown) => void;
  /** The engine would not have our token. */
  readonly refused: (error: unknown) => void;
  /** Beats go unanswered for so long that nothing is scheduled here. */
  readonly silent: (error: unknown) => void;
  /** The engine is too old for heartbeats: it beats for its workers itself. */
  readonly needless: () => void;
}

/** Beats until the signal aborts; never rejects. */
export async function heartbeat(pulse: Pulse, signal: AbortSignal): Promise<void> {
  const { clock } = pulse;
  for (let acceptedAt = clock.now(); !signal.aborted;) {
    const begunAt = clock.now();
    let nextMs = beatMs;
    try {
      await pulse.beat(timestampFromMs(Math.floor(begunAt)), signal);
      if (signal.aborted) return; // What it proves is no more.
      acceptedAt = clock.now();
      if (pulse.accepted()) nextMs = acceptedAt - begunAt + putOffMs;
    } catch (error) {
      if (signal.aborted) return;
      switch (meaning(error)) {
        case "deaf":
          if (begunAt - pulse.sentAt() >= overtakenMs) pulse.deaf(error);
          nextMs = againMs;
          break;
        case "forgotten":
          pulse.forgotten(error);
          break;
        case "refused":
          pulse.refused(error);
          break;
        case "needless":
          return pulse.needless();
        case "lost":
          if (clock.now() - acceptedAt >= silentMs) pulse.silent(error);
      }
    }
    try {
      await clock.sleep(begunAt + nextMs - clock.now(), signal, { ref: false });
    } catch {
      return; // Only the signal wakes a sleeper early.
    }
  }
}

/** What a failed beat says, by who said it and how. */
function meaning(error: unknown): "deaf" | "forgotten" | "refused" | "needless" | "lost" {
  if (!(error instanceof ConnectError) || originOf(error) !== "engine") return "lost";
  if (isRefusal(error)) return "refused";
  if (error.code === Code.FailedPrecondition) return "deaf";
  if (error.code === Code.NotFound || error.code === Code.InvalidArgument) return "forgotten";
  return error.code === Code.Unimplemented ? "needless" : "lost";
}
