import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type AssignedAction, type Dispatcher, type StepActionEvent, StepActionEventType } from "../../proto.ts";
import { onAbort } from "../../streams/signal.ts";
import type { Bulletin } from "./bulletin.ts";
import type { Core } from "./core.ts";
import type { Durable } from "./durable.ts";
import { Feed } from "./feed.ts";
import { isUuid } from "./ids.ts";
import { hasNull } from "./json.ts";
import { Refresh } from "./refresh.ts";
import { subscribeToWorkflowRuns } from "./results.ts";
import type { Runs } from "./runs.ts";
import { killed } from "./call.ts";
import { ended, type Task, type Worker } from "./state.ts";
import { duration } from "./timing.ts";
import { subscribeToWorkflowEvents } from "./subscribers.ts";
import { beat, findWorker, label, register, session, sessionOver } from "./workers.ts";

/** What the engine calls itself. */
const version = "v0.94.16";

/** The worker's side of the engine. */
export function dispatcher(
  core: Core,
  runs: Runs,
  bulletin: Bulletin,
  durable: Durable,
): Partial<ServiceImpl<typeof Dispatcher>> {
  const { tenantId } = core;
  const refresh = new Refresh(core, runs.scheduler);

  return {
    register(request) {
      const worker = register(core, request);
      return { tenantId, workerId: worker.id, workerName: worker.name };
    },

    listenV2(request, context) {
      return listen(core, runs, findWorker(core, request.workerId, "not found"), context);
    },

    listen(request, context) {
      return listenV1(core, runs, findWorker(core, request.workerId, "not found"), context);
    },

    heartbeat({ workerId }) {
      const refusal = core.faults.takeBeatRefusal();
      if (refusal !== undefined) throw refusal;
      const worker = findWorker(core, workerId);
      if (!core.faults.take("dropBeats")) beat(core, worker);
      runs.scheduler.kick();
      return {};
    },

    unsubscribe({ workerId }) {
      // The streams stay open and hear nothing any more.
      findWorker(core, workerId).sessions.clear();
      return { tenantId, workerId };
    },

    upsertWorkerLabels({ workerId, labels }) {
      label(findWorker(core, workerId), labels);
      return { tenantId, workerId };
    },

    getVersion() {
      return { version };
    },

    sendStepActionEvent(event) {
      report(core, runs, event);
      return { tenantId, workerId: event.workerId };
    },

    sendBatchActionEvent({ workerId, eventType, items }) {
      for (const item of items) {
        if (!isUuid(item.taskRunExternalId)) throw malformed(item.taskRunExternalId);
        if (!core.state.tasks.has(item.taskRunExternalId)) continue;
        report(core, runs, { ...item, workerId, eventType }, true);
      }
      return { tenantId, workerId };
    },

    restoreEvictedTask({ taskRunExternalId }) {
      if (!isUuid(taskRunExternalId)) throw new Error("a malformed id, which the engine does not map to a code");
      const task = core.state.tasks.get(taskRunExternalId.toLowerCase());
      if (task !== undefined) durable.restore(task);
      return { requeued: true };
    },

    sendGroupKeyActionEvent() {
      throw new ConnectError("SendGroupKeyActionEvent is not implemented in engine version v1", Code.Unimplemented);
    },

    putOverridesData() {
      return {};
    },

    refreshTimeout({ taskRunExternalId, incrementTimeoutBy }) {
      const moreMs = duration(incrementTimeoutBy);
      if (moreMs === undefined) throw new ConnectError("invalid duration", Code.InvalidArgument);
      const task = running(core, taskRunExternalId);
      return { timeoutAt: timestampFromMs(Math.round(refresh.by(task, moreMs))) };
    },

    releaseSlot({ taskRunExternalId }) {
      const task = running(core, taskRunExternalId);
      const { deadlineMs } = task;
      runs.scheduler.release(task);
      if (deadlineMs !== undefined) runs.scheduler.arm(task, deadlineMs);
      return {};
    },

    subscribeToWorkflowEvents: (request, context) => subscribeToWorkflowEvents(core, bulletin, request, context),

    subscribeToWorkflowRuns: (requests, context) => subscribeToWorkflowRuns(core, requests, context),
  };
}

