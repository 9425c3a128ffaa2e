import type { Task } from "./state.ts";

/** How an entry ended: JSON text, or what went wrong. */
export interface Outcome {
  readonly payload: string;
  readonly error?: string;
}

/** One step of a durable task that it will find again when it runs anew. */
export interface Entry {
  readonly kind: "memo" | "run" | "wait";
  readonly node: number;
  /** What a request must repeat to be this one. */
  readonly key: string;
  /** The run that was triggered. */
  readonly childId: string | undefined;
  outcome: Outcome | undefined;
  /** Counts through all outcomes of the task except those of memos, in the order they came. */
  order: number | undefined;
}

/** What a durable task did so far. Each invocation walks the same nodes again, from the first. */
export class Log {
  readonly #task: Task;
  readonly #entries = new Map<number, Entry>();
  #branch = 0;
  #invocation = 0;
  #nodes = 0;
  #orders = 0;
  #released = 0;

  constructor(task: Task) {
    this.#task = task;
  }

  /** The node the next request of this invocation gets, if no other comes between. */
  get next(): number {
    this.#turn();
    return this.#nodes + 1;
  }

  at(node: number): Entry | undefined {
    this.#turn();
    return this.#entries.get(node);
  }

  /** Whether the node is free, or holds the same. */
  admits(node: number, kind: Entry["kind"], key: string): boolean {
    const entry = this.at(node);
    return entry === undefined || (entry.kind === kind && entry.key === key);
  }

  /** Walks onto a node: what is there already stays. */
  claim(node: number, kind: Entry["kind"], key: string, childId?: string): Entry {
    const entry = this.at(node) ?? { kind, node, key, childId, outcome: undefined, order: undefined };
    this.#entries.set(node, entry);
    this.#nodes = Math.max(this.#nodes, node);
    return entry;
  }

  /** Notes an outcome; the first one stays. */
  settle(entry: Entry, outcome: Outcome): boolean {
    if (entry.outcome !== undefined || this.#entries.get(entry.node) !== entry) return false;
    entry.outcome = outcome;
    if (entry.kind !== "memo") entry.order = ++this.#orders;
    return true;
  }

  /** The highest order number that left in this invocation, on whichever stream. */
  get released(): number {
    this.#turn();
    return this.#released;
  }

  noteReleased(order: number): void {
    this.#released = Math.max(this.released, order);
  }

  /** A new invocation starts from the first node, a replay with nothing behind it. */
  #turn(): void {
    const { branch, invocations } = this.#task;
    if (this.#branch !== branch) {
      this.#entries.clear();
      this.#orders = 0;
      this.#branch = branch;
    }
    if (this.#invocation === invocations) return;
    this.#invocation = invocations;
    this.#nodes = 0;
    this.#released = 0;
  }
}
