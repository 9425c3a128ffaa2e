/** How a step ended: JSON text, or what went wrong. */
export interface Outcome {
  readonly payload: string;
  readonly error?: string;
}

/** One step of a durable task, as the engine keeps it. */
export interface Step {
  readonly kind: "memo" | "run" | "wait";
  readonly node: number;
  /** What a later invocation must repeat. */
  readonly key: string;
  readonly childId: string | undefined;
  outcome: Outcome | undefined;
  /** Counts through all outcomes of the task, but those of memos. */
  order: number | undefined;
  /** Whether what it is about was set going. */
  begun: boolean;
  /** When the live invocation was first told the outcome. */
  toldAt: number;
}

/** A durable task of the model engine, with its log: every invocation walks the same nodes again, from the first. */
export class DurableTask {
  readonly id: string;
  state: "running" | "evicted" | "done" = "running";
  invocation = 0;
  readonly steps: Step[] = [];
  /** How many nodes the live invocation has walked. */
  walked = 0;
  #orders = 0;

  constructor(id: string) {
    this.id = id;
  }

  at(node: number): Step | undefined {
    return this.steps[node - 1];
  }

  begin(): void {
    this.state = "running";
    this.invocation++;
    this.walked = 0;
    for (const step of this.steps) step.toldAt = Infinity;
  }

  /** The steps at the next nodes; a node where they are not the same instead. */
  walk(kind: Step["kind"], keys: readonly string[], childId: () => string | undefined): Step[] | number {
    const first = this.walked + 1;
    const wrong = keys.findIndex((key, index) => {
      const known = this.at(first + index);
      return known !== undefined && (known.kind !== kind || known.key !== key);
    });
    if (wrong >= 0) return first + wrong;
    this.walked += keys.length;
    return keys.map((key, index) => {
      const node = first + index;
      return this.steps[node - 1] ??= {
        kind,
        node,
        key,
        childId: childId(),
        outcome: undefined,
        order: undefined,
        begun: false,
        toldAt: Infinity,
      };
    });
  }

  /** Notes an outcome; the first one stays. */
  settle(step: Step, outcome: Outcome): boolean {
    if (step.outcome !== undefined) return false;
    step.outcome = outcome;
    if (step.kind !== "memo") step.order = ++this.#orders;
    return true;
  }
}
