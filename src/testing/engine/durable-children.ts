import type { TriggerWorkflowRequest } from "../../proto.ts";
import type { Core } from "./core.ts";
import type { Durable } from "./durable.ts";
import type { Entry } from "./log.ts";
import type { Runs } from "./runs.ts";
import { childKey, type Task } from "./state.ts";
import { startChild } from "./triggers.ts";

/** What a repeated request for a child must repeat: its own key, or else its input. */
export function childKeyOf({ childKey: own, input, name }: TriggerWorkflowRequest): string {
  return JSON.stringify(own === undefined ? [name, input] : [name, { key: own }]);
}

/**
 * Starts the children of a durable task at these nodes, or finds those that are there; answers with their entries, or
 * with the first node whose child, known by its index, was started with another input.
 */
export function trigger(
  core: Core,
  runs: Runs,
  durable: Durable,
  task: Task,
  requests: readonly TriggerWorkflowRequest[],
  nodes: readonly number[],
): Entry[] | number {
  const other = requests.findIndex((request) => {
    if (request.childIndex === undefined || request.childKey !== undefined) return false;
    const born = core.state.children.get(childKey({ taskId: task.id, index: request.childIndex, key: undefined }));
    return born !== undefined && born.input !== request.input;
  });
  if (other >= 0) return nodes[other]!;
  const log = durable.log(task);
  return requests.map((request, index) => {
    const node = nodes[index]!;
    const childId = log.at(node)?.childId ?? startChild(core, runs, request, task);
    const entry = log.claim(node, "run", childKeyOf(request), childId);
    durable.await(task, entry);
    return entry;
  });
}
