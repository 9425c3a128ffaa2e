import { type CallOptions, type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createGrpcTransport } from "@connectrpc/connect-node";
import {
  AdminService,
  type AssignedAction,
  Dispatcher,
  EventsService,
  StepActionEventType,
  V1Dispatcher,
  type WorkflowEvent,
  type WorkflowRunEvent,
  WorkflowService,
} from "../../src/proto.ts";
import { type Engine, type EngineOptions, startEngine } from "../../src/testing/engine/mod.ts";

const running: Engine[] = [];

/** Starts an engine that {@link stopAll} closes. */
export async function start(options: EngineOptions = {}): Promise<Engine> {
  const engine = await startEngine(options);
  running.push(engine);
  return engine;
}

/** Closes every engine a test started. */
export async function stopAll(): Promise<void> {
  await Promise.all(running.splice(0).map((engine) => engine.close()));
}

/** A plain Connect client of the engine, with nothing of ours in it. */
export interface Plain {
  readonly dispatcher: Client<typeof Dispatcher>;
  readonly admin: Client<typeof AdminService>;
  readonly workflows: Client<typeof WorkflowService>;
  readonly events: Client<typeof EventsService>;
  readonly durable: Client<typeof V1Dispatcher>;
}

export function plain(engine: Pick<Engine, "hostPort" | "token">, token: string = engine.token): Plain {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl: `http://${engine.hostPort}`, interceptors: [authorize] });
  return {
    dispatcher: createClient(Dispatcher, transport),
    admin: createClient(AdminService, transport),
    workflows: createClient(WorkflowService, transport),
    events: createClient(EventsService, transport),
    durable: createClient(V1Dispatcher, transport),
  };
}

/** A stream that is read in the background. */
export interface Reading<T> {
  readonly messages: T[];
  /** Names of the response headers, once they came. */
  headers: string[] | undefined;
  /** Resolves when the stream ended: undefined for OK, else what it failed with. */
  readonly ended: Promise<unknown>;
  readonly abort: AbortController;
}

export function read<T>(open: (options: CallOptions) => AsyncIterable<T>): Reading<T> {
  const abort = new AbortController();
  const reading: { -readonly [K in keyof Reading<T>]: Reading<T>[K] } = {
    messages: [],
    headers: undefined,
    ended: Promise.resolve(),
    abort,
  };
  const onHeader = (headers: Headers) => {
    reading.headers = [...headers.keys()];
  };
  reading.ended = (async () => {
    try {
      for await (const message of open({ signal: abort.signal, onHeader })) reading.messages.push(message);
    } catch (error) {
      return error;
    }
    return undefined;
  })();
  return reading;
}

/** A registered worker that listens and is schedulable. */
export interface Worker extends Reading<AssignedAction> {
  readonly workerId: string;
}

export async function work(client: Plain, engine: Engine, ...actions: string[]): Promise<Worker> {
  const { workerId } = await client.dispatcher.register({ workerName: "worker", actions });
  const open = engine.seen.open("ListenV2");
  const reading = listen(client, workerId);
  await eventually(() => engine.seen.open("ListenV2") > open);
  await client.dispatcher.heartbeat({ workerId });
  return Object.assign(reading, { workerId });
}

export function listen(client: Plain, workerId: string): Reading<AssignedAction> {
  return read((options) => client.dispatcher.listenV2({ workerId }, options));
}

/** Subscribes to results; `ask` adds a run, `halfClose` closes the request side. */
export function results(client: Plain): Reading<WorkflowRunEvent> & { ask(id: string): void; halfClose(): void } {
  const queue: string[] = [];
  let wake = () => {};
  let closed = false;
  async function* requests() {
    for (;;) {
      const workflowRunId = queue.shift();
      if (workflowRunId !== undefined) yield { workflowRunId };
      else if (closed) return;
      else await new Promise<void>((resolve) => wake = resolve);
    }
  }
  const reading = read((options) => client.dispatcher.subscribeToWorkflowRuns(requests(), options));
  reading.abort.signal.addEventListener("abort", () => {
    closed = true;
    wake();
  });
  return Object.assign(reading, {
    ask(id: string) {
      queue.push(id);
      wake();
    },
    halfClose() {
      closed = true;
      wake();
    },
  });
}

export function report(
  client: Plain,
  action: Pick<AssignedAction, "taskRunExternalId" | "retryCount">,
  eventType: StepActionEventType,
  eventPayload: string,
) {
  const { taskRunExternalId, retryCount } = action;
  return client.dispatcher.sendStepActionEvent({ taskRunExternalId, retryCount, eventType, eventPayload });
}

export function complete(client: Plain, action: AssignedAction, output: unknown = { ok: true }) {
  return report(client, action, StepActionEventType.STEP_EVENT_TYPE_COMPLETED, JSON.stringify(output));
}

export function fail(client: Plain, action: AssignedAction, error = "broken") {
  return report(client, action, StepActionEventType.STEP_EVENT_TYPE_FAILED, error);
}

/** Puts a workflow of one task, `name:name`. */
export function put(
  client: Plain,
  name: string,
  task: { retries?: number; timeout?: string; scheduleTimeout?: string } = {},
) {
  return client.admin.putWorkflow({ name, tasks: [{ readableId: name, action: `${name}:${name}`, ...task }] });
}

export async function trigger(client: Plain, name: string, input: unknown = {}): Promise<string> {
  const { workflowRunId } = await client.workflows.triggerWorkflow({ name, input: JSON.stringify(input) });
  return workflowRunId;
}

/** Puts a chunk of a task. */
export function chunk(client: Plain, taskRunExternalId: string, text: string | Uint8Array, index?: number) {
  const message = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return client.events.putStreamEvent({
    taskRunExternalId,
    message: new Uint8Array(message),
    createdAt: timestampFromMs(Date.now()),
    ...(index === undefined ? {} : { eventIndex: BigInt(index) }),
  });
}

/** Follows the events of a run, from the moment this resolves. */
export async function follow(
  client: Plain,
  engine: Engine,
  request: { workflowRunId?: string; additionalMetaKey?: string; additionalMetaValue?: string },
): Promise<Reading<WorkflowEvent>> {
  const open = engine.seen.open("SubscribeToWorkflowEvents");
  const reading = read((options) => client.dispatcher.subscribeToWorkflowEvents(request, options));
  await eventually(() => engine.seen.open("SubscribeToWorkflowEvents") > open);
  await pause(20);
  return reading;
}

/** Waits until something holds; the test's own limit ends a wait in vain. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await pause(5);
}

/** Lets real time pass. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What a call failed with. */
export async function failure(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("It did not fail");
}
