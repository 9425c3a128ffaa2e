import { Code, ConnectError } from "@connectrpc/connect";
import type { SubscribeToWorkflowRunsRequest, WorkflowRunEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import { Dispatcher } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { GetRunDetailsResponse } from "../../gen/v1/workflows_pb.ts";
import { uuid } from "../ids.ts";
import type { Root } from "../root.ts";
import { StreamError } from "../streams/errors.ts";
import { Subscriptions } from "../streams/subscriptions.ts";
import { originOf } from "../streams/verdict.ts";
import { inquire } from "./inquiry.ts";
import type { Outcome, Outputs } from "./outcome.ts";
import { fromDetails, fromEvent } from "./outcome.ts";

/** How often the last net is cast, and how many details it asks for at a time: 5 a second per client. */
const netMs = 1000;
const netSize = 5;
/** From when on an id is asked for: it was asserted twice meanwhile, in milliseconds. */
const patienceMs = 60_000;
/** How long an id is left alone after it was asked for, and how long it may be unknown to the engine, in milliseconds. */
const againMs = 30_000;

/** What the last net knows of an id. */
interface Asked {
  readonly atMs: number;
  /** Since when the engine does not know it. */
  readonly unknownSinceMs: number | undefined;
}

/** The results of runs, for any number of waiters on one shared SubscribeToWorkflowRuns stream. */
export class Results {
  readonly #root: Root;
  readonly #shared: Subscriptions<string, Outputs, SubscribeToWorkflowRunsRequest, WorkflowRunEvent>;
  /** Ids that were asked for, the least recent first. */
  readonly #asked = new Map<string, Asked>();
  #casting = false;

  constructor(root: Root) {
    this.#root = root;
    const entry = root.board.add("results", "shared");
    this.#shared = new Subscriptions({
      ...root.policy(entry),
      priority: 1,
      open: (requests, attempt) => root.stream(Dispatcher.method.subscribeToWorkflowRuns, requests, attempt),
      request: (workflowRunId) => ({ $typeName: "SubscribeToWorkflowRunsRequest", workflowRunId }),
      deliver: (event) => this.#finished(event),
      explain: (error, runId) => about(runId, error),
      onUndelivered: (error) => root.config.logger.error("A result could not be read", { stream: "results", error }),
    });
  }

  /**
   * The outputs of a run, however long it takes and whatever becomes of the connection. Nothing but its promise stands
   * between who waits and the stream: there may be very many of them.
   *
   * @throws TypeError at once when the id is no UUID, before any I/O; rejects with RunFailedError or RunCancelledError
   */
  wait(runId: string, signal?: AbortSignal): Promise<Outputs> {
    const waiting = this.#shared.wait(uuid(runId, "run id"), signal);
    if (!this.#casting) void this.#cast();
    return waiting;
  }

  close(): void {
    this.#shared.close();
  }

  #settle(runId: string, outcome: Outcome): void {
    if ("error" in outcome) this.#shared.fail(runId, outcome.error);
    else this.#shared.settle(runId, outcome.outputs);
  }

  #finished(event: WorkflowRunEvent): void {
    const { workflowRunId: runId } = event;
    if (!this.#shared.has(runId)) return; // Whoever waited has left: nothing need be asked.
    try {
      const outcome = fromEvent(event);
      if (outcome !== undefined) this.#settle(runId, outcome);
      else void this.#ask(runId);
    } catch (error) {
      this.#shared.fail(runId, error); // An output that is no JSON concerns its own waiters only.
    }
  }

  /**
   * Asks for a run's details; an answer that settles nothing leaves the run to the stream, where it is asserted anew.
   */
  async #ask(runId: string): Promise<void> {
    const { clock, signal } = this.#root;
    const atMs = clock.now();
    const unknownSinceMs = this.#asked.get(runId)?.unknownSinceMs;
    this.#note(runId, { atMs, unknownSinceMs });
    try {
      const details = await inquire(this.#root, runId, signal);
      this.#learned(runId, details);
      this.#note(runId, { atMs, unknownSinceMs: undefined });
    } catch (error) {
      if (signal.aborted || !isUnknown(error)) return; // The next cast asks again.
      this.#note(runId, { atMs, unknownSinceMs: unknownSinceMs ?? atMs });
      if (unknownSinceMs === undefined || atMs - unknownSinceMs < againMs) return;
      const unknown = new StreamError("refused", "The engine does not know it", { cause: error });
      this.#shared.fail(runId, about(runId, unknown));
    }
  }

  #learned(runId: string, details: GetRunDetailsResponse): void {
    try {
      const outcome = fromDetails(runId, details);
      if (outcome !== undefined) this.#settle(runId, outcome);
    } catch (error) {
      this.#shared.fail(runId, error); // An output that is no JSON will be none tomorrow.
    }
  }

  #note(runId: string, asked: Asked): void {
    this.#asked.delete(runId);
    this.#asked.set(runId, asked);
  }

  /** The last net, for what the stream has lost in whatever way: while somebody waits and the engine is there. */
  async #cast(): Promise<void> {
    const { clock, signal } = this.#root;
    this.#casting = true;
    try {
      for (; this.#shared.size > 0; await clock.sleep(netMs, signal, { ref: false })) {
        if (this.#shared.connected) { for (const runId of this.#overdue()) void this.#ask(runId); }
      }
    } catch {
      // The client closed: its waiters have their answer.
    } finally {
      this.#casting = false;
      this.#asked.clear();
    }
  }

  /** The ids that wait for long, the least recently asked first, and no more than the net holds. */
  #overdue(): string[] {
    const now = this.#root.clock.now();
    const waiting = new Set<string>();
    const due: string[] = [];
    for (const [runId, { sinceMs }] of this.#shared.entries()) {
      if (now - sinceMs < patienceMs) break;
      waiting.add(runId);
      if (!this.#asked.has(runId)) due.push(runId);
    }
    for (const [runId, { atMs }] of this.#asked) {
      if (!waiting.has(runId)) this.#asked.delete(runId);
      else if (now - atMs >= againMs) due.push(runId);
    }
    return due.slice(0, netSize);
  }
}

/** What ended the stream for all, as one of its waiters gets it. */
function about(runId: string, error: unknown): unknown {
  if (!(error instanceof StreamError) || error.code === "closed") return error;
  const { attempts, cause, code, message } = error;
  return new StreamError(code, `No result of run ${runId}: ${message}`, { attempts, cause });
}

function isUnknown(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.NotFound && originOf(error) === "engine";
}
