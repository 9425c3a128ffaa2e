/** Where a stream is. Moves: connecting → live | waiting | ended; live → waiting | ended; waiting → connecting | ended. */
export type StreamStatus =
  | {
    readonly state: "connecting";
    /** Which attempt, counted from 1. */
    readonly attempt: number;
  }
  | {
    readonly state: "live";
    /** Since when, on the stream's clock. */
    readonly sinceMs: number;
    /** Whether reading pauses because the consumer is behind. */
    readonly paused: boolean;
  }
  | {
    readonly state: "waiting";
    /** Failures in a row. */
    readonly failures: number;
    /** How long until the next attempt is due. */
    readonly delayMs: number;
    /** How the last attempt ended; `undefined` after a clean end. */
    readonly error: unknown;
  }
  | {
    readonly state: "ended";
    /** Set when the stream did not end by its owner's wish. */
    readonly error?: unknown;
  };

/** The states that may follow each state; a status may also follow its own kind, with new data. */
export const moves: Readonly<Record<StreamStatus["state"], readonly StreamStatus["state"][]>> = {
  connecting: ["live", "waiting", "ended"],
  live: ["waiting", "ended"],
  waiting: ["connecting", "ended"],
  ended: [],
};
