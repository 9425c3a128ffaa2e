import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { GetRunDetailsResponseSchema } from "../../proto.ts";
import { RunStatus } from "../../proto.ts";
import type { Core } from "./core.ts";
import { isUuid } from "./ids.ts";
import { objectIn, write } from "./json.ts";
import type { Run, Task } from "./state.ts";

/** What GetRunDetails answers, for the id of a run or of one of its tasks. */
export function details(core: Core, id: string): MessageInitShape<typeof GetRunDetailsResponseSchema> {
  if (!isUuid(id)) throw new ConnectError(`invalid external id: ${id}`, Code.InvalidArgument);
  const task = core.state.tasks.get(id.toLowerCase());
  const whole = core.state.runs.get(id.toLowerCase());
  const run = whole ?? task?.run;
  if (run === undefined) throw new ConnectError("workflow run not found", Code.NotFound);
  const bytes = new TextEncoder();
  // Asked for by the id of a task, the engine knows of that task alone.
  const tasks = [...run.tasks.values()].filter((it) => whole === undefined ? it === task : isThere(it));
  const taskRuns = tasks.map((it) =>
    [it.step.name, {
      externalId: it.id,
      readableId: it.step.name,
      status: taskStatus(it),
      isEvicted: it.state === "evicted",
      // Before the whole run is final nothing is filled in; afterwards the error is there even when it is empty.
      ...(run.finished && ending(it)),
    }] as const
  );
  const status = statusOf(tasks);
  return {
    input: bytes.encode(write(objectIn(run.input) ?? null)),
    additionalMetadata: bytes.encode(JSON.stringify(run.metadata)),
    status,
    done: status !== RunStatus.QUEUED && status !== RunStatus.RUNNING && run.finished,
    isEvicted: tasks.some((it) => it.state === "evicted"),
    taskRuns: Object.fromEntries(taskRuns),
  };
}

/** The status of a run as a whole: that of its tasks when they agree, else the worst of them. */
export function runStatus(run: Run): RunStatus {
  return statusOf([...run.tasks.values()].filter(isThere));
}

/** A task comes into being when its parents are done. */
function isThere(task: Task): boolean {
  return task.state !== "waiting" || task.attempt > 0;
}

function statusOf(tasks: readonly Task[]): RunStatus {
  const statuses = new Set(tasks.map(taskStatus));
  if (statuses.size === 1) return [...statuses][0]!;
  if (statuses.has(RunStatus.FAILED)) return RunStatus.FAILED;
  if (statuses.has(RunStatus.RUNNING) || statuses.has(RunStatus.QUEUED)) return RunStatus.RUNNING;
  return statuses.has(RunStatus.CANCELLED) ? RunStatus.CANCELLED : RunStatus.COMPLETED;
}

/** While others of its run still go on, a task that has ended looks queued; one that was evicted looks as if it ran. */
function taskStatus(task: Task): RunStatus {
  if (task.state === "running" || task.state === "evicted") return RunStatus.RUNNING;
  return task.run.finished ? endStatus(task) : RunStatus.QUEUED;
}

function endStatus(task: Task): RunStatus {
  const { state } = task.late.at(-1) ?? task;
  if (state === "failed") return RunStatus.FAILED;
  if (state === "cancelled") return RunStatus.CANCELLED;
  return RunStatus.COMPLETED;
}

function ending(task: Task): { readonly error: string; readonly output?: Uint8Array<ArrayBuffer> } {
  const { error, output } = task.late.at(-1) ?? task;
  return error === undefined ? { error: "", output: new TextEncoder().encode(output ?? "") } : { error };
}
