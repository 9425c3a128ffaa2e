import { ResourceEventType, ResourceType, type WorkflowEvent } from "../../proto.ts";
import type { Core } from "./core.ts";

interface Lane {
  /** The index that may leave next; undefined means whichever comes. */
  next: bigint | undefined;
  held: WorkflowEvent[];
  timer: (() => void) | undefined;
}

/**
 * Brings the chunks of each task into the order of their indices, for one stream. It is as odd as the real one: a late
 * joiner and a duplicate wait for the gap's time-out, and what a quick retry sends is forgotten.
 */
export class Sequence {
  readonly #core: Pick<Core, "agenda" | "timing">;
  readonly #send: (event: WorkflowEvent) => void;
  /** By task, not by attempt. */
  readonly #lanes = new Map<string, Lane>();
  readonly #undo = new Set<() => void>();

  constructor(core: Pick<Core, "agenda" | "timing">, send: (event: WorkflowEvent) => void) {
    this.#core = core;
    this.#send = send;
  }

  take(event: WorkflowEvent): void {
    if (event.eventIndex !== undefined) return this.#order(event, event.eventIndex);
    if (ends(event)) {
      const lane = this.#lanes.get(event.resourceId);
      if (lane !== undefined) this.#release(lane);
      this.#forgetSoon(event.resourceId);
    }
    this.#send(event);
  }

  /** Takes every timer back. */
  close(): void {
    for (const undo of this.#undo) undo();
    this.#lanes.clear();
  }

  #order(event: WorkflowEvent, index: bigint): void {
    const lane = this.#lane(event.resourceId);
    lane.next ??= index;
    if (index !== lane.next) return this.#hold(lane, event);
    this.#send(event);
    lane.next++;
    for (let first = lane.held[0]; first !== undefined && first.eventIndex === lane.next; first = lane.held[0]) {
      this.#send(first);
      lane.held.shift();
      lane.next++;
    }
  }

  #lane(taskId: string): Lane {
    const lane = this.#lanes.get(taskId) ?? { next: 0n, held: [], timer: undefined };
    this.#lanes.set(taskId, lane);
    return lane;
  }

  /** The timer of an earlier one keeps running, so a gap lasts at most as long as the time-out. */
  #hold(lane: Lane, event: WorkflowEvent): void {
    lane.held.push(event);
    lane.held.sort((a, b) => Number(a.eventIndex! - b.eventIndex!));
    lane.timer ??= this.#in(this.#core.timing.gapMs, () => {
      lane.timer = undefined;
      if (lane.held.length === 0) return;
      this.#release(lane);
      lane.next = undefined;
    });
  }

  #release(lane: Lane): void {
    for (const event of lane.held.splice(0)) {
      this.#send(event);
      lane.next = event.eventIndex! + 1n;
    }
  }

  /** What is held by then is lost. */
  #forgetSoon(taskId: string): void {
    this.#in(this.#core.timing.forgetMs, () => {
      this.#lanes.get(taskId)?.timer?.();
      this.#lanes.delete(taskId);
    });
  }

  #in(ms: number, act: () => void): () => void {
    const undo = this.#core.agenda.in(ms, () => {
      this.#undo.delete(undo);
      act();
    });
    this.#undo.add(undo);
    return undo;
  }
}

function ends({ eventType, resourceType }: WorkflowEvent): boolean {
  return resourceType === ResourceType.STEP_RUN && eventType !== ResourceEventType.STARTED &&
    eventType !== ResourceEventType.STREAM;
}
