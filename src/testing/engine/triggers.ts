import { Code, ConnectError } from "@connectrpc/connect";
import {
  BulkTriggerIdempotencyCollisionErrorSchema,
  IdempotencyCollisionErrorSchema,
  type TriggerWorkflowRequest,
} from "../../proto.ts";
import type { Core } from "./core.ts";
import { collision } from "./idempotency.ts";
import { isUuid, uuid } from "./ids.ts";
import { flaw } from "./json.ts";
import { childMetadata, metadataIn, type Runs } from "./runs.ts";
import type { Task, Trigger } from "./state.ts";

/**
 * Starts a run. For an unknown workflow the real engine answers with an id that never comes into being.
 *
 * @throws ConnectError `AlreadyExists` when a run has the idempotency key
 */
export function start(core: Core, runs: Runs, name: string, trigger: Trigger): string {
  const existing = colliding(core, runs, name, trigger);
  if (existing === undefined) return startFree(core, runs, name, trigger);
  const value = { existingRunExternalId: existing, collidingRunExternalId: "" };
  throw new ConnectError(collided, Code.AlreadyExists, undefined, [{ desc: IdempotencyCollisionErrorSchema, value }]);
}

/** Checks a request, and starts what it asks for. */
export function startChecked(core: Core, runs: Runs, request: TriggerWorkflowRequest): string {
  checkTrigger(request);
  return start(core, runs, request.name, triggerOf(core, request));
}

/** Starts them all, or those whose keys are free; the error says which. */
export function startAll(core: Core, runs: Runs, requests: readonly TriggerWorkflowRequest[]): string[] {
  for (const request of requests) checkTrigger(request);
  const successfulWorkflowRunExternalIds: string[] = [];
  const collisions: { existingRunExternalId: string; collidingRunExternalId: string }[] = [];
  for (const request of requests) {
    const trigger = triggerOf(core, request);
    const existingRunExternalId = colliding(core, runs, request.name, trigger);
    if (existingRunExternalId === undefined) {
      successfulWorkflowRunExternalIds.push(startFree(core, runs, request.name, trigger));
    } else {
      collisions.push({ existingRunExternalId, collidingRunExternalId: uuid(core.random) });
    }
  }
  if (collisions.length === 0) return successfulWorkflowRunExternalIds;
  const value = { successfulWorkflowRunExternalIds, collisions };
  throw new ConnectError(collided, Code.AlreadyExists, undefined, [
    { desc: BulkTriggerIdempotencyCollisionErrorSchema, value },
  ]);
}

/** Starts a child of a durable task; of an unknown workflow nothing ever comes. */
export function startChild(core: Core, runs: Runs, request: TriggerWorkflowRequest, parent: Task): string {
  const trigger = childOf(parent, request);
  return colliding(core, runs, request.name, trigger) ??
    (core.state.workflows.has(request.name) ? startFree(core, runs, request.name, trigger) : uuid(core.random));
}

const collided = "idempotency key collision";

function colliding(core: Core, runs: Runs, name: string, trigger: Trigger): string | undefined {
  const workflow = core.state.workflows.get(name);
  // The same child of the same parent is no collision.
  if (workflow === undefined || runs.born(trigger.parent) !== undefined) return undefined;
  return collision(core, workflow, trigger)?.id;
}

function startFree(core: Core, runs: Runs, name: string, trigger: Trigger): string {
  const workflow = core.state.workflows.get(name);
  core.seen.triggers++;
  if (workflow !== undefined) return runs.start(workflow, trigger).id;
  if (core.unknownWorkflows === "phantom") return uuid(core.random);
  throw new ConnectError(`workflow names not found: ${name}`, Code.InvalidArgument);
}

function triggerOf(core: Core, request: TriggerWorkflowRequest): Trigger {
  const { additionalMetadata, input, parentTaskRunExternalId, priority } = request;
  if (parentTaskRunExternalId === undefined) {
    return { input, metadata: metadataIn(additionalMetadata ?? ""), priority, parent: undefined };
  }
  const parent = core.state.tasks.get(parentTaskRunExternalId.toLowerCase());
  if (parent === undefined) throw new ConnectError("not found", Code.NotFound);
  return childOf(parent, request);
}

function childOf(parent: Task, request: TriggerWorkflowRequest): Trigger {
  return {
    input: request.input,
    metadata: childMetadata(metadataIn(request.additionalMetadata ?? ""), parent),
    priority: request.priority,
    parent: { taskId: parent.id, index: request.childIndex, key: request.childKey },
  };
}

/** Refuses what the real engine refuses before it looks anything up. */
export function checkTrigger(request: TriggerWorkflowRequest): void {
  checkJson("payload", request.input);
  checkJson("additionalMetadata", request.additionalMetadata);
  checkPriority(request.priority);
  for (const id of [request.parentTaskRunExternalId, request.desiredWorkerId || undefined]) {
    if (id !== undefined && !isUuid(id)) throw new ConnectError(`invalid id: ${id}`, Code.InvalidArgument);
  }
}

/** Empty is fine. */
export function checkJson(name: string, text: string | undefined): void {
  const wrong = flaw(text ?? "", name);
  if (wrong !== undefined) throw new ConnectError(`Invalid request: ${wrong}`, Code.InvalidArgument);
}

export function checkPriority(priority: number | undefined): void {
  if (priority !== undefined && (priority < 1 || priority > 3)) {
    throw new ConnectError(
      `Invalid request: priority must be between 1 and 3, got ${priority}`,
      Code.InvalidArgument,
    );
  }
}
