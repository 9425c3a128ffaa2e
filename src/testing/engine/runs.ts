import { type Core, housekeep } from "./core.ts";
import { holdKey } from "./idempotency.ts";
import { hex, uuid } from "./ids.ts";
import { flaw, isObject, type JsonObject, objectIn, parse } from "./json.ts";
import { Scheduler } from "./scheduler.ts";
import {
  childKey,
  ended,
  type LateEnd,
  type Parent,
  type Run,
  type Step,
  type Task,
  type Trigger,
  type Workflow,
} from "./state.ts";

const maxInternalRetries = 10;

/** The lives of runs and their tasks: what starts them, what each report and time-out makes of them. */
export class Runs {
  readonly #core: Core;
  readonly scheduler: Scheduler;

  constructor(core: Core) {
    this.#core = core;
    this.scheduler = new Scheduler(core, {
      undelivered: (task, attempt, error) => this.#undelivered(task, attempt, error),
      overdue: (task, attempt) => this.#overdue(task, attempt),
      unscheduled: (task, attempt) => {
        if (task.attempt !== attempt || task.state !== "queued") return;
        core.state.tell({ kind: "unscheduled", run: task.run, task, attempt });
        this.#end(task, "cancelled", { error: "" });
      },
    });
  }

  /** Starts a run; the same child of the same parent is started once. */
  start(workflow: Workflow, trigger: Trigger): Run {
    const { random, state } = this.#core;
    const { parent } = trigger;
    const born = this.born(parent);
    if (born !== undefined) return born;
    const id = uuid(random);
    // A task alone in its workflow is the run; one for failures is company.
    const isAlone = workflow.steps.length === 1;
    const run: Run = {
      id,
      startedMs: this.#core.clock.now(),
      workflow,
      input: trigger.input,
      metadata: { traceparent: `00-${hex(random, 32)}-${hex(random, 16)}-01`, ...trigger.metadata },
      priority: trigger.priority ?? workflow.priority,
      parent,
      event: trigger.event,
      tasks: new Map(),
      finished: false,
    };
    for (const step of workflow.steps) {
      run.tasks.set(step.name, newTask(run, step, isAlone ? id : uuid(random)));
    }
    state.add(run);
    holdKey(this.#core, run, trigger);
    this.#advance(run);
    return run;
  }

  /** The child of that parent which was started before. */
  born(parent: Parent | undefined): Run | undefined {
    // Children are the same by their index; a key stands in for its number, and is nothing without it.
    if (parent?.index === undefined) return undefined;
    return this.#core.state.children.get(childKey(parent));
  }

  /** The attempt was taken up; nothing depends on it. */
  started(task: Task, attempt: number): void {
    this.#core.state.tell({ kind: "started", run: task.run, task, attempt });
  }

  completed(task: Task, attempt: number, output: string, batch = false): void {
    const wrong = flaw(output, "taskOutput");
    if (wrong !== undefined) return this.failed(task, attempt, wrong, false, batch);
    this.#core.state.tell({ kind: "completed", run: task.run, task, attempt, payload: output, batch });
    if (counts(task, attempt)) this.#end(task, "completed", { output });
    else late(task, attempt, { state: "completed", output, error: undefined });
  }

  /** Starts the next attempt while retries are left. */
  failed(task: Task, attempt: number, error: string, giveUp: boolean, batch = false): void {
    this.#core.state.tell({ kind: "failed", run: task.run, task, attempt, payload: error, batch });
    if (!counts(task, attempt)) return late(task, attempt, { state: "failed", output: undefined, error });
    const { step } = task;
    if (giveUp || task.appRetries >= step.retries) return this.#end(task, "failed", { error });
    this.#core.state.tell({ kind: "faltered", run: task.run, task, attempt });
    this.scheduler.release(task);
    task.attempt++;
    task.appRetries++;
    if (step.backoffFactor === undefined) return this.scheduler.enqueue(task);
    task.state = "retrying";
    const waitMs = Math.min(step.backoffFactor ** task.appRetries * 1000, step.backoffMaxMs);
    task.disarm = housekeep(this.#core, waitMs, () => this.scheduler.enqueue(task));
  }

  /** The worker says that it was cancelled. */
  cancelled(task: Task, attempt: number): void {
    late(task, attempt, { state: "cancelled", output: undefined, error: "" });
    if (attempt === task.attempt) this.cancel(task);
  }

  /** Stops the task whatever it does; what has ended stays as it is. */
  cancel(task: Task): void {
    if (ended(task)) return;
    if (task.state === "running") this.scheduler.cancel(task);
    this.#end(task, "cancelled", { error: "" });
  }

  /** Runs ended tasks again, and those that depend on them; answers with those it took. */
  replay(tasks: readonly Task[]): Task[] {
    const again = new Set(tasks.filter(ended));
    for (const task of again) {
      for (const other of task.run.tasks.values()) {
        if (other.step.onFailure || other.step.parents.includes(task.step.name)) { if (ended(other)) again.add(other); }
      }
    }
    for (const task of again) {
      task.attempt++;
      task.branch++;
      task.appRetries = 0;
      task.internalRetries = 0;
      task.state = "waiting";
      task.output = undefined;
      task.error = undefined;
      task.late = [];
      task.run.finished = false;
    }
    for (const run of new Set([...again].map((task) => task.run))) this.#advance(run);
    return [...again];
  }

  #undelivered(task: Task, attempt: number, error: string): void {
    if (task.attempt !== attempt || task.state !== "running") return;
    this.#core.state.tell({ kind: "failed", run: task.run, task, attempt, payload: error });
    if (task.internalRetries >= maxInternalRetries) return this.#end(task, "failed", { error });
    this.#core.state.tell({ kind: "faltered", run: task.run, task, attempt });
    this.scheduler.release(task);
    task.attempt++;
    task.internalRetries++;
    this.scheduler.enqueue(task);
  }

  #overdue(task: Task, attempt: number): void {
    if (task.attempt !== attempt || task.state !== "running") return;
    this.scheduler.cancel(task);
    this.#core.state.tell({ kind: "timed out", run: task.run, task, attempt });
    this.failed(task, attempt, `Task exceeded timeout of ${task.step.timeout}`, false);
  }

