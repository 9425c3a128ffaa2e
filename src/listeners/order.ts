import type { RunChunk, RunEvent, RunGap, TaskEvent } from "./event.ts";

/** What is known of the chunks of one task. */
interface Lane {
  /** The newest index. */
  last: number;
  /**
   * How the next index is understood. After a failed attempt the next one counts from 0 again; chunks of the old one may
   * still come (`late`). After a new subscription that may have happened without a word.
   */
  state: "steady" | "reopened" | "failed" | "late";
}

/**
 * Finds what is missing and what comes twice among chunks that their sender numbers, task by task. The engine brings
 * them into order itself, as long as it waits; and it says of no chunk which attempt it belongs to.
 */
export class Order {
  readonly #lanes = new Map<string, Lane>();
  /** Tasks that were told of, and not to their end. */
  readonly #open = new Set<string>();
  readonly #ended = new Set<string>();

  /** Whether some task, and each that was told of, was told to its end: nothing of it comes behind that. */
  get isWhole(): boolean {
    return this.#ended.size > 0 && this.#open.size === 0;
  }

  /** The event, behind the gap that it shows; nothing when it was there before. */
  take(event: TaskEvent | RunChunk): readonly RunEvent[] {
    const { kind, taskId } = event;
    if (kind === "chunk") {
      if (!this.#ended.has(taskId)) this.#open.add(taskId);
      return this.#place(event);
    }
    const [now, before] = kind === "started" ? [this.#open, this.#ended] : [this.#ended, this.#open];
    before.delete(taskId);
    now.add(taskId);
    const lane = this.#lanes.get(taskId);
    if (lane !== undefined && kind !== "completed") lane.state = "failed";
    return [event];
  }

  /** The stream was opened again: what happened meanwhile was not told. */
  reopened(): void {
    this.#open.clear();
    this.#ended.clear();
    for (const lane of this.#lanes.values()) if (lane.state === "steady") lane.state = "reopened";
  }

  #place(chunk: RunChunk): readonly RunEvent[] {
    const { index, taskId } = chunk;
    if (index === undefined) return [chunk];
    const lane = this.#lanes.get(taskId);
    if (lane === undefined) {
      this.#lanes.set(taskId, { last: index, state: "steady" });
      return index === 0 ? [chunk] : [gap("start", taskId), chunk];
    }
    const { last, state } = lane;
    if (index <= last && state === "steady") return [];
    lane.last = index;
    const begins = index === 0;
    const goesOn = index === last + 1 && state !== "failed";
    if (begins || state === "reopened") lane.state = "steady";
    else if (state === "failed") lane.state = "late";
    return begins || goesOn ? [chunk] : [gap("missing", taskId), chunk];
  }
}

/** A place where something may be missing. */
export function gap(why: RunGap["why"], taskId?: string): RunGap {
  return { kind: "gap", why, ...(taskId !== undefined && { taskId }) };
}
