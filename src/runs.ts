import { Code, ConnectError } from "@connectrpc/connect";
import { AdminService, IdempotencyCollisionErrorSchema } from "../gen/v1/workflows_pb.ts";
import { WorkflowService } from "../gen/workflows/workflows_pb.ts";
import type { RunDetails } from "./details.ts";
import { toDetails } from "./details.ts";
import { RunCancelledError, RunFailedError } from "./errors.ts";
import { uuid } from "./ids.ts";
import type { ChunksOptions } from "./listeners/chunks.ts";
import { Chunks } from "./listeners/chunks.ts";
import type { RunEvent } from "./listeners/event.ts";
import { metadataEvents, runEvents } from "./listeners/events.ts";
import type { Outputs } from "./listeners/outcome.ts";
import type { Results } from "./listeners/results.ts";
import type { Root } from "./root.ts";
import { show } from "./show.ts";
import { Pump } from "./streams/pump.ts";
import { linked } from "./streams/signal.ts";
import { LiveStream } from "./streams/stream.ts";
import type { TriggerOptions, WaitOptions } from "./trigger.ts";
import { triggerRequest } from "./trigger.ts";
import type { Task } from "./worker/task.ts";

export type { TriggerOptions, WaitOptions } from "./trigger.ts";

export type { Outputs } from "./listeners/outcome.ts";

/** A run that was triggered. */
export interface RunRef<O> {
  readonly id: string;
  /** Its outcome; see {@link Runs.result}. */
  result(options?: WaitOptions): Promise<O>;
  /** What happens in it; see {@link Runs.events}. */
  events(options?: WaitOptions): LiveStream<RunEvent>;
  /** What its tasks stream; see {@link Runs.chunks}. */
  chunks(options?: ChunksOptions): LiveStream<string>;
  /** Where it is; see {@link Runs.details}. */
  details(options?: WaitOptions): Promise<RunDetails>;
  /** Asks the engine to cancel it. */
  cancel(options?: WaitOptions): Promise<void>;
}

/** A run that has settled. */
export type SettledRun =
  | { readonly runId: string; readonly status: "completed"; readonly outputs: Outputs }
  | { readonly runId: string; readonly status: "failed"; readonly error: RunFailedError }
  | { readonly runId: string; readonly status: "cancelled"; readonly error: RunCancelledError };

/** Triggers runs and waits for them. */
export class Runs {
  readonly #root: Root;
  readonly #results: Results;

  constructor(root: Root, results: Results) {
    this.#root = root;
    this.#results = results;
  }

  /** Triggers a run and waits for its outcome. */
  run<I, O>(task: Task<I, O>, input: I, options?: TriggerOptions): Promise<O>;
  run(name: string, input?: unknown, options?: TriggerOptions): Promise<Outputs>;
  async run(target: Task | string, input?: unknown, options: TriggerOptions = {}): Promise<unknown> {
    const run = await this.#trigger(target, input, options);
    return run.result(options);
  }

  /**
   * Triggers a run. The engine may answer OK for a workflow that does not exist: then nobody ever runs it, and its
   * `result()` rejects with `refused` after a while.
   *
   * @throws TypeError or RangeError before any I/O; StreamError `unreachable` or `refused`; ConnectError
   */
  trigger<I, O>(task: Task<I, O>, input: I, options?: TriggerOptions): Promise<RunRef<O>>;
  trigger(name: string, input?: unknown, options?: TriggerOptions): Promise<RunRef<Outputs>>;
  trigger(target: Task | string, input?: unknown, options: TriggerOptions = {}): Promise<RunRef<unknown>> {
    return this.#trigger(target, input, options);
  }

