import type { Core } from "./core.ts";
import { objectIn, parse, write } from "./json.ts";
import { type Entry, Log, type Outcome } from "./log.ts";
import { opensTheWay, type Runs } from "./runs.ts";
import { ended, type Run, type Task } from "./state.ts";

/** Where completions of a task are sent. */
export interface Outlet {
  complete(task: Task, entry: Entry): void;
}

interface Awaited {
  readonly task: Task;
  readonly entry: Entry;
}

/** The durable tasks: their logs, which stream each of them is on, and their leaving and coming back. */
export class Durable {
  readonly #core: Core;
  readonly #runs: Runs;
  readonly #logs = new WeakMap<Task, Log>();
  /** By task id. Lost with the process. */
  readonly #bindings = new Map<string, Outlet>();
  /** Who waits for a run. */
  readonly #children = new Map<string, Awaited[]>();

  constructor(core: Core, runs: Runs) {
    this.#core = core;
    this.#runs = runs;
    core.state.listen(({ kind, run }) => {
      if (kind === "finished") this.#childEnded(run);
    });
  }

  log(task: Task): Log {
    const log = this.#logs.get(task) ?? new Log(task);
    this.#logs.set(task, log);
    return log;
  }

  /** Completions of the task go to this stream from now on: the last one wins. */
  bind(task: Task, outlet: Outlet): void {
    this.#bindings.set(task.id, outlet);
  }

  /** Whichever stream the task is on by now: the real engine does not look either. */
  unbind(taskId: string): void {
    this.#bindings.delete(taskId);
  }

  /** Forgets what a process that dies forgets. */
  forget(): void {
    this.#bindings.clear();
  }

  /** Settles the entry when its run ends, at once if it has. */
  await(task: Task, entry: Entry): void {
    const childId = entry.childId;
    if (childId === undefined || entry.outcome !== undefined) return;
    const child = this.#core.state.runs.get(childId);
    // The run of an unknown workflow: nothing ever comes of it.
    if (child === undefined) return;
    const outcome = outcomeOf(child);
    if (outcome !== undefined) {
      this.log(task).settle(entry, outcome);
      return;
    }
    const awaited = this.#children.get(childId) ?? [];
    if (!awaited.some((other) => other.entry === entry)) awaited.push({ task, entry });
    this.#children.set(childId, awaited);
  }

  /** An outcome comes while the task waits, or is away: it is told, or brings the task back. */
  settle(task: Task, entry: Entry, outcome: Outcome): void {
    if (!this.log(task).settle(entry, outcome) || ended(task)) return;
    if (task.state === "evicted") return this.#runs.scheduler.enqueue(task);
    const outlet = this.#bindings.get(task.id);
    // Dropped when nobody is there: the client's polling catches up.
    if (task.assigned?.durableDispatcherId === this.#core.dispatcherId) outlet?.complete(task, entry);
  }

  /** Takes the task from its worker until something it waits for comes; nothing happens if it does not run. */
  evict(task: Task): void {
    if (task.state !== "running" || !task.step.durable) return;
    this.#runs.scheduler.release(task);
    task.state = "evicted";
  }

  /** Brings an evicted task back; anything else stays as it is. */
  restore(task: Task): void {
    if (task.state === "evicted") this.#runs.scheduler.enqueue(task);
  }

  #childEnded(run: Run): void {
    const outcome = outcomeOf(run);
    if (outcome === undefined) return;
    const awaited = this.#children.get(run.id) ?? [];
    this.#children.delete(run.id);
    for (const { entry, task } of awaited) this.settle(task, entry, outcome);
  }
}

/** What the parent of a run gets to know; nothing, for ever, of an output that is a list, a text or a number. */
function outcomeOf(run: Run): Outcome | undefined {
  if (!run.finished) return undefined;
  const tasks = [...run.tasks.values()];
  const failed = tasks.find((task) => task.state === "failed");
  if (failed !== undefined) return { payload: "", error: failed.error ?? "" };
  const cancelled = tasks.find((task) => task.state === "cancelled");
  if (cancelled !== undefined) return { payload: "", error: `task ${cancelled.step.name} was cancelled` };
  const steps = tasks.filter((task) => !task.step.onFailure);
  if (!steps.every(opensTheWay)) return undefined;
  if (steps.length === 1) return { payload: steps[0]!.output ?? "" };
  return { payload: write(Object.fromEntries(steps.map((task) => [task.step.name, objectIn(task.output ?? "")]))) };
}

/** The text as it comes back from the engine's database: other spaces, and keys by length first. */
export function stored(text: string): string {
  const value = parse(text);
  return value === undefined ? text : jsonb(value);
}

function jsonb(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(jsonb).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).toSorted(([a], [b]) => a.length - b.length || (a < b ? -1 : 1));
  return `{${members.map(([key, inner]) => `${JSON.stringify(key)}: ${jsonb(inner)}`).join(", ")}}`;
}
