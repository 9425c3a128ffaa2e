import { type DurableTaskRequest, StepActionEventType } from "../../proto.ts";
import { names } from "./method.ts";
import type { Task, Worker } from "./state.ts";

/** One call or stream, as it arrived. */
export interface SeenCall {
  /** With its service: `Dispatcher/ListenV2`. */
  readonly method: string;
  readonly atMs: number;
  readonly authorization: string | undefined;
  /** Absent while it is open. */
  readonly endedMs?: number;
}

/** One heartbeat that was accepted. */
export interface SeenBeat {
  readonly workerId: string;
  readonly atMs: number;
}

/** One report of a worker. */
export interface SeenReport {
  readonly taskId: string;
  readonly attempt: number;
  readonly type: "started" | "completed" | "failed" | "cancelled" | "acknowledged";
  readonly workerId: string;
  /** Of durable tasks: which assignment. */
  readonly invocation?: number;
  readonly payload: string;
  readonly atMs: number;
}

/** One attempt that was handed out. */
export interface SeenStart {
  readonly taskId: string;
  readonly runId: string;
  readonly attempt: number;
  readonly workerId: string;
  /** Of durable tasks: which assignment. */
  readonly invocation?: number;
  readonly atMs: number;
  /** Counted as delivered, and never written. */
  readonly lost: boolean;
}

/** One line that a task logged. */
export interface SeenLog {
  readonly taskId: string;
  readonly attempt: number | undefined;
  readonly level: string | undefined;
  readonly message: string;
  readonly atMs: number;
}

/** One request of a durable task. */
export interface SeenDurable {
  /** Streams count from 1, in the order they were opened. */
  readonly stream: number;
  readonly message: DurableTaskRequest["message"];
  readonly atMs: number;
}

/** One chunk that a task put. */
export interface SeenChunk {
  readonly taskId: string;
  readonly index: bigint | undefined;
  /** Undefined for bytes that are no text. */
  readonly text: string | undefined;
  readonly atMs: number;
}

/** What one stream was asked for, in order: run ids, or the key and value of metadata with a colon between. */
export interface SeenSubscription {
  readonly method: string;
  readonly openedMs: number;
  readonly runIds: readonly string[];
}

/** What reached the engine; for assertions. Each list keeps its newest 10,000 entries, the counts go on. */
export interface Seen {
  /** Calls and stream opens, of one method or all, named with or without the service. */
  calls(method?: string): readonly SeenCall[];
  /** How many there were, whatever the list still holds. */
  count(method?: string): number;
  /** How many streams of a method are open. */
  open(method: string): number;
  readonly beats: readonly SeenBeat[];
  readonly reports: readonly SeenReport[];
  readonly starts: readonly SeenStart[];
  readonly chunks: readonly SeenChunk[];
  readonly durable: readonly SeenDurable[];
  readonly logs: readonly SeenLog[];
  readonly subscriptions: readonly SeenSubscription[];
  /** Runs that were started. */
  readonly triggers: number;
  /**
   * Attempts that were handed out or reported as started more than once, as `taskId/attempt`; of durable tasks the
   * invocations, as `taskId/attempt/invocation`.
   */
  readonly startedTwice: readonly string[];
}

const kept = 10_000;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Keeps the books behind {@link Seen}. */
export class SeenBook implements Seen {
  readonly #now: () => number;
  readonly #calls: Mutable<SeenCall>[] = [];
  readonly #counts = new Map<string, number>();
  readonly beats: SeenBeat[] = [];
  readonly reports: SeenReport[] = [];
  readonly starts: Mutable<SeenStart>[] = [];
  readonly chunks: SeenChunk[] = [];
  readonly durable: SeenDurable[] = [];
  readonly logs: SeenLog[] = [];
  #durableStreams = 0;
  readonly subscriptions: SeenSubscription[] = [];
  triggers = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  calls(method?: string): readonly SeenCall[] {
    return this.#calls.filter((call) => method === undefined || names(method, call.method));
  }

