import type { StepRunResult, WorkflowRunEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { GetRunDetailsResponse } from "../../gen/v1/workflows_pb.ts";
import { RunStatus } from "../../gen/v1/workflows_pb.ts";
import type { RunFailure } from "../errors.ts";
import { failureText, RunCancelledError, RunFailedError } from "../errors.ts";
import { decode } from "../json.ts";

/** The outputs of a run's tasks, by name. */
export type Outputs = Readonly<Record<string, unknown>>;

/** How a run ended: the outputs of its tasks by name, or the error that its waiters get. */
export type Outcome =
  | { readonly outputs: Outputs }
  | { readonly error: RunFailedError | RunCancelledError };

/**
 * What a finished event says; `undefined` when only the run's details can tell: results too large for the stream come
 * as none at all, an error without a text may be a failure or a cancel, and of reports that differ the engine keeps all
 * and counts the last.
 */
export function fromEvent({ results: told, workflowRunId: runId }: WorkflowRunEvent): Outcome | undefined {
  const results = once(told);
  if (results === undefined || results.length === 0) return undefined;
  const failures: RunFailure[] = [];
  const outputs: (readonly [task: string, output: unknown])[] = [];
  for (const { error, output, taskName: task, taskRunExternalId: taskId } of results) {
    // Presence decides, not truth: a cancelled task has an error, and it is empty.
    if (error !== undefined) failures.push({ task, taskId, message: failureText(error) });
    else outputs.push([task, parse(output)]);
  }
  if (failures.length === 0) return { outputs: Object.fromEntries(outputs) };
  return failures.some(({ message }) => message !== "") ? { error: new RunFailedError(runId, failures) } : undefined;
}

/** Each task once, however often its end was reported; `undefined` when the reports differ. */
function once(results: readonly StepRunResult[]): readonly StepRunResult[] | undefined {
  const byTask = new Map<string, StepRunResult>();
  for (const result of results) {
    const key = `${result.taskRunExternalId} ${result.taskName}`;
    const before = byTask.get(key) ?? result;
    if (before.error !== result.error || before.output !== result.output) return undefined;
    byTask.set(key, before);
  }
  return [...byTask.values()];
}

/** What a run's details say; `undefined` while it is not done. */
export function fromDetails(runId: string, { done, status, taskRuns }: GetRunDetailsResponse): Outcome | undefined {
  if (!done) return undefined;
  const failures: RunFailure[] = [];
  const outputs: (readonly [task: string, output: Uint8Array | undefined])[] = [];
  for (const [task, { error, externalId: taskId, output, status: taskStatus }] of Object.entries(taskRuns)) {
    // By status: an error is there even for a success, and empty then.
    if (taskStatus === RunStatus.COMPLETED) outputs.push([task, output]);
    else failures.push({ task, taskId, message: failureText(error ?? "") });
  }
  if (status === RunStatus.CANCELLED) return { error: new RunCancelledError(runId, failures) };
  if (status === RunStatus.COMPLETED && failures.length === 0) {
    // Read last: an output that nobody can read does not hide that the run failed.
    const read = outputs.map(([task, output]) => [task, parse(output && new TextDecoder().decode(output))] as const);
    return { outputs: Object.fromEntries(read) };
  }
  return { error: new RunFailedError(runId, failures) };
}

/** An output's JSON; no output at all is `{}`, as the engine itself reads it. */
function parse(text: string | undefined): unknown {
  if (text === undefined || text === "") return {};
  return decode(text);
}