/** Binds the worker to this process, and delivers until the stream ends. Nothing that was sent before comes again. */
async function* listen(
  core: Core,
  runs: Runs,
  worker: Worker,
  context: HandlerContext,
): AsyncGenerator<AssignedAction> {
  const establishedAt = core.clock.now();
  worker.active = true;
  worker.listenerAt = establishedAt;
  try {
    yield* deliver(core, runs, worker, context.signal);
  } finally {
    // A killed process tells its database nothing.
    if (reasonOf(context.signal) !== killed) {
      sessionOver(core, worker, establishedAt);
    }
  }
}

/** The first generation: the engine writes the heartbeats itself, and never finds the worker inactive. */
async function* listenV1(
  core: Core,
  runs: Runs,
  worker: Worker,
  context: HandlerContext,
): AsyncGenerator<AssignedAction> {
  let undo = () => {};
  const tick = () => {
    worker.beatAt = core.clock.now();
    runs.scheduler.kick();
    undo = core.agenda.in(core.timing.listenBeatMs, tick);
  };
  worker.active = true;
  tick();
  try {
    yield* deliver(core, runs, worker, context.signal);
  } finally {
    undo();
  }
}

async function* deliver(
  core: Core,
  runs: Runs,
  worker: Worker,
  signal: AbortSignal,
): AsyncGenerator<AssignedAction> {
  const feed = new Feed<AssignedAction>();
  const own = session(core, feed);
  const leave = onAbort(signal, () => {
    worker.sessions.delete(own);
    feed.close();
  });
  worker.dispatcherId = core.dispatcherId;
  worker.sessions.add(own);
  runs.scheduler.kick();
  try {
    yield* feed;
  } finally {
    leave();
    worker.sessions.delete(own);
  }
}

/** The reason is the server's own when the server ended the stream, and anything else when the client left. */
function reasonOf(signal: AbortSignal): unknown {
  const { reason } = signal;
  return reason instanceof ConnectError && reason.cause !== undefined ? reason.cause : reason;
}

type Report = Pick<
  StepActionEvent,
  "workerId" | "taskRunExternalId" | "eventType" | "eventPayload" | "retryCount" | "shouldNotRetry"
>;

/** Takes a report; OK means that it arrived, not that it changed anything. */
function report(core: Core, runs: Runs, event: Report, batch = false): void {
  const { taskRunExternalId, eventType, eventPayload } = event;
  if (!isUuid(taskRunExternalId)) throw malformed(taskRunExternalId);
  const task = core.state.tasks.get(taskRunExternalId.toLowerCase());
  if (task === undefined) throw new ConnectError(`task ${taskRunExternalId} not found`, Code.InvalidArgument);
  const attempt = event.retryCount ?? task.attempt;
  core.seen.reported(task, attempt, eventType, event.workerId, eventPayload);
  switch (eventType) {
    case StepActionEventType.STEP_EVENT_TYPE_STARTED:
      return runs.started(task, attempt);
    case StepActionEventType.STEP_EVENT_TYPE_ACKNOWLEDGED:
      return;
    case StepActionEventType.STEP_EVENT_TYPE_COMPLETED:
      return runs.completed(task, attempt, eventPayload, batch);
    case StepActionEventType.STEP_EVENT_TYPE_FAILED:
      // The real engine answers OK, and its database does not take it: the attempt goes on until its time-out.
      if (eventPayload.includes("\u0000")) return;
      return runs.failed(task, attempt, errorText(eventPayload), event.shouldNotRetry ?? false, batch);
    case StepActionEventType.STEP_EVENT_TYPE_CANCELLED:
      return runs.cancelled(task, attempt);
    default:
      throw new ConnectError("invalid step run event type", Code.InvalidArgument);
  }
}

/** An error in JSON that spells a null character is replaced. */
function errorText(payload: string): string {
  return hasNull(payload) ? "The error held a null character and was replaced" : payload;
}

function running(core: Core, id: string): Task {
  if (!isUuid(id)) throw malformed(id);
  const task = core.state.tasks.get(id.toLowerCase());
  if (task === undefined || ended(task) || task.state !== "running") {
    throw new ConnectError(`task run not found: ${id}`, Code.NotFound);
  }
  return task;
}

function malformed(id: string): ConnectError {
  return new ConnectError(`invalid task run external id: ${id}`, Code.InvalidArgument);
}
