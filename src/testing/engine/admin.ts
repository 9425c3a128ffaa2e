import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type AdminService, RunStatus, type TasksFilter, type WorkflowService } from "../../proto.ts";
import type { Core } from "./core.ts";
import { details, runStatus } from "./details.ts";
import { isUuid } from "./ids.ts";
import { metadataIn, type Runs } from "./runs.ts";
import type { Task } from "./state.ts";
import { checkPriority, start, startAll, startChecked } from "./triggers.ts";
import { putWorkflow } from "./workflows.ts";

/** Definitions and runs. */
export function admin(core: Core, runs: Runs): Partial<ServiceImpl<typeof AdminService>> {
  return {
    putWorkflow(request) {
      const workflow = putWorkflow(core.state, request, core.random);
      return { id: workflow.versionId, workflowId: workflow.id };
    },

    triggerWorkflowRun({ workflowName, input, additionalMetadata, priority }) {
      const text = new TextDecoder();
      checkPriority(priority);
      const externalId = start(core, runs, workflowName, {
        input: text.decode(input),
        metadata: metadataIn(text.decode(additionalMetadata)),
        priority,
        parent: undefined,
      });
      return { externalId };
    },

    getRunDetails({ externalId }) {
      return details(core, externalId);
    },

    cancelTasks({ externalIds, filter }) {
      const ids = select(core, externalIds, filter);
      // The answer says what was asked for; the cancelling comes after it.
      core.agenda.in(core.timing.assignMs, () => {
        for (const id of ids) for (const task of tasksOf(core, id)) runs.cancel(task);
      });
      return { cancelledTasks: ids };
    },

    replayTasks({ externalIds, filter }) {
      const ids = select(core, externalIds, filter);
      const tasks = ids.flatMap((id) => tasksOf(core, id));
      const replayed = runs.replay(tasks);
      // It names those that still run too, and lets them run.
      return { replayedTasks: [...new Set([...tasks, ...replayed])].map((task) => task.id) };
    },
  };
}

/** The older service: only its triggers. */
export function workflows(core: Core, runs: Runs): Partial<ServiceImpl<typeof WorkflowService>> {
  return {
    triggerWorkflow(request) {
      return { workflowRunId: startChecked(core, runs, request) };
    },

    bulkTriggerWorkflow({ workflows: requests }) {
      return { workflowRunIds: startAll(core, runs, requests) };
    },
  };
}

function tasksOf(core: Core, id: string): Task[] {
  const run = core.state.runs.get(id.toLowerCase());
  const task = core.state.tasks.get(id.toLowerCase());
  return run !== undefined ? [...run.tasks.values()] : task !== undefined ? [task] : [];
}

/** The ids a call is about: named, or found by the filter; naming and filtering at once is refused. */
function select(core: Core, ids: readonly string[], filter: TasksFilter | undefined): string[] {
  if (ids.length > 0 && filter !== undefined) {
    throw new ConnectError("cannot provide both external ids and filter", Code.InvalidArgument);
  }
  for (const id of ids) if (!isUuid(id)) throw new ConnectError("invalid external id", Code.InvalidArgument);
  if (filter === undefined) return [...ids];
  if (!filter.workflowIds.every(isUuid)) throw new ConnectError("invalid workflow id", Code.InvalidArgument);
  if (!filter.statuses.every((status) => status in RunStatus)) {
    throw new Error("a status that there is not, which the engine does not map to a code");
  }
  const pairs = filter.additionalMetadata.map((pair) => {
    const colon = pair.indexOf(":");
    if (colon < 1) throw new ConnectError(`invalid additional metadata filter: ${pair}`, Code.InvalidArgument);
    return [pair.slice(0, colon), pair.slice(colon + 1)] as const;
  });
  return [...core.state.runs.values()].filter((run) =>
    (filter.statuses.length === 0 || filter.statuses.includes(statusName(runStatus(run)))) &&
    (filter.since === undefined || run.startedMs >= timestampMs(filter.since)) &&
    (filter.until === undefined || run.startedMs <= timestampMs(filter.until)) &&
    (filter.workflowIds.length === 0 || filter.workflowIds.includes(run.workflow.id)) &&
    pairs.every(([key, value]) => run.metadata[key] === value)
  ).map((run) => run.id);
}

function statusName(status: RunStatus): string {
  return Object.entries(RunStatus).find(([, value]) => value === status)?.[0] ?? "";
}
