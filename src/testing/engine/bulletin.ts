import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ResourceType } from "../../proto.ts";
import type { Core } from "./core.ts";
import { type News, newsOf } from "./news.ts";

interface Needed extends Pick<Core, "agenda" | "clock" | "state" | "timing"> {
  readonly faults: Pick<Core["faults"], "take">;
}

/** The engine's pub/sub: at most once, to whoever listens, a few milliseconds late, in an order of its own. */
export class Bulletin {
  readonly #core: Needed;
  readonly #readers = new Set<(news: News) => void>();
  #pending: News[] = [];

  constructor(core: Needed) {
    this.#core = core;
    core.state.listen((happening) => {
      if (this.#readers.size === 0) return;
      for (const news of newsOf(happening, core.clock.now())) this.publish(news);
    });
  }

  /** Calls `reader` for everything that is published from now on, until the undo. */
  listen(reader: (news: News) => void): () => void {
    this.#readers.add(reader);
    return () => this.#readers.delete(reader);
  }

  publish(news: News): void {
    // Nothing is kept for those who come later.
    if (this.#readers.size === 0) return;
    if (isEnd(news) && this.#core.faults.take("loseHangups")) return;
    if (this.#pending.push(news) === 1) this.#core.agenda.in(this.#core.timing.flushMs, () => this.#flush());
  }

  #flush(): void {
    const ordered = this.#pending.toSorted(inOrder);
    this.#pending = [];
    const backwards = ordered.length > 1 && this.#core.faults.take("reorderEvents");
    const batch = backwards ? ordered.toReversed().toSorted(endLast) : ordered;
    for (const news of batch) for (const reader of this.#readers) reader(news);
  }
}

function isEnd({ event }: News): boolean {
  return event.resourceType === ResourceType.WORKFLOW_RUN;
}

function endLast(a: News, b: News): number {
  return Number(isEnd(a)) - Number(isEnd(b));
}

/** Ends of runs last; before them what has an index, by it; and first the rest by time, even what came after. */
function inOrder(a: News, b: News): number {
  const [left, right] = [a.event.eventIndex, b.event.eventIndex];
  return endLast(a, b) ||
    (left === undefined || right === undefined
      ? Number(left !== undefined) - Number(right !== undefined) || timeOf(a) - timeOf(b)
      : Number(left - right));
}

function timeOf({ event }: News): number {
  return event.eventTimestamp === undefined ? 0 : timestampMs(event.eventTimestamp);
}
