import type { DurableTaskRunAckEntry } from "../../gen/v1/dispatcher_pb.ts";
import type { TriggerWorkflowRequest } from "../../gen/v1/shared/trigger_pb.ts";
import { failureText, RunFailedError } from "../errors.ts";
import { decode, encodeInput, ordered } from "../json.ts";
import type { TriggerOptions, WaitOptions } from "../trigger.ts";
import { triggerRequest } from "../trigger.ts";
import type { Completion, Entry } from "./durable-entry.ts";
import type { DurableLog } from "./durable-log.ts";

/** A child of a durable task, to be triggered. */
export interface DurableChild extends Omit<TriggerOptions, "parent" | "signal"> {
  /** What to run: a task, or a workflow's name. */
  readonly task: string | { readonly name: string };
  /** Every invocation must give the same, or the engine refuses it; in which order keys stand does not matter. */
  readonly input?: unknown;
}

/** A child that was triggered. */
export interface DurableRun {
  /** The run's id. */
  readonly id: string;
  /** Which step it is, as the engine counts them. */
  readonly node: number;
  /**
   * Its outcome, however late it is asked for: of one task the output, of several their outputs by name.
   *
   * @throws RunFailedError, also for a child that was cancelled; DurableError; StreamError
   */
  result(options?: WaitOptions): Promise<unknown>;
}

/** What triggers a child. @throws TypeError or RangeError saying what makes no sense */
export function childRequest(namespace: string, { input, task, ...options }: DurableChild): TriggerWorkflowRequest {
  const name = typeof task === "object" ? task?.name : task;
  return triggerRequest(namespace, name, ordered(decode(encodeInput(input))), options);
}

/** The children that the engine acknowledged; `onWait` is called when somebody begins to wait for one. */
export function childRuns(
  log: DurableLog,
  acknowledged: readonly DurableTaskRunAckEntry[],
  requests: readonly TriggerWorkflowRequest[],
  onWait: () => void,
): readonly DurableRun[] {
  return acknowledged.map((place, index) => {
    const { nodeId, workflowRunExternalId: id } = place;
    const name = requests[index]?.name ?? "";
    const entry: Entry = log.add(place, true, (completion) => output(id, name, completion));
    const result = ({ signal }: WaitOptions = {}): Promise<unknown> =>
      new Promise((resolve, reject) => {
        entry.join({ resolve, reject }, signal);
        if (entry.awaited) onWait();
      });
    return { id, node: Number(nodeId), result };
  });
}

/** A child's output; no bytes are none. */
function output(runId: string, task: string, { error, payload }: Completion): unknown {
  if (error !== undefined) throw new RunFailedError(runId, [{ task, taskId: runId, message: failureText(error) }]);
  return payload.length > 0 ? ordered(decode(new TextDecoder().decode(payload))) : undefined;
}
