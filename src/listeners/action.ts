import type { AssignedAction } from "../../gen/dispatcher/dispatcher_pb.ts";
import { ActionType } from "../../gen/dispatcher/dispatcher_pb.ts";
import { unwrap } from "../json.ts";

/** What every action carries. */
interface Addressed {
  /** The worker that the engine sent it to. */
  readonly workerId: string;
  readonly runId: string;
  readonly taskId: string;
  /** Which try of the task, counted from 0. */
  readonly attempt: number;
}

/** How a report is sent. */
export interface ReportOptions {
  /** Sends it no more: after a cancel the engine wants none. Rejects with the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A task to run. Report what became of it, or the engine waits until its time-out. */
export interface StartAction extends Addressed {
  readonly kind: "start";
  /** The task's name. */
  readonly name: string;
  /** What the worker registered: `workflow:task`. */
  readonly actionId: string;
  /** Which assignment of a durable task, counted from 1. */
  readonly invocation?: number;
  readonly input: unknown;
  /** The outputs of the tasks before it, by name. */
  readonly parents: Readonly<Record<string, unknown>>;
  /** What satisfied its conditions, by key. */
  readonly triggers: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Says that it runs. Like each report it is sent until the engine has it. */
  started(options?: ReportOptions): Promise<void>;
  /** Says that it is done. @throws TypeError when JSON cannot carry the output */
  completed(output?: unknown, options?: ReportOptions): Promise<void>;
  /** Says that it failed; `retry: false` means for good, whatever retries are left. */
  failed(error: unknown, options?: ReportOptions & { readonly retry?: boolean | undefined }): Promise<void>;
}

/** A task to stop; it may come before its start, or twice. After it the engine wants no report. */
export interface CancelAction extends Addressed {
  readonly kind: "cancel";
}

/** What the engine asks of a worker. */
export type Action = StartAction | CancelAction;

/** The report side of an action. */
export type Reports = Pick<StartAction, "started" | "completed" | "failed">;

/** What the engine sent, as users see it; `undefined` for kinds that no worker of ours asks for. */
export function toAction(
  message: AssignedAction,
  workerId: string,
  reports: (message: AssignedAction, workerId: string) => Reports,
): Action | undefined {
  const { actionId, retryCount: attempt, taskName: name, taskRunExternalId: taskId, workflowRunId: runId } = message;
  const addressed = { workerId, runId, taskId, attempt };
  if (message.actionType === ActionType.CANCEL_STEP_RUN) return { kind: "cancel", ...addressed };
  if (message.actionType !== ActionType.START_STEP_RUN) return undefined;
  const payload = record(parse(message.actionPayload));
  const invocation = message.durableTaskInvocationCount;
  return {
    kind: "start",
    ...addressed,
    name,
    actionId,
    ...(invocation !== undefined && { invocation }),
    input: unwrap(payload["input"] ?? {}),
    parents: mapped(record(payload["parents"]), unwrap),
    triggers: record(payload["triggers"]),
    metadata: record(parse(message.additionalMetadata ?? "")),
    ...reports(message, workerId),
  };
}

/** The engine's JSON; an empty or broken text is nothing: not every engine path fills it in. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // What the engine could not write down, the task goes without.
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function mapped(values: Readonly<Record<string, unknown>>, map: (value: unknown) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, map(value)]));
}
