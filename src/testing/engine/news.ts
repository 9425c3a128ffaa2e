import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ResourceEventType, ResourceType, RunStatus, type WorkflowEvent, WorkflowEventSchema } from "../../proto.ts";
import { runStatus } from "./details.ts";
import { ended, type Happening, type Run } from "./state.ts";

/** One event on its way to whoever listens at this moment. */
export interface News {
  readonly run: Run;
  /** Without its hangup: that depends on who listens. */
  readonly event: WorkflowEvent;
  /** Its payload is no UTF-8, so that the engine fails to write it. */
  readonly garbled?: boolean;
}

/** What event streams tell about a happening. */
export function newsOf(happening: Happening, nowMs: number): News[] {
  const { attempt, payload, run, task } = happening;
  const eventTimestamp = timestampFromMs(Math.round(nowMs));
  const type = stepTypes[happening.kind];
  if (task !== undefined && type !== undefined) {
    if (happening.batch === true) return [];
    const event = create(WorkflowEventSchema, {
      workflowRunId: run.id,
      resourceType: ResourceType.STEP_RUN,
      eventType: type,
      resourceId: task.id,
      eventTimestamp,
      eventPayload: payload ?? "",
      ...(attempt === undefined ? {} : { retryCount: attempt }),
    });
    return [{ run, event }];
  }
  const end = endOf(happening);
  if (end === undefined) return [];
  const event = create(WorkflowEventSchema, {
    workflowRunId: run.id,
    resourceType: ResourceType.WORKFLOW_RUN,
    eventType: end,
    resourceId: run.id,
    eventTimestamp,
  });
  return [{ run, event }];
}

/** A user's cancel is told without a usable run id, and reaches nobody; a batch tells nothing of its tasks. */
const stepTypes: Readonly<Partial<Record<Happening["kind"], ResourceEventType>>> = {
  created: ResourceEventType.STARTED,
  completed: ResourceEventType.COMPLETED,
  failed: ResourceEventType.FAILED,
  unscheduled: ResourceEventType.CANCELLED,
};

/** A run is told to have failed even after an attempt that will be retried, if nothing else in it is left to do. */
function endOf({ kind, run, task }: Happening): ResourceEventType | undefined {
  if (kind === "faltered") {
    const others = [...run.tasks.values()].filter((other) => other !== task);
    return others.every(ended) ? ResourceEventType.FAILED : undefined;
  }
  if (kind !== "finished") return undefined;
  const status = runStatus(run);
  if (status === RunStatus.FAILED) return ResourceEventType.FAILED;
  return status === RunStatus.CANCELLED ? ResourceEventType.CANCELLED : ResourceEventType.COMPLETED;
}
