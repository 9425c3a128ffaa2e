import { Dispatcher } from "../../gen/dispatcher/dispatcher_pb.ts";
import { AdminService } from "../../gen/v1/workflows_pb.ts";
import type { Action, StartAction } from "../listeners/action.ts";
import { actions } from "../listeners/actions.ts";
import { checkRegistration, type RegisterOptions } from "../listeners/register.ts";
import type { Root } from "../root.ts";
import { show } from "../show.ts";
import { after } from "../streams/clock.ts";
import { StreamError } from "../streams/errors.ts";
import { linked, onAbort } from "../streams/signal.ts";
import type { LiveStream } from "../streams/stream.ts";
import { Attempts } from "./attempts.ts";
import { contextOf } from "./context.ts";
import type { AnyTask, Task } from "./task.ts";
import { actionId, definition } from "./task.ts";

/** What a worker runs. */
export interface WorkerOptions {
  readonly tasks: readonly AnyTask[];
  /** How many attempts at once. @default 100 */
  readonly slots?: number | undefined;
  /** What tasks can ask for. */
  readonly labels?: Readonly<Record<string, string | number>> | undefined;
}

/** How a worker stops. */
export interface StopOptions {
  /** How long running tasks may go on; then they are aborted, and the engine hands them to another. @default 10_000 */
  readonly graceMs?: number | undefined;
}

/** Whether a worker receives, and what it does. */
export interface WorkerHealth {
  /** True while it receives, as far as the wire and the engine can show. */
  readonly ready: boolean;
  /** The engine's id for it; another after it was registered anew. */
  readonly workerId: string | undefined;
  /** How many attempts run. */
  readonly active: number;
}

/** How long the engine has to hear that a worker leaves, in milliseconds. */
const farewellMs = 2000;

/** Runs tasks until it is stopped; one `run()` in a worker's life. */
export class Worker implements AsyncDisposable {
  readonly name: string;
  readonly #root: Root;
  readonly #tasks: readonly Task[];
  readonly #registration: RegisterOptions;
  readonly #byAction: ReadonlyMap<string, Task>;
  readonly #attempts: Attempts;
  readonly #life = linked();
  #stream: LiveStream<Action> | undefined;
  #running: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #workerId: string | undefined;

