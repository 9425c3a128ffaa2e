import { Code, ConnectError } from "@connectrpc/connect";
import type { AssignedAction, WorkerLabels, WorkerRegisterRequest } from "../../proto.ts";
import { type Core, delayed, within } from "./core.ts";
import type { Feed } from "./feed.ts";
import { isUuid, uuid } from "./ids.ts";
import type { Session, Worker } from "./state.ts";

/** Creates a worker; every registration is another one, whatever its name. */
export function register(core: Core, request: WorkerRegisterRequest): Worker {
  if (request.slots !== undefined && Object.keys(request.slotConfig).length > 0) {
    throw new ConnectError(
      "either slot_config or slots (deprecated) must be provided, not both",
      Code.InvalidArgument,
    );
  }
  if (!/^[a-zA-Z0-9._-]+$/.test(request.workerName)) throw invalid("WorkerName must be a name");
  const actions = request.actions.map((action) => {
    const id = actionId(action);
    if (id === undefined) throw invalid(`Actions must be like service:verb, not ${action}`);
    return id;
  });
  // The engine's database refuses a language it does not know when it is named explicitly.
  if (request.runtimeInfo?.language === 0) throw new Error("unknown language");
  const config = Object.entries(request.slotConfig);
  const worker: Worker = {
    id: uuid(core.random),
    name: request.workerName,
    actions: new Set(actions),
    slots: new Map(config.length > 0 ? config : [["default", request.slots ?? 100]]),
    used: new Map(),
    labels: new Map(),
    sessions: new Set(),
    tasks: new Set(),
    dispatcherId: core.dispatcherId,
    durableDispatcherId: undefined,
    active: false,
    listenerAt: undefined,
    beatAt: undefined,
    watched: false,
  };
  label(worker, request.labels);
  core.state.workers.set(worker.id, worker);
  return worker;
}

/** Replaces labels by name. */
export function label(worker: Worker, labels: Readonly<Record<string, WorkerLabels>>): void {
  for (const [key, { strValue, intValue }] of Object.entries(labels)) {
    worker.labels.set(key, strValue ?? intValue ?? "");
  }
}

/** The worker of an id as it came from outside. */
export function findWorker(core: Core, id: string, missing = `worker not found: ${id}`): Worker {
  if (!isUuid(id)) {
    throw new ConnectError(id === "" ? "" : `invalid worker ID format: ${id}`, Code.InvalidArgument);
  }
  const worker = core.state.workers.get(id.toLowerCase());
  if (worker === undefined) throw new ConnectError(missing, Code.NotFound);
  return worker;
}

/** Notes a heartbeat, or refuses it because the worker's stream is gone as far as the engine knows. */
export function beat(core: Core, worker: Worker): void {
  if (worker.listenerAt !== undefined && !worker.active) {
    throw new ConnectError(
      `Heartbeat rejected: worker stream is not active: ${worker.id}`,
      Code.FailedPrecondition,
    );
  }
  core.seen.beat(worker.id);
  worker.beatAt = core.clock.now();
}

/**
 * Notes that the session which was established at this time is over. A newer one keeps the worker active; and so does
 * chance in half of the cases, in a drain too, because the engine rounds the time it compares with.
 */
export function sessionOver(core: Core, worker: Worker, establishedAt: number): void {
  if (worker.listenerAt !== establishedAt) return;
  if (core.random() < 0.5) worker.active = false;
}

/** One stream of assigned actions, with the engine's patience for a reader that does not read. */
export function session(core: Core, feed: Feed<AssignedAction>): Session {
  return {
    async send(action) {
      const { sendLockMs, sendMs } = core.timing;
      const free = await within(core, sendLockMs, feed.idle().then(() => true));
      if (free === undefined) return false;
      await delayed(core, core.faults.sendDelayMs);
      // Too slow counts as delivered, and may be lost.
      return await within(core, sendMs, feed.push(action)) ?? true;
    },
  };
}

/** Brings an action id into the engine's form: two or three parts, the service's first letter and the verb small. */
export function actionId(text: string): string | undefined {
  const [service, verb, sub, ...more] = text.split(":");
  if (service === undefined || service === "" || verb === undefined || verb === "" || more.length > 0) return undefined;
  const tail = sub === undefined ? "" : `:${sub.toLowerCase()}`;
  return `${service[0]!.toLowerCase()}${service.slice(1)}:${verb.toLowerCase()}${tail}`;
}

function invalid(what: string): ConnectError {
  return new ConnectError(`Invalid request: ${what}`, Code.InvalidArgument);
}