  count(method?: string): number {
    let total = 0;
    for (const [name, count] of this.#counts) if (method === undefined || names(method, name)) total += count;
    return total;
  }

  open(method: string): number {
    return this.calls(method).filter((call) => call.endedMs === undefined).length;
  }

  get startedTwice(): readonly string[] {
    const handed = this.starts.filter((start) => !start.lost).map(named);
    const told = this.reports.filter((report) => report.type === "started").map(named);
    return [...new Set([...repeated(handed), ...repeated(told)])];
  }

  /** Notes a call; the answer is called when it ends. */
  called(method: string, authorization: string | undefined): () => void {
    const call: Mutable<SeenCall> = { method, authorization, atMs: this.#now() };
    keep(this.#calls, call);
    this.#counts.set(method, (this.#counts.get(method) ?? 0) + 1);
    return () => {
      call.endedMs = this.#now();
    };
  }

  beat(workerId: string): void {
    keep(this.beats, { workerId, atMs: this.#now() });
  }

  reported(task: Task, attempt: number, type: StepActionEventType, workerId: string, payload: string): void {
    const name = reportNames[type];
    if (name === undefined) return;
    const atMs = this.#now();
    keep(this.reports, { taskId: task.id, attempt, type: name, workerId, payload, atMs, ...invocation(task) });
  }

  started(task: Task, worker: Worker, delivered: boolean): void {
    const { id: taskId, run, attempt } = task;
    const atMs = this.#now();
    keep(this.starts, {
      taskId,
      runId: run.id,
      attempt,
      workerId: worker.id,
      atMs,
      lost: !delivered,
      ...invocation(task),
    });
  }

  /** The newest start of the task did not get through after all. */
  unstarted(task: Task): void {
    const index = this.starts.findLastIndex((start) => start.taskId === task.id);
    if (index >= 0) this.starts.splice(index, 1);
  }

  chunk({ id: taskId }: Task, index: bigint | undefined, text: string | undefined): void {
    keep(this.chunks, { taskId, index, text, atMs: this.#now() });
  }

  log({ id: taskId }: Task, message: string, level: string | undefined, attempt: number | undefined): void {
    keep(this.logs, { taskId, attempt, level, message, atMs: this.#now() });
  }

  /** Notes a stream of durable tasks; the answer is called with each request. */
  durableStream(): (request: DurableTaskRequest) => void {
    const stream = ++this.#durableStreams;
    return ({ message }) => keep(this.durable, { stream, message, atMs: this.#now() });
  }

  /** Notes a stream; each run id it is asked for goes into the list. */
  subscribed(method: string): string[] {
    const runIds: string[] = [];
    keep(this.subscriptions, { method, openedMs: this.#now(), runIds });
    return runIds;
  }
}

const reportNames: Readonly<Partial<Record<StepActionEventType, SeenReport["type"]>>> = {
  [StepActionEventType.STEP_EVENT_TYPE_STARTED]: "started",
  [StepActionEventType.STEP_EVENT_TYPE_COMPLETED]: "completed",
  [StepActionEventType.STEP_EVENT_TYPE_FAILED]: "failed",
  [StepActionEventType.STEP_EVENT_TYPE_CANCELLED]: "cancelled",
  [StepActionEventType.STEP_EVENT_TYPE_ACKNOWLEDGED]: "acknowledged",
};

function invocation({ invocations, step }: Task): { invocation?: number } {
  return step.durable ? { invocation: invocations } : {};
}

function named({ attempt, invocation: assigned, taskId }: SeenStart | SeenReport): string {
  return assigned === undefined ? `${taskId}/${attempt}` : `${taskId}/${attempt}/${assigned}`;
}

function keep<T>(list: T[], entry: T): void {
  list.push(entry);
  if (list.length > kept * 1.1) list.splice(0, list.length - kept);
}

function repeated(keys: readonly string[]): string[] {
  const once = new Set<string>();
  return keys.filter((key) => once.has(key) || !once.add(key));
}
