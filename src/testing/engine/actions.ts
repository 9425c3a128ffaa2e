import { create } from "@bufbuild/protobuf";
import { ActionType, type AssignedAction, AssignedActionSchema } from "../../proto.ts";
import type { JsonObject } from "./json.ts";
import { objectIn, write } from "./json.ts";
import type { Task } from "./state.ts";

/** The work itself. */
export function startAction(task: Task, tenantId: string): AssignedAction {
  return create(AssignedActionSchema, {
    ...common(task, tenantId),
    actionType: ActionType.START_STEP_RUN,
    actionPayload: payload(task),
  });
}

/** The request to stop one attempt. */
export function cancelAction(task: Task, tenantId: string): AssignedAction {
  return create(AssignedActionSchema, { ...common(task, tenantId), actionType: ActionType.CANCEL_STEP_RUN });
}

function common({ run, step, ...task }: Task, tenantId: string) {
  const { event, parent, workflow } = run;
  return {
    tenantId,
    workflowRunId: run.id,
    jobId: step.id,
    jobName: step.name,
    jobRunId: task.id,
    taskId: step.id,
    taskName: step.name,
    taskRunExternalId: task.id,
    actionId: step.action,
    retryCount: task.attempt,
    additionalMetadata: write(run.metadata),
    priority: run.priority,
    workflowId: workflow.id,
    workflowVersionId: workflow.versionId,
    ...(step.durable ? { durableTaskInvocationCount: task.invocations } : {}),
    ...(event === undefined ? {} : { triggeringEventExternalId: event.id, triggeringEventKey: event.key }),
    ...(parent === undefined ? {} : { parentWorkflowRunId: parent.taskId }),
    ...(parent?.index === undefined ? {} : { childWorkflowIndex: parent.index }),
    ...(parent?.key === undefined ? {} : { childWorkflowKey: parent.key }),
  };
}

function payload(task: Task): string {
  const { run, step } = task;
  const parents: JsonObject = {};
  const errors: JsonObject = {};
  for (const other of run.tasks.values()) {
    // Whatever is done by now comes along, parent or not.
    if (other !== task && other.output !== undefined) {
      // An output that is no object does not reach the children: JSON leaves undefined out.
      parents[other.step.name] = objectIn(other.output);
    }
    if (step.onFailure && other.state === "failed") errors[other.step.name] = other.error;
  }
  return write({
    input: objectIn(run.input) ?? null,
    triggered_by: "manual",
    parents,
    triggers: { filter_payload: null },
    user_data: null,
    overrides: null,
    ...(Object.keys(errors).length > 0 ? { step_run_errors: errors } : {}),
  });
}
