import type { MessageInitShape } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import { type DurableTaskRequestSchema, type DurableTaskResponse, StepActionEventType } from "../../src/proto.ts";
import type { Engine, EngineOptions } from "../../src/testing/engine/mod.ts";
import {
  eventually,
  type Plain,
  plain,
  read,
  type Reading,
  report,
  start,
  trigger,
  type Worker,
} from "./engine-client.ts";

type Request = NonNullable<MessageInitShape<typeof DurableTaskRequestSchema>["message"]>;
type Response = DurableTaskResponse["message"];
/** Each kind of answer with what it carries. */
type Values = { [R in Response as R["case"] & string]: R["value"] & object };
type Case = keyof Values;

/** One DurableTask stream. */
export interface Stream extends Reading<DurableTaskResponse> {
  send(message: Request): void;
  halfClose(): void;
  /** The answers of a kind so far. */
  all<C extends Case>(kind: C): Values[C][];
  /** Waits for one more answer of the kind than were there when it was asked. */
  next<C extends Case>(kind: C, act?: () => void): Promise<Values[C]>;
}

export function durableStream(client: Plain): Stream {
  const queue: Request[] = [];
  let wake = () => {};
  let closed = false;
  async function* requests() {
    for (;;) {
      const message = queue.shift();
      if (message !== undefined) yield { message };
      else if (closed) return;
      else await new Promise<void>((resolve) => wake = resolve);
    }
  }
  const reading = read((options) => client.durable.durableTask(requests(), options));
  const halfClose = () => {
    closed = true;
    wake();
  };
  reading.abort.signal.addEventListener("abort", halfClose);
  const all = <C extends Case>(kind: C): Values[C][] =>
    // The case says which value it is; for a case that is a type parameter TypeScript cannot tell.
    reading.messages.flatMap(({ message }) => message.case === kind ? [message.value as Values[C]] : []);
  return Object.assign(reading, {
    halfClose,
    all,
    send(message: Request) {
      queue.push(message);
      wake();
    },
    async next<C extends Case>(kind: C, act: () => void = () => {}): Promise<Values[C]> {
      const before = all(kind).length;
      act();
      await eventually(() => all(kind).length > before);
      return all(kind)[before]!;
    },
  });
}

/** A durable task that runs, and its stream. */
export interface Stage {
  readonly engine: Engine;
  readonly client: Plain;
  readonly worker: Worker;
  readonly stream: Stream;
  readonly taskId: string;
}

/** Starts a durable task; its worker has one slot for such. */
export async function durable(options: EngineOptions = {}, retries = 0): Promise<Stage> {
  const engine = await start(options);
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "long",
    tasks: [{ readableId: "long", action: "long:long", isDurable: true, slotRequests: { durable: 1 }, retries }],
  });
  await client.admin.putWorkflow({ name: "child", tasks: [{ readableId: "child", action: "child:child" }] });
  const worker = await workDurably(client, engine);
  const taskId = await trigger(client, "long");
  await eventually(() => worker.messages.length === 1);
  const stream = durableStream(client);
  await stream.next("registerWorker", () => register(stream, worker));
  return { engine, client, worker, stream, taskId };
}

export async function workDurably(client: Plain, engine: Engine): Promise<Worker> {
  const { workerId } = await client.dispatcher.register({
    workerName: "worker",
    actions: ["long:long", "child:child", "family:a", "family:b"],
    slotConfig: { default: 10, durable: 1 },
  });
  const open = engine.seen.open("ListenV2");
  const reading = read((options) => client.dispatcher.listenV2({ workerId }, options));
  await eventually(() => engine.seen.open("ListenV2") > open);
  await client.dispatcher.heartbeat({ workerId });
  return Object.assign(reading, { workerId });
}

export function register(stream: Stream, { workerId }: { readonly workerId: string }): void {
  stream.send({ case: "registerWorker", value: { workerId } });
}

export function memo(taskId: string, key: string, payload?: unknown, invocationCount = 1): Request {
  return {
    case: "memo",
    value: {
      durableTaskExternalId: taskId,
      invocationCount,
      key: bytes(key),
      ...(payload === undefined ? {} : { payload: bytes(JSON.stringify(payload)) }),
    },
  };
}

export function sleepFor(taskId: string, sleepFor: string, invocationCount = 1): Request {
  const sleepConditions = [{ base: { readableDataKey: "sleep", orGroupId: randomUUID() }, sleepFor }];
  return {
    case: "waitFor",
    value: { durableTaskExternalId: taskId, invocationCount, waitForConditions: { sleepConditions } },
  };
}

export function spawn(taskId: string, invocationCount: number, ...triggerOpts: SpawnOptions[]): Request {
  const opts = triggerOpts.map(({ input, ...rest }) => ({
    name: "child",
    ...rest,
    input: JSON.stringify(input ?? {}),
  }));
  return { case: "triggerRuns", value: { durableTaskExternalId: taskId, invocationCount, triggerOpts: opts } };
}

interface SpawnOptions {
  readonly name?: string;
  readonly input?: unknown;
  readonly childIndex?: number;
  readonly childKey?: string;
}

export function evict(taskId: string, invocationCount = 1): Request {
  return { case: "evictInvocation", value: { durableTaskExternalId: taskId, invocationCount } };
}

export function status(worker: Worker, taskId: string, nodes: readonly number[], invocationCount = 1): Request {
  const waitingEntries = nodes.map((node) => ({
    durableTaskExternalId: taskId,
    branchId: 1n,
    nodeId: BigInt(node),
    invocationCount,
  }));
  return { case: "workerStatus", value: { workerId: worker.workerId, waitingEntries } };
}

export function finish(client: Plain, worker: Worker, taskRunExternalId: string, output: unknown = { ok: true }) {
  const action = worker.messages.findLast((message) => message.taskRunExternalId === taskRunExternalId);
  const { retryCount } = action!;
  const type = StepActionEventType.STEP_EVENT_TYPE_COMPLETED;
  return report(client, { taskRunExternalId, retryCount }, type, JSON.stringify(output));
}

export function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

export function text(data: Uint8Array | undefined): string {
  return new TextDecoder().decode(data);
}
