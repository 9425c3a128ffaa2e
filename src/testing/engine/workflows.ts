import { Code, ConnectError } from "@connectrpc/connect";
import {
  ConcurrencyLimitStrategy,
  type CreateTaskOpts,
  type CreateWorkflowVersionRequest,
  CreateWorkflowVersionRequestSchema,
} from "../../proto.ts";
import { clone, toJsonString } from "@bufbuild/protobuf";
import { uuid } from "./ids.ts";
import type { State, Step, Workflow } from "./state.ts";
import { duration } from "./timing.ts";
import { actionId } from "./workers.ts";

const namePattern = /^[a-zA-Z0-9._-]+$/;

function invalid(what: string): ConnectError {
  return new ConnectError(`Validation failed: ${what}`, Code.InvalidArgument);
}

/** The engine does not map these to a code, and hides the text. */
function unmapped(what: string): Error {
  return new Error(what);
}

/** Stores a definition; the same one twice is one version. */
export function putWorkflow(state: State, request: CreateWorkflowVersionRequest, random: () => number): Workflow {
  check(request);
  const checksum = checksumOf(request);
  const known = state.workflows.get(request.name);
  if (known?.checksum === checksum) return known;
  const workflow: Workflow = {
    id: known?.id ?? uuid(random),
    versionId: uuid(random),
    name: request.name,
    checksum,
    steps: [
      ...request.tasks.map((task) => step(task, false, random)),
      ...(request.onFailureTask === undefined ? [] : [step(request.onFailureTask, true, random)]),
    ],
    priority: request.defaultPriority ?? 1,
    eventTriggers: request.eventTriggers,
    idempotency: request.idempotency,
  };
  state.workflows.set(workflow.name, workflow);
  return workflow;
}

/** What makes a version another one; the inputs of its tasks do not. */
function checksumOf(request: CreateWorkflowVersionRequest): string {
  const copy = clone(CreateWorkflowVersionRequestSchema, request);
  for (const task of copy.tasks) task.inputs = "";
  return toJsonString(CreateWorkflowVersionRequestSchema, copy);
}

function check(request: CreateWorkflowVersionRequest): void {
  if (!namePattern.test(request.name)) {
    throw invalid("Name must be a name of letters, digits, dots, dashes, underscores");
  }
  if (request.tasks.length === 0) throw unmapped("a workflow needs a task");
  const priority = request.defaultPriority ?? 1;
  if (priority < 1 || priority > 3) throw invalid("DefaultPriority must be between 1 and 3");
  for (const cron of request.cronTriggers) {
    if (!/^\S+( \S+){4,5}$/.test(cron)) throw invalid("CronTriggers must be cron expressions");
  }
  const concurrency = request.concurrency === undefined ? [] : [request.concurrency];
  for (const { expression, limitStrategy } of [...concurrency, ...request.concurrencyArr]) {
    if (expression === "") throw invalid("a concurrency needs an expression");
    if (
      limitStrategy === ConcurrencyLimitStrategy.DROP_NEWEST || limitStrategy === ConcurrencyLimitStrategy.QUEUE_NEWEST
    ) {
      throw invalid("LimitStrategy is not supported");
    }
  }
  const names = new Set(request.tasks.map((task) => task.readableId));
  const tasks = [...request.tasks, ...(request.onFailureTask === undefined ? [] : [request.onFailureTask])];
  for (const task of tasks) checkTask(task, names);
  if (new Set(tasks.map((task) => task.readableId)).size < tasks.length) throw unmapped("two tasks of one name");
  checkCycles(request.tasks);
}

function checkTask(task: CreateTaskOpts, names: ReadonlySet<string>): void {
  if (task.readableId === "") throw unmapped("a task needs a name");
  if (!namePattern.test(task.readableId)) throw invalid("ReadableId must be a name");
  if (actionId(task.action) === undefined) throw unmapped("a task needs an action of two or three parts");
  if (task.retries < 0) throw invalid("Retries must be at least 0");
  if ((task.backoffFactor ?? 1) < 1) throw invalid("RetryBackoffFactor must be at least 1");
  if ((task.backoffMaxSeconds ?? 1) < 1) throw invalid("RetryBackoffMaxSeconds must be at least 1");
  if (task.timeout !== "" && duration(task.timeout) === undefined) throw invalid("Timeout must be a duration");
  if (task.scheduleTimeout !== undefined && duration(task.scheduleTimeout) === undefined) {
    throw invalid("ScheduleTimeout must be a duration");
  }
  for (const units of Object.values(task.slotRequests)) {
    if (units <= 0) throw invalid("SlotRequests must be greater than 0");
  }
  for (const parent of task.parents) {
    if (!names.has(parent)) {
      throw new ConnectError(`task ${task.readableId} has unknown parent ${parent}`, Code.InvalidArgument);
    }
  }
  const { conditions } = task;
  if (
    conditions !== undefined &&
    conditions.parentOverrideConditions.length + conditions.sleepConditions.length +
          conditions.userEventConditions.length > 0
  ) {
    throw new ConnectError("The embedded engine does not imitate conditions of tasks", Code.Unimplemented);
  }
}

function checkCycles(tasks: readonly CreateTaskOpts[]): void {
  const left = new Map(tasks.map((task) => [task.readableId, task]));
  for (let before = -1; left.size > 0 && left.size !== before;) {
    before = left.size;
    for (const [name, task] of left) {
      if (!task.parents.some((parent) => left.has(parent))) left.delete(name);
    }
  }
  if (left.size > 0) throw unmapped("the tasks of a workflow must not wait for each other");
}

function step(task: CreateTaskOpts, onFailure: boolean, random: () => number): Step {
  const timeout = task.timeout || "60s";
  const slots = Object.entries(task.slotRequests);
  return {
    id: uuid(random),
    name: task.readableId,
    action: actionId(task.action) ?? task.action,
    parents: task.parents,
    timeout,
    timeoutMs: duration(timeout)!,
    scheduleMs: duration(task.scheduleTimeout || "5m")!,
    retries: task.retries,
    backoffFactor: task.backoffFactor,
    backoffMaxMs: (task.backoffMaxSeconds ?? 86_400) * 1000,
    durable: task.isDurable,
    slots: new Map(slots.length > 0 ? slots : [[task.isDurable ? "durable" : "default", 1]]),
    onFailure,
  };
}