  constructor(root: Root, name: string, { labels, slots = 100, tasks }: WorkerOptions) {
    if (tasks.length === 0) throw new TypeError("tasks must name at least one task, got none");
    const { namespace } = root.config;
    this.#byAction = new Map(tasks.map((task) => [actionId(task.name, namespace), task]));
    if (this.#byAction.size < tasks.length) throw new TypeError("tasks must have names of their own, got one twice");
    this.#registration = { name, actions: [...this.#byAction.keys()], slots, labels };
    checkRegistration(this.#registration);
    // Not by type of slot: what is no number would let nothing run, and nobody would be told.
    if (typeof slots !== "number") throw new TypeError(`slots must be a number, got ${show(slots)}`);
    this.name = name;
    this.#root = root;
    this.#tasks = tasks;
    this.#attempts = new Attempts(slots, (action, signal) => this.#attempt(action, signal));
  }

  /**
   * Registers the tasks, then the worker, and runs what the engine sends. Resolves when the worker has stopped, by
   * `stop()` or by the signal, which lets running tasks finish.
   *
   * @throws StreamError when the worker gave up: the engine refused it, or was not there at the start
   */
  run({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#running !== undefined) throw new TypeError("A worker runs once; make another");
    this.#running = this.#run(signal);
    return this.#running;
  }

  /** Resolves when the worker receives; rejects with the signal's own reason, or with why it gave up. */
  async ready({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { board } = this.#root;
    const reports = board.watch();
    const leave = () => void reports.return?.();
    const undo = signal && onAbort(signal, leave);
    const over = onAbort(this.#life.signal, leave);
    try {
      if (!this.health().ready) {
        for await (const _ of reports) if (this.health().ready) break;
      }
    } finally {
      undo?.();
      over();
    }
    signal?.throwIfAborted();
    if (this.health().ready) return;
    await this.#running;
    throw new StreamError("closed", "The worker has stopped");
  }

  /** Whether it receives, and what it does. */
  health(): WorkerHealth {
    const id = this.#workerId;
    const stream = this.#root.board.health().streams.find((one) => one.stream === "actions" && one.id === id);
    return {
      ready: stream?.ready === true && this.#stopping === undefined,
      workerId: id,
      active: this.#attempts.active,
    };
  }

  /** Takes nothing new, lets what runs finish and report, then leaves. Idempotent. */
  stop(options: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  /** The same as {@link Worker.stop}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(signal: AbortSignal | undefined): Promise<void> {
    const undo = signal && onAbort(signal, () => void this.stop());
    try {
      if (this.#stopping !== undefined) return await this.#stopping;
      for (const task of this.#tasks) {
        const request = definition(task, this.#root.config.namespace);
        await this.#root.call((options) => this.#root.rpc(AdminService).putWorkflow(request, options), {
          idempotent: true,
          signal: this.#life.signal,
        });
      }
      this.#stream = actions(this.#root, {
        register: this.#registration,
        signal: this.#life.signal,
        onRegistered: ({ workerId }) => {
          this.#workerId = workerId;
        },
      });
      for await (const action of this.#stream) {
        if (action.kind === "cancel") this.#attempts.cancel(action);
        else if (this.#stopping === undefined) this.#attempts.start(action);
      }
    } catch (error) {
      if (!this.#life.signal.aborted) throw error;
    } finally {
      undo?.();
      this.#attempts.stop();
      this.#life.abort();
    }
    await this.#stopping;
  }

  /** One attempt, from its start to its report. A report that the engine will never take is logged, not thrown. */
  async #attempt(action: StartAction, signal: AbortSignal): Promise<void> {
    const lost = (error: unknown) => {
      if (signal.aborted || this.#root.signal.aborted) return;
      const { actionId: id, attempt, taskId } = action;
      this.#root.config.logger.error("The engine would not take a report", { actionId: id, taskId, attempt, error });
    };
    const task = this.#byAction.get(action.actionId);
    if (task === undefined) {
      return action.failed(new Error(`This worker does not run ${action.actionId}`), { signal }).catch(lost);
    }
    action.started({ signal }).catch(lost);
    let report: () => Promise<void>;
    try {
      const output = await task.run(action.input, contextOf(this.#root, action, signal));
      report = () => action.completed(output, { signal });
    } catch (error) {
      report = () => action.failed(error, { signal });
    }
    // An output that JSON cannot carry, or that is more than the engine takes, is the task's failure.
    await report().catch((error: unknown) => action.failed(error, { signal })).catch(lost);
  }

  async #stop({ graceMs = 10_000 }: StopOptions): Promise<void> {
    const { clock } = this.#root;
    this.#attempts.leave();
    const grace = linked(this.#root.signal);
    try {
      const out = clock.sleep(graceMs, grace.signal).catch(() => {
        // Everything has finished, or the client closes: no need to wait.
      });
      await Promise.race([this.#attempts.idle(), out]);
    } finally {
      grace.abort();
    }
    this.#attempts.stop();
    await this.#unsubscribe();
    await this.#stream?.close();
    this.#life.abort();
  }

  /** Tells the engine that nobody listens any more, before the stream goes: a closed stream alone may not tell. */
  async #unsubscribe(): Promise<void> {
    const workerId = this.#workerId;
    if (workerId === undefined) return;
    const { clock, signal } = this.#root;
    const life = linked(signal);
    after(clock, farewellMs, life.signal, life.abort);
    try {
      await this.#root.background(
        (options) => this.#root.rpc(Dispatcher).unsubscribe({ workerId }, options),
        life.signal,
      );
    } catch {
      // The engine is not there, and notices our silence by itself.
    } finally {
      life.abort();
    }
  }
}
