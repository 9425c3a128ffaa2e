import type { AssignedAction, IdempotencyConfig } from "../../proto.ts";
import type { JsonObject } from "./json.ts";

/** One task of a workflow, as it was put. */
export interface Step {
  readonly id: string;
  readonly name: string;
  readonly action: string;
  readonly parents: readonly string[];
  readonly timeout: string;
  readonly timeoutMs: number;
  readonly scheduleMs: number;
  readonly retries: number;
  readonly backoffFactor: number | undefined;
  readonly backoffMaxMs: number;
  readonly durable: boolean;
  /** Units by kind of slot. */
  readonly slots: ReadonlyMap<string, number>;
  /** Runs when another task of the run failed. */
  readonly onFailure: boolean;
}

/** One version of a workflow; another definition under its name is another version. */
export interface Workflow {
  readonly id: string;
  readonly versionId: string;
  readonly name: string;
  readonly checksum: string;
  readonly steps: readonly Step[];
  readonly priority: number;
  readonly eventTriggers: readonly string[];
  readonly idempotency: IdempotencyConfig | undefined;
}

/** One open ListenV2 or Listen. */
export interface Session {
  /** Resolves true when the action counts as delivered. */
  send(action: AssignedAction): Promise<boolean>;
}

/** A registered worker. */
export interface Worker {
  readonly id: string;
  readonly name: string;
  readonly actions: ReadonlySet<string>;
  readonly slots: ReadonlyMap<string, number>;
  readonly used: Map<string, number>;
  readonly labels: Map<string, string | number>;
  /** In the order they were opened. Lost with the process, as all sessions are. */
  readonly sessions: Set<Session>;
  /** The attempts it has. */
  readonly tasks: Set<Task>;
  /** The engine process the worker belongs to. */
  dispatcherId: string;
  /** The process its stream of durable tasks came to. */
  durableDispatcherId: string | undefined;
  active: boolean;
  /** When it last opened a ListenV2. */
  listenerAt: number | undefined;
  beatAt: number | undefined;
  /** Whether somebody watches for its silence. */
  watched: boolean;
}

/** Waiting for parents, in the queue, waiting for its retry, with a worker, taken away until it is due, or ended. */
type TaskState =
  | "waiting"
  | "queued"
  | "retrying"
  | "running"
  | "evicted"
  | "completed"
  | "skipped"
  | "failed"
  | "cancelled";

/** An end that came in after the end. */
export interface LateEnd {
  readonly state: "completed" | "failed" | "cancelled";
  readonly output: string | undefined;
  readonly error: string | undefined;
}

/** One task of a run. */
export interface Task {
  readonly id: string;
  readonly run: Run;
  readonly step: Step;
  state: TaskState;
  /** The retry_count of the wire: application retries, internal ones and replays. */
  attempt: number;
  appRetries: number;
  internalRetries: number;
  /** How often it was assigned. */
  invocations: number;
  /** Another one after each replay, for what durable tasks remember. */
  branch: number;
  worker: Worker | undefined;
  /** What the attempt was assigned to; a released slot keeps it, so that a cancel finds its way. */
  assigned: Worker | undefined;
  deadlineMs: number | undefined;
  output: string | undefined;
  error: string | undefined;
  /** What was reported of the attempt after its end: the engine keeps it all, and shows the last. */
  late: LateEnd[];
  /** Takes back the timer of the present state. */
  disarm: () => void;
}

/** One run. */
export interface Run {
  readonly id: string;
  readonly startedMs: number;
  readonly workflow: Workflow;
  /** As it was given. */
  readonly input: string;
  readonly metadata: JsonObject;
  readonly priority: number;
  readonly parent: Parent | undefined;
  /** What started it. */
  readonly event: { readonly id: string; readonly key: string } | undefined;
  /** By readable id, in the order of the definition. */
  readonly tasks: Map<string, Task>;
  finished: boolean;
}

/** What a run is started with; checked by the service that was asked. */
export interface Trigger {
  readonly input: string;
  readonly metadata: JsonObject;
  readonly priority: number | undefined;
  readonly parent: Parent | undefined;
  /** The event that starts it. */
  readonly event?: { readonly id: string; readonly key: string };
}

/** What a child run knows of its parent. */
export interface Parent {
  readonly taskId: string;
  readonly index: number | undefined;
  readonly key: string | undefined;
}

/** Whether nothing more will happen to the task by itself. */
export function ended(task: Task): boolean {
  return task.state === "completed" || task.state === "skipped" || task.state === "failed" ||
    task.state === "cancelled";
}

/** Something that happened, for the streams that tell. */
export interface Happening {
  readonly kind:
    | "created"
    | "started"
    | "completed"
    | "failed"
    /** The attempt that failed will be repeated. */
    | "faltered"
    | "cancelled"
    /** No worker took the task in time. */
    | "unscheduled"
    | "timed out"
    | "finished";
  readonly run: Run;
  /** Absent for the run as a whole. */
  readonly task?: Task;
  readonly attempt?: number;
  /** Output or error, as the worker sent it; it may belong to an attempt that no longer counts. */
  readonly payload?: string;
  /** It was reported among others. */
  readonly batch?: boolean;
}

/** Everything the engine knows, in memory. It survives `kill()` and `restart()`, as a database would. */
export class State {
  readonly workflows: Map<string, Workflow> = new Map();
  readonly workers: Map<string, Worker> = new Map();
  readonly tasks: Map<string, Task> = new Map();
  readonly runs: Map<string, Run> = new Map();
  /** Child runs by their parent task and their key or index, so that asking twice starts one. */
  readonly children: Map<string, Run> = new Map();
  /** Runs by their workflow and idempotency key. */
  readonly keys: Map<string, Run> = new Map();
  readonly #listeners = new Set<(happening: Happening) => void>();
  readonly #finished: Run[] = [];
  readonly #keepRuns: number;

  constructor(keepRuns: number) {
    this.#keepRuns = keepRuns;
  }

  /** Calls the listener for everything that happens from now on, until the undo. */
  listen(listener: (happening: Happening) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(happening: Happening): void {
    if (happening.kind === "finished") this.#retire(happening.run);
    for (const listener of this.#listeners) listener(happening);
  }

  add(run: Run): void {
    this.runs.set(run.id, run);
    for (const task of run.tasks.values()) this.tasks.set(task.id, task);
    if (run.parent?.index !== undefined) this.children.set(childKey(run.parent), run);
  }

  /** Memory is not a database: the oldest ended runs go. */
  #retire(run: Run): void {
    this.#finished.push(run);
    if (this.#finished.length <= this.#keepRuns) return;
    const oldest = this.#finished.shift()!;
    if (!oldest.finished) return;
    this.runs.delete(oldest.id);
    for (const [key, holder] of this.keys) if (holder === oldest) this.keys.delete(key);
    for (const task of oldest.tasks.values()) this.tasks.delete(task.id);
    if (oldest.parent?.index !== undefined) this.children.delete(childKey(oldest.parent));
  }
}

/** A key that looks like another child's index is that index. */
export function childKey(parent: Parent): string {
  return `${parent.taskId} ${parent.key ?? parent.index}`;
}
