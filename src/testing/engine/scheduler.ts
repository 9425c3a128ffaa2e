import { cancelAction, startAction } from "./actions.ts";
import { type Core, housekeep } from "./core.ts";
import type { Task, Worker } from "./state.ts";

/** What the scheduler finds out about an attempt, for whoever decides what becomes of the task. */
export interface Outcomes {
  /** The worker could not be reached, or fell silent: the attempt starts anew elsewhere. */
  undelivered(task: Task, attempt: number, error: string): void;
  overdue(task: Task, attempt: number): void;
  unscheduled(task: Task, attempt: number): void;
}

interface Queued {
  readonly task: Task;
  readonly attempt: number;
}

/** Hands queued tasks to workers, and takes them back from silent ones. */
export class Scheduler {
  readonly #core: Core;
  readonly #outcomes: Outcomes;
  /** By action, then by priority, the highest first. */
  readonly #queues = new Map<string, [Queued[], Queued[], Queued[]]>();
  #kicked = false;

  constructor(core: Core, outcomes: Outcomes) {
    this.#core = core;
    this.#outcomes = outcomes;
  }

  enqueue(task: Task): void {
    const { attempt, step } = task;
    task.disarm();
    task.state = "queued";
    task.disarm = housekeep(this.#core, step.scheduleMs, () => this.#outcomes.unscheduled(task, attempt));
    const lanes = this.#queues.get(step.action) ?? [[], [], []];
    this.#queues.set(step.action, lanes);
    lanes[3 - task.run.priority]!.push({ task, attempt });
    this.kick();
  }

  /** Something changed that may let a queued task go: it is tried soon. */
  kick(): void {
    if (this.#kicked) return;
    this.#kicked = true;
    const at = Math.max(this.#core.clock.now() + this.#core.timing.assignMs, this.#core.blindUntil);
    this.#core.agenda.at(at, () => {
      this.#kicked = false;
      for (const [action, lanes] of this.#queues) {
        for (const lane of lanes) this.#assignAll(action, lane);
        if (lanes.every((lane) => lane.length === 0)) this.#queues.delete(action);
      }
    });
  }

  /** Takes the task from its worker and gives the slot back. */
  release(task: Task): void {
    task.disarm();
    task.disarm = () => {};
    const { worker, step } = task;
    if (worker === undefined) return;
    task.worker = undefined;
    worker.tasks.delete(task);
    for (const [kind, units] of step.slots) worker.used.set(kind, (worker.used.get(kind) ?? 0) - units);
    this.kick();
  }

  /** Tells every session of the task's worker to stop this attempt; nobody there, nobody hears it. */
  cancel(task: Task): void {
    const { assigned } = task;
    if (assigned === undefined || assigned.dispatcherId !== this.#core.dispatcherId) return;
    const action = cancelAction(task, this.#core.tenantId);
    for (const session of assigned.sessions) {
      void session.send(action);
      if (this.#core.faults.take("duplicateCancel")) void session.send(action);
    }
  }

  /** Moves the deadline of a running attempt. */
  arm(task: Task, deadlineMs: number): void {
    const { attempt } = task;
    task.disarm();
    task.deadlineMs = deadlineMs;
    task.disarm = housekeep(
      this.#core,
      deadlineMs - this.#core.clock.now(),
      () => this.#outcomes.overdue(task, attempt),
    );
  }

  #assignAll(action: string, lane: Queued[]): void {
    for (let next = lane[0]; next !== undefined; next = lane[0]) {
      const { task, attempt } = next;
      if (task.state === "queued" && task.attempt === attempt) {
        const worker = this.#pick(action, task);
        if (worker === undefined) return;
        this.#assign(task, worker);
      }
      lane.shift();
    }
  }

  /** The worker with the most room; chance decides between equals. */
  #pick(action: string, task: Task): Worker | undefined {
    let best: Worker | undefined;
    let most = 0;
    let equals = 1;
    for (const worker of this.#core.state.workers.values()) {
      if (!worker.actions.has(action) || !this.#schedulable(worker)) continue;
      const room = roomFor(worker, task);
      if (room < 1 || room < most) continue;
      equals = room === most ? equals + 1 : 1;
      if (room > most || this.#core.random() * equals < 1) best = worker;
      most = room;
    }
    return best;
  }

  #schedulable(worker: Worker): boolean {
    const silentMs = this.#core.clock.now() - (worker.beatAt ?? -Infinity);
    return worker.active && silentMs <= this.#core.timing.heartbeatWindowMs;
  }

  #assign(task: Task, worker: Worker): void {
    task.state = "running";
    task.worker = worker;
    task.assigned = worker;
    task.invocations++;
    worker.tasks.add(task);
    for (const [kind, units] of task.step.slots) worker.used.set(kind, (worker.used.get(kind) ?? 0) + units);
    this.arm(task, this.#core.clock.now() + task.step.timeoutMs);
    this.#watch(worker);
    void this.#deliver(task, worker);
  }

  async #deliver(task: Task, worker: Worker): Promise<void> {
    // The queue of a dead process: the attempt waits there for its time-out.
    if (worker.dispatcherId !== this.#core.dispatcherId) return;
    const { attempt, internalRetries } = task;
    if (this.#core.faults.take("lostStarts")) {
      this.#core.seen.started(task, worker, false);
      return;
    }
    const action = startAction(task, this.#core.tenantId);
    for (const session of worker.sessions) {
      this.#core.seen.started(task, worker, true);
      if (await session.send(action)) return;
      this.#core.seen.unstarted(task);
    }
    const pauseMs = this.#core.timing.internalRetryMs * Math.min(2 ** internalRetries, 50);
    this.#core.agenda.in(pauseMs, () => {
      this.#outcomes.undelivered(
        task,
        attempt,
        "Could not send task to worker. The worker may have too many slots, or the network too much latency",
      );
    });
  }

  /** One look at the worker when its silence would have lasted too long. */
  #watch(worker: Worker): void {
    if (worker.watched || worker.beatAt === undefined) return;
    worker.watched = true;
    const { reassignMs } = this.#core.timing;
    housekeep(this.#core, worker.beatAt + reassignMs - this.#core.clock.now(), () => {
      worker.watched = false;
      if (this.#core.clock.now() - worker.beatAt! >= reassignMs) {
        // The error text stays empty: that is how the run ends when the internal retries are used up.
        for (const task of [...worker.tasks]) this.#outcomes.undelivered(task, task.attempt, "");
      }
      if (worker.tasks.size > 0) this.#watch(worker);
    });
  }
}

function roomFor(worker: Worker, task: Task): number {
  let room = Infinity;
  for (const [kind, units] of task.step.slots) {
    const free = (worker.slots.get(kind) ?? 0) - (worker.used.get(kind) ?? 0);
    room = Math.min(room, free / units);
  }
  return room;
}
