import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Dispatcher } from "../../gen/dispatcher/dispatcher_pb.ts";
import { EventsService } from "../../gen/events/events_pb.ts";
import { durationText } from "../ids.ts";
import type { StartAction } from "../listeners/action.ts";
import type { Root } from "../root.ts";

/** The engine passes larger chunks on by a slower way that loses some, in bytes. */
const chunkBytes = 4000;

/** What a log line is worth; the engine keeps the word. */
export type LineLevel = "DEBUG" | "INFO" | "WARN" | "ERROR";

/** What a running task can tell the engine before it is done. */
export interface Effects {
  /**
   * Sends a piece of text to whoever reads the run's chunks at the moment; nobody keeps it. Pieces arrive in the order
   * in which they were put.
   */
  readonly putStream: (text: string) => Promise<void>;
  /** Writes a line to the task's log in the engine. */
  readonly log: (line: string, level?: LineLevel) => Promise<void>;
  /** Asks for more time, from the deadline on; resolves with the new deadline. */
  readonly refreshTimeout: (byMs: number) => Promise<Date | undefined>;
  /** Gives the slot back while the task goes on: for one that only waits. It is not cancelled by the engine any more. */
  readonly releaseSlot: () => Promise<void>;
}

/** The effects of one attempt; each ends with the attempt's signal. */
export function effectsOf(root: Root, { attempt, taskId }: StartAction, signal: AbortSignal): Effects {
  const taskRunExternalId = taskId;
  let index = 0n;
  let lastMs = 0;
  let turn: Promise<void> = Promise.resolve();

  const put = async (text: string): Promise<void> => {
    // Strictly later than the one before: what has no index is ordered by this.
    lastMs = Math.max(lastMs + 1, Math.floor(root.clock.now()));
    const request = {
      taskRunExternalId,
      createdAt: timestampFromMs(lastMs),
      message: new TextEncoder().encode(text),
      metadata: "{}",
      // A later attempt that began at 0 again would be taken for what was there before, and held back.
      ...(attempt === 0 && { eventIndex: index++ }),
    };
    // With an index a piece that comes twice is told apart, so a lost answer may be asked for again.
    const policy = { signal, idempotent: attempt === 0 };
    await root.call((call) => root.rpc(EventsService).putStreamEvent(request, call), policy);
  };

  return {
    putStream: (text) => {
      const sent = (async () => {
        await turn;
        for (const piece of pieces(text)) await put(piece);
      })();
      turn = sent.catch(() => {
        // Whoever put it is told; those after it go on.
      });
      return sent;
    },
    log: async (message, level = "INFO") => {
      const createdAt = timestampFromMs(Math.floor(root.clock.now()));
      const request = { taskRunExternalId, createdAt, message, level, metadata: "{}", taskRetryCount: attempt };
      await root.call((call) => root.rpc(EventsService).putLog(request, call), { signal });
    },
    refreshTimeout: async (byMs) => {
      const request = { taskRunExternalId, incrementTimeoutBy: durationText(byMs, "byMs") };
      const { timeoutAt } = await root.call((call) => root.rpc(Dispatcher).refreshTimeout(request, call), { signal });
      return timeoutAt && timestampDate(timeoutAt);
    },
    releaseSlot: async () => {
      const policy = { signal, idempotent: true };
      await root.call((call) => root.rpc(Dispatcher).releaseSlot({ taskRunExternalId }, call), policy);
    },
  };
}

/** Cuts a text where no character is torn. */
function* pieces(text: string): Generator<string> {
  let piece = "";
  let bytes = 0;
  for (const character of text) {
    const size = character <= "\x7f" ? 1 : new TextEncoder().encode(character).length;
    if (bytes + size > chunkBytes) {
      yield piece;
      piece = "";
      bytes = 0;
    }
    piece += character;
    bytes += size;
  }
  if (piece !== "") yield piece;
}
