import { create } from "@bufbuild/protobuf";
import type { TriggerWorkflowRequest } from "../gen/v1/shared/trigger_pb.ts";
import { TriggerWorkflowRequestSchema } from "../gen/v1/shared/trigger_pb.ts";
import { named, priority as checkPriority, uuid } from "./ids.ts";
import { encodeInput } from "./json.ts";

/** What every method takes last. */
export interface WaitOptions {
  /** Ends the waiting; rejects with the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
}

/** How a run is triggered. */
export interface TriggerOptions extends WaitOptions {
  /** What goes with the run beside its input; only texts can be searched for. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Which runs go first, 1 to 3; the higher. */
  readonly priority?: number | undefined;
  /** The task that triggers it as its child. */
  readonly parent?: { readonly runId: string; readonly taskId: string } | undefined;
  /** Names a child among its parent's: triggering it twice gives the same run. */
  readonly childKey?: string | undefined;
  /** Numbers a child among its parent's: triggering it twice gives the same run. */
  readonly childIndex?: number | undefined;
  /** The worker that should run it; heeded for tasks that are `sticky`. */
  readonly workerId?: string | undefined;
}

/** What triggers a run. @throws TypeError or RangeError saying what makes no sense */
export function triggerRequest(
  namespace: string,
  name: unknown,
  input: unknown,
  options: TriggerOptions,
): TriggerWorkflowRequest {
  const { childIndex, childKey, metadata, parent, priority, workerId } = options;
  if (priority !== undefined) checkPriority(priority);
  return create(TriggerWorkflowRequestSchema, {
    name: namespace + named(name, "workflow name"),
    input: encodeInput(input),
    ...(metadata !== undefined && { additionalMetadata: encodeInput(metadata) }),
    ...(priority !== undefined && { priority }),
    ...(parent !== undefined && {
      parentId: uuid(parent.runId, "parent.runId"),
      parentTaskRunExternalId: uuid(parent.taskId, "parent.taskId"),
    }),
    ...(childKey !== undefined && { childKey }),
    // The engine looks for a child only by a number, with the key beside it.
    ...((childIndex ?? childKey) !== undefined && { childIndex: childIndex ?? 0 }),
    ...(workerId !== undefined && { desiredWorkerId: uuid(workerId, "workerId") }),
  });
}