  /**
   * Waits for a run's outputs, by task, through any number of cuts.
   *
   * @throws TypeError when the id is no UUID, before any I/O
   * @throws RunFailedError, RunCancelledError
   * @throws StreamError `unreachable`, `refused` (the token, or a run that the engine does not know), `closed`
   */
  result(runId: string, { signal }: WaitOptions = {}): Promise<Outputs> {
    try {
      return this.#results.wait(runId, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The runs in the order in which they settle, failures among them; ends after the last. */
  results(runIds: Iterable<string>, { signal }: WaitOptions = {}): LiveStream<SettledRun> {
    const ids = [...new Set(list(runIds))];
    return new LiveStream((life) => this.#settled(ids, life), { signal });
  }

  /**
   * What happens in a run, from now on, and what its tasks stream. The loop ends when the run has completed, and throws
   * when it failed or was cancelled.
   *
   * The engine tells each event at most once, to whoever listens at the moment: what happens while the wire is cut is
   * lost, and a `gap` among the events says where. Of what waits for the loop it keeps 1,000 events or 4 MiB; then it
   * stops reading, and so slows the engine down for all who listen to events: take them soon.
   *
   * @throws TypeError when the id is no UUID, at once
   * @throws RunFailedError, RunCancelledError
   * @throws StreamError `unreachable`, `refused` (the token, or a run that the engine does not know), `stalled`, `closed`
   */
  events(runId: string, options: WaitOptions = {}): LiveStream<RunEvent> {
    return runEvents(this.#root, runId, options);
  }

  /**
   * The texts that a run's tasks stream, in the order of their numbers where the sender numbers them. It ends as
   * {@link Runs.events} does.
   *
   * @throws StreamError `gap` where some may be missing, unless `onGap` is there to be told
   *
   * @example
   * ```ts
   * const chunks = hatchet.runs.chunks(run.id, { onGap: () => console.log("[…]") });
   * return new Response(ReadableStream.from(chunks).pipeThrough(new TextEncoderStream()));
   * ```
   */
  chunks(runId: string, options: ChunksOptions = {}): LiveStream<string> {
    return new Chunks(this.#root, runId, options);
  }

  /**
   * What happens in all runs that were triggered with this metadata; only values that are texts are found. It ends by
   * the caller only: the engine hangs up whenever no such run is left, and it listens again, with a `gap` between.
   *
   * @throws TypeError when key or value is no text or empty, at once
   * @throws StreamError `unreachable`, `refused`, `stalled`, `closed`
   */
  eventsByMetadata(key: string, value: string, options: WaitOptions = {}): LiveStream<RunEvent> {
    return metadataEvents(this.#root, key, value, options);
  }

  /** Where a run is, and what came of its tasks. @throws ConnectError NotFound for an unknown run */
  async details(runId: string, { signal }: WaitOptions = {}): Promise<RunDetails> {
    const externalId = uuid(runId, "run id");
    const response = await this.#root.call((options) => this.#admin.getRunDetails({ externalId }, options), {
      signal,
      idempotent: true,
    });
    return toDetails(response);
  }

  /** Asks the engine to cancel runs or tasks; it answers before they have stopped. */
  async cancel(ids: string | Iterable<string>, { signal }: WaitOptions = {}): Promise<void> {
    const externalIds = list(ids);
    await this.#root.call((options) => this.#admin.cancelTasks({ externalIds }, options), { signal, idempotent: true });
  }

  /** Asks the engine to run runs or tasks again, each as a new attempt of itself; resolves with the tasks it queued. */
  async replay(ids: string | Iterable<string>, { signal }: WaitOptions = {}): Promise<readonly string[]> {
    const externalIds = list(ids);
    const { replayedTasks } = await this.#root.call((options) => this.#admin.replayTasks({ externalIds }, options), {
      signal,
    });
    return replayedTasks;
  }

  get #admin() {
    return this.#root.rpc(AdminService);
  }

  async #trigger(target: Task | string, input: unknown, options: TriggerOptions): Promise<RunRef<unknown>> {
    const task = typeof target === "object" ? target?.name : undefined;
    const isKeyed = typeof target === "object" && target?.idempotency !== undefined;
    const request = triggerRequest(this.#root.config.namespace, task ?? target, input, options);
    const id = await this.#root.call(
      async (call) => {
        try {
          return (await this.#root.rpc(WorkflowService).triggerWorkflow(request, call)).workflowRunId;
        } catch (error) {
          return collided(error);
        }
      },
      {
        signal: options.signal,
        idempotent: isKeyed || request.childKey !== undefined || request.childIndex !== undefined,
      },
    );
    return {
      id,
      result: async (wait) => {
        const outputs = await this.result(id, wait);
        return task === undefined ? outputs : outputs[task];
      },
      events: (wait) => this.events(id, wait),
      chunks: (wait) => this.chunks(id, wait),
      details: (wait) => this.details(id, wait),
      cancel: (wait) => this.cancel(id, wait),
    };
  }

  async *#settled(runIds: readonly string[], signal: AbortSignal): AsyncGenerator<SettledRun, void> {
    const life = linked(signal);
    const settled = new Pump<SettledRun>();
    for (const runId of runIds) {
      this.#results.wait(runId, life.signal).then(
        (outputs) => settled.put({ runId, status: "completed", outputs }),
        (error: unknown) => {
          if (error instanceof RunFailedError) settled.put({ runId, status: "failed", error });
          else if (error instanceof RunCancelledError) settled.put({ runId, status: "cancelled", error });
          else settled.fail(error);
        },
      );
    }
    try {
      for (let left = runIds.length; left > 0; left--) {
        const read = await settled.next();
        if (read.done) return;
        yield read.value;
      }
    } finally {
      life.abort();
    }
  }
}

function list(ids: string | Iterable<string>): string[] {
  if (typeof ids === "string") return [uuid(ids, "run id")];
  if (typeof ids?.[Symbol.iterator] !== "function") throw new TypeError(`run ids must be a list, got ${show(ids)}`);
  return Array.from(ids, (id) => uuid(id, "run id"));
}

/** The run that has the same idempotency key already: what was to happen once has happened. */
function collided(error: unknown): string {
  const [detail] = error instanceof ConnectError && error.code === Code.AlreadyExists
    ? error.findDetails(IdempotencyCollisionErrorSchema)
    : [];
  if (detail === undefined) throw error;
  return detail.existingRunExternalId;
}
