import { create } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import type { AssignedAction } from "../../gen/dispatcher/dispatcher_pb.ts";
import { ActionType, AssignedActionSchema, Dispatcher } from "../../gen/dispatcher/dispatcher_pb.ts";
import { AdminService } from "../../gen/v1/workflows_pb.ts";
import type { Root } from "../root.ts";
import { after } from "../streams/clock.ts";
import type { Action, StartAction } from "./action.ts";

/** How often the engine is asked what became of work that it sends no cancels for, in milliseconds. */
const askMs = 10_000;

/** How long a worker may be silent before the engine takes what it runs, in milliseconds. */
const takenMs = 30_000;
/** How long before that a slot is no longer released: it may be that of the next attempt by the time it is. */
const marginMs = 2000;

/** An attempt that runs here. */
interface Running {
  readonly runId: string;
  readonly attempt: number;
  readonly cameAt: number;
  /** Whether the loop has got it. */
  begun: boolean;
  /** Whether it is left to the engine, which hands it out again: then the loop never gets it. */
  givenBack: boolean;
  /** Whether the engine may have taken it: then its slot may be that of the next attempt, and is not released. */
  doubtful: boolean;
  /** Whether the engine no longer counts it as any worker's: nobody takes it away, and nobody cancels it. */
  released: boolean;
}

/**
 * What runs here, as the engine sees it: started, and neither reported nor cancelled yet. A worker that has to leave its
 * id lets the engine release the slots of what runs. Measured against the engine: released work is not handed out again
 * when the old id falls silent, and its result is taken; but a cancel of it is sent to nobody, so here it is asked for.
 */
export class Work {
  readonly #root: Root;
  /** By task: of each only the newest attempt runs. */
  readonly #running = new Map<string, Running>();
  readonly #byAction = new WeakMap<Action, Running>();
  #beatenAt = 0;
  #beatenAtWall = 0;

  constructor(root: Root) {
    this.#root = root;
  }

  /**
   * The engine has accepted a heartbeat. If the one before is too long ago, what came until this one was begun may have
   * been taken. Or not: then it is still this worker's, so the loop gets it all the same. What came since was handed out
   * for this beat, and overtook the answer.
   */
  beaten(begunAt: number): void {
    if (begunAt < this.#beatenAt) return; // Its answer came late.
    if (this.#silentMs >= takenMs) this.#doubt(begunAt);
    this.#beatenAt = begunAt;
    this.#beatenAtWall = Date.now() - (this.#root.clock.now() - begunAt);
  }

  /** Keeps account of an action; returns it with reports that do. */
  follow(action: Action): Action {
    const { attempt, kind, runId, taskId } = action;
    if (kind === "cancel") {
      this.#ended(taskId, attempt);
      return action;
    }
    const before = this.#running.get(taskId);
    // The engine has taken it, and hands it out again right here.
    if (before !== undefined && before.attempt < attempt) before.givenBack = true;
    const cameAt = this.#root.clock.now();
    const running = { attempt, begun: false, cameAt, doubtful: false, givenBack: false, runId, released: false };
    this.#running.set(taskId, running);
    const over = <T>(report: Promise<T>): Promise<T> => report.finally(() => this.#ended(taskId, attempt));
    const reports: Pick<StartAction, "completed" | "failed"> = {
      completed: (output, options) => over(action.completed(output, options)),
      failed: (error, options) => over(action.failed(error, options)),
    };
    const followed = { ...action, ...reports };
    this.#byAction.set(followed, running);
    return followed;
  }

  /** Whether the loop may have an action now: a start that was given back while it waited is another's by then. */
  begin(action: Action): boolean {
    const running = this.#byAction.get(action);
    if (running === undefined) return true;
    running.begun = true;
    return !running.givenBack;
  }

  /**
   * Has the slots of all that runs released, but for what may be ours no longer; what the loop has not got yet is given
   * back. False when the engine cannot release: then the id must stay, and nothing is given back.
   */
  async leave(call: CallOptions): Promise<boolean> {
    if (this.#silentMs >= takenMs - marginMs) this.#doubt(this.#root.clock.now());
    for (;;) {
      const leaving = [...this.#running].filter(([, { begun, doubtful, released }]) => begun && !doubtful && !released);
      if (leaving.length === 0) break;
      const left = await Promise.all(leaving.map(([taskId, running]) => this.#release(taskId, running, call)));
      if (left.includes(false)) return false;
    }
    for (const [taskId, running] of this.#running) if (!running.begun) this.#giveBack(taskId, running);
    return true;
  }

  /** Tells of released attempts that ended in the engine, until the signal aborts. */
  watch(tell: (cancel: AssignedAction) => void, signal: AbortSignal): void {
    after(this.#root.clock, askMs, signal, () => {
      for (const [taskId, running] of this.#running) {
        if (running.released) void this.#ask(taskId, running, tell, signal);
      }
      this.watch(tell, signal);
    });
  }

  /** The engine takes what a silent worker runs, but for what it has released. */
  #doubt(until: number): void {
    for (const running of this.#running.values()) {
      if (!running.released && running.cameAt <= until) running.doubtful = true;
    }
  }

  #giveBack(taskId: string, running: Running): void {
    running.givenBack = true;
    this.#running.delete(taskId);
  }

  /**
   * How long ago the last accepted beat was begun: the engine has not been without one for longer. By both clocks: one
   * does not see a machine that slept, the other does not see what somebody set.
   */
  get #silentMs(): number {
    return Math.max(this.#root.clock.now() - this.#beatenAt, Date.now() - this.#beatenAtWall);
  }

  #ended(taskId: string, attempt: number): void {
    const running = this.#running.get(taskId);
    if (running !== undefined && running.attempt <= attempt) this.#running.delete(taskId);
  }

  async #release(taskId: string, running: Running, call: CallOptions): Promise<boolean> {
    try {
      await this.#root.rpc(Dispatcher).releaseSlot({ taskRunExternalId: taskId }, call);
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      if (error.code === Code.Unimplemented) return false;
      // Not found: the attempt is over, and its worker's id of no use to it.
      if (error.code !== Code.NotFound) throw error;
    }
    running.released = true;
    return true;
  }

  async #ask(taskId: string, running: Running, tell: (cancel: AssignedAction) => void, signal: AbortSignal) {
    try {
      const { done } = await this.#root.background(
        (options) => this.#root.rpc(AdminService).getRunDetails({ externalId: taskId }, options),
        signal,
      );
      if (!done || this.#running.get(taskId) !== running) return;
    } catch {
      return; // Asked again soon.
    }
    const { attempt: retryCount, runId: workflowRunId } = running;
    const actionType = ActionType.CANCEL_STEP_RUN;
    tell(create(AssignedActionSchema, { actionType, taskRunExternalId: taskId, workflowRunId, retryCount }));
  }
}
