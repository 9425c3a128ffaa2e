/**
 * The client for the Hatchet task engine whose streams never die quietly: cuts, restarts and deploys of the engine are
 * not your problem.
 *
 * @example
 * ```ts
 * import { createClient, task } from "coppice";
 *
 * const report = task({ name: "report", run: async ({ month }: { month: string }) => ({ total: month.length }) });
 *
 * const hatchet = createClient(); // HATCHET_CLIENT_TOKEN and friends, or options
 * try {
 *   const { total } = await hatchet.runs.run(report, { month: "2026-10" });
 *   console.log(total);
 * } finally {
 *   await hatchet.close();
 * }
 * ```
 *
 * @module
 */
export type { Health, StreamHealth, StreamKind, StreamReport } from "./board.ts";
export { type Client, createClient } from "./client.ts";
export type { ClientOptions } from "./config.ts";
export type { ClientRetryOptions, KeepAliveOptions } from "./config/policy.ts";
export type { TlsOptions } from "./config/tls.ts";
export type { RunDetails, Status, TaskDetails } from "./details.ts";
export type { Durable } from "./durable.ts";
export { ConfigError, RunCancelledError, RunFailedError, type RunFailure } from "./errors.ts";
export type { EventOptions, Events, NewEvent, PushedEvent } from "./events.ts";
export type { Action, CancelAction, ReportOptions, StartAction } from "./listeners/action.ts";
export type { ActionsOptions } from "./listeners/actions.ts";
export type { ChunksOptions } from "./listeners/chunks.ts";
export type { RunChunk, RunEnd, RunEvent, RunGap, TaskEvent } from "./listeners/event.ts";
export type { DurableCondition, EventCondition, Matches, SleepCondition } from "./listeners/durable-conditions.ts";
export {
  DurableError,
  type DurableErrorCode,
  type Invocation,
  NonDeterminismError,
} from "./listeners/durable-errors.ts";
export type { DurableChild, DurableRun } from "./listeners/durable-children.ts";
export type { ServerEviction } from "./listeners/durable-ledger.ts";
export type { DurableSession, DurableSessionOptions } from "./listeners/durable-tasks.ts";
export type { DurableEvent } from "./listeners/durable-events.ts";
export type { RegisterOptions, Registration } from "./listeners/register.ts";
export type { Logger } from "./logger.ts";
export { type Rest, RestError, type RestOptions, type RestRequest } from "./rest.ts";
export type { Outputs, RunRef, Runs, SettledRun, TriggerOptions, WaitOptions } from "./runs.ts";
export { StreamError, type StreamErrorCode } from "./streams/errors.ts";
export type { StreamStatus } from "./streams/status.ts";
export { LiveStream } from "./streams/stream.ts";
export { TaskAborted } from "./worker/attempts.ts";
export type { Context } from "./worker/context.ts";
export type { Effects, LineLevel } from "./worker/effects.ts";
export { type AnyTask, type Task, task, type TaskOptions } from "./worker/task.ts";
export type { StopOptions, Worker, WorkerHealth, WorkerOptions } from "./worker/worker.ts";