  #end(
    task: Task,
    state: "completed" | "skipped" | "failed" | "cancelled",
    result: { readonly output?: string; readonly error?: string },
  ): void {
    this.scheduler.release(task);
    task.state = state;
    task.output = result.output;
    task.error = result.error;
    if (state === "cancelled") this.#core.state.tell({ kind: "cancelled", run: task.run, task, attempt: task.attempt });
    this.#advance(task.run);
  }

  /** Moves every waiting task whose parents decide it, and notices the end of the run. */
  #advance(run: Run): void {
    const tasks = [...run.tasks.values()];
    for (const task of tasks) {
      if (task.state !== "waiting") continue;
      if (task.step.onFailure) this.#advanceOnFailure(task, tasks);
      else this.#advanceStep(task, tasks);
    }
    if (run.finished || !tasks.every(ended)) return;
    run.finished = true;
    this.#core.state.tell({ kind: "finished", run });
  }

  #advanceStep(task: Task, tasks: readonly Task[]): void {
    const parents = tasks.filter((other) => task.step.parents.includes(other.step.name));
    if (parents.some((parent) => parent.state === "failed" || parent.state === "cancelled")) {
      this.#end(task, "cancelled", { error: "" });
    } else if (parents.every(opensTheWay)) {
      this.#queue(task);
    }
  }

  /** Only now the engine writes the task down; it calls that started. */
  #queue(task: Task): void {
    const { attempt, run } = task;
    if (attempt === 0) this.#core.state.tell({ kind: "created", run, task, attempt });
    this.scheduler.enqueue(task);
  }

  #advanceOnFailure(task: Task, tasks: readonly Task[]): void {
    const others = tasks.filter((other) => other !== task);
    if (others.some((other) => other.state === "failed")) this.#queue(task);
    else if (others.every(ended)) this.#end(task, "skipped", { output: '{"skipped":true}' });
  }
}

function newTask(run: Run, step: Step, id: string): Task {
  return {
    id,
    run,
    step,
    state: "waiting",
    attempt: 0,
    appRetries: 0,
    internalRetries: 0,
    invocations: 0,
    branch: 1,
    worker: undefined,
    assigned: undefined,
    deadlineMs: undefined,
    output: undefined,
    error: undefined,
    late: [],
    disarm: () => {},
  };
}

/** Of an attempt that has ended the engine takes down every other end too. */
function late(task: Task, attempt: number, end: LateEnd): void {
  if (task.attempt === attempt && ended(task) && task.state !== "skipped") task.late.push(end);
}

/** The first end of an attempt decides what happens; later ones, and ends of older attempts, do not. */
function counts(task: Task, attempt: number): boolean {
  return task.attempt === attempt && !ended(task) && task.state !== "waiting" && task.state !== "retrying";
}

/** A parent whose output is a list, a text or a number is done, and yet its children never start. */
export function opensTheWay(parent: Task): boolean {
  if (parent.state === "skipped") return true;
  if (parent.state !== "completed") return false;
  const output = parent.output === undefined || parent.output === "" ? null : parse(parent.output);
  return output === null || isObject(output);
}

/** Metadata of a child: what the parent has, except the engine's own keys, and who the parent is. */
export function childMetadata(own: JsonObject, parent: Task): JsonObject {
  const inherited = Object.entries(parent.run.metadata).filter(([key]) => !key.startsWith("hatchet__"));
  return {
    ...Object.fromEntries(inherited),
    ...own,
    hatchet__parent_workflow_run_id: parent.run.id,
    hatchet__parent_step_run_id: parent.id,
  };
}

/** Reads metadata; anything but an object counts as none. */
export function metadataIn(text: string): JsonObject {
  return objectIn(text) ?? {};
}
