import type { Core } from "./core.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Task } from "./state.ts";

/** Moves deadlines of running attempts: calls that follow each other closely are added up and written once. */
export class Refresh {
  readonly #core: Core;
  readonly #scheduler: Scheduler;
  readonly #pending = new WeakMap<Task, { moreMs: number }>();

  constructor(core: Core, scheduler: Scheduler) {
    this.#core = core;
    this.#scheduler = scheduler;
  }

  /** Answers with the deadline as it is written: a call that is added up with an earlier one does not see its own. */
  by(task: Task, moreMs: number): number {
    const pending = this.#pending.get(task);
    if (pending !== undefined) {
      pending.moreMs += moreMs;
      return task.deadlineMs ?? this.#core.clock.now();
    }
    const { attempt } = task;
    const further = { moreMs: 0 };
    this.#pending.set(task, further);
    this.#core.agenda.in(this.#core.timing.refreshMs, () => {
      this.#pending.delete(task);
      if (further.moreMs > 0 && task.state === "running" && task.attempt === attempt) this.#move(task, further.moreMs);
    });
    return this.#move(task, moreMs);
  }

  #move(task: Task, moreMs: number): number {
    const deadlineMs = (task.deadlineMs ?? this.#core.clock.now()) + moreMs;
    this.#scheduler.arm(task, deadlineMs);
    return deadlineMs;
  }
}
