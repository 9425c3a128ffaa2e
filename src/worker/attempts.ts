import type { CancelAction, StartAction } from "../listeners/action.ts";

/** Why a running task's signal aborts. */
export type AbortCause = "cancelled" | "superseded" | "stopped";

/** A running task's signal aborts with this; whoever passes the signal on sees why. */
export class TaskAborted extends Error {
  override readonly name = "TaskAborted";
  readonly because: AbortCause;

  constructor(because: AbortCause) {
    super(`The task was ${because}`);
    this.because = because;
  }
}

/** Runs one attempt; resolves when it is over and reported. */
export type Runner = (action: StartAction, signal: AbortSignal) => Promise<void>;

interface Running {
  readonly action: StartAction;
  readonly life: AbortController;
}

/** How many cancels that came before their start are remembered. */
const remembered = 1000;

/**
 * What a worker runs, by task. The engine may send an attempt twice, cancel it before it starts or after it ended, and
 * start a newer one while an older still runs; here each attempt runs once, and of a task only the newest.
 */
export class Attempts {
  readonly #run: Runner;
  readonly #slots: number;
  readonly #running = new Map<string, Running>();
  readonly #waiting: StartAction[] = [];
  /** Attempts that were cancelled before they were started, the oldest first. */
  readonly #cancelled = new Set<string>();
  #active = 0;
  #idle: (() => void)[] = [];

  constructor(slots: number, run: Runner) {
    this.#slots = slots;
    this.#run = run;
  }

  /** How many attempts run. */
  get active(): number {
    return this.#active;
  }

  /** Runs the attempt as soon as a slot is free. */
  start(action: StartAction): void {
    const before = this.#running.get(action.taskId);
    if (before !== undefined) {
      if (age(action) <= age(before.action)) return;
      this.#abort(before, "superseded");
    }
    if (this.#waiting.some((one) => one.taskId === action.taskId && age(one) >= age(action))) return;
    this.#drop((one) => one.taskId === action.taskId);
    if (this.#cancelled.delete(key(action))) return;
    if (this.#active < this.#slots) void this.#go(action);
    else this.#waiting.push(action);
  }

  /** Stops the attempt; one that has not come yet will not run. */
  cancel(action: CancelAction): void {
    const running = this.#running.get(action.taskId);
    if (running !== undefined && running.action.attempt <= action.attempt) return this.#abort(running, "cancelled");
    if (this.#drop((one) => one.taskId === action.taskId && one.attempt <= action.attempt)) return;
    this.#cancelled.add(key(action));
    for (const oldest of this.#cancelled) {
      if (this.#cancelled.size <= remembered) break;
      this.#cancelled.delete(oldest);
    }
  }

  /** Aborts whatever runs. */
  stop(): void {
    this.#waiting.length = 0;
    for (const running of [...this.#running.values()]) this.#abort(running, "stopped");
  }

  /** Forgets what has not started yet: the engine hands it to another worker. */
  leave(): void {
    this.#waiting.length = 0;
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#active === 0) return resolve();
      this.#idle.push(resolve);
    });
  }

  async #go(action: StartAction): Promise<void> {
    const running: Running = { action, life: new AbortController() };
    this.#running.set(action.taskId, running);
    this.#active++;
    try {
      await this.#run(action, running.life.signal);
    } finally {
      this.#active--;
      if (this.#running.get(action.taskId) === running) this.#running.delete(action.taskId);
      const next = this.#waiting.shift();
      if (next !== undefined) void this.#go(next);
      else if (this.#active === 0) { for (const resolve of this.#idle.splice(0)) resolve(); }
    }
  }

  #abort(running: Running, because: AbortCause): void {
    if (this.#running.get(running.action.taskId) === running) this.#running.delete(running.action.taskId);
    running.life.abort(new TaskAborted(because));
  }

  #drop(matches: (action: StartAction) => boolean): boolean {
    const index = this.#waiting.findIndex(matches);
    if (index >= 0) this.#waiting.splice(index, 1);
    return index >= 0;
  }
}

/** Later attempts and invocations are newer. */
function age({ attempt, invocation = 1 }: StartAction): number {
  return attempt * 2 ** 20 + invocation;
}

function key({ attempt, taskId }: StartAction | CancelAction): string {
  return `${taskId} ${attempt}`;
}
