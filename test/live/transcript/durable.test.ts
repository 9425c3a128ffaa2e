import type { MessageInitShape } from "@bufbuild/protobuf";
import type { DurableTaskRequestSchema } from "../../../src/proto.ts";
import { mark, pause } from "../live.ts";
import { compare } from "./compare.ts";
import type { Player } from "./player.ts";

const same = compare("durable");
const nobody = "00000000-0000-4000-8000-000000000000";
const group = "11111111-2222-4333-8444-555555555555";
const bytes = (text: string) => new TextEncoder().encode(text);
type Request = NonNullable<MessageInitShape<typeof DurableTaskRequestSchema>["message"]>;

/** A durable task that runs, its worker, and its stream. */
async function stage(p: Player, name: string) {
  const [long, child] = [`${mark}-${name}`, `${mark}-${name}-child`];
  await p.admin.putWorkflow({
    name: long,
    tasks: [{ readableId: long, action: `${long}:${long}`, isDurable: true, slotRequests: { durable: 1 } }],
  });
  await p.put(`${name}-child`);
  const { workerId } = await p.dispatcher.register({
    workerName: mark,
    actions: [`${long}:${long}`, `${child}:${child}`],
    slotConfig: { default: 10, durable: 10 },
  });
  const worker = p.read((options) => p.dispatcher.listenV2({ workerId }, options));
  await pause(300);
  p.beat(workerId);
  const taskId = await p.trigger(long);
  const queue: Request[] = [];
  let wake = () => {};
  async function* requests() {
    for (;;) {
      const message = queue.shift();
      if (message !== undefined) yield { message };
      else await new Promise<void>((resolve) => wake = resolve);
    }
  }
  const stream = p.read((options) => p.durable.durableTask(requests(), options));
  const send = (message: Request) => {
    queue.push(message);
    wake();
  };
  send({ case: "registerWorker", value: { workerId } });
  await p.until(() => worker.messages.length === 1 && stream.messages.length === 1);
  return { child, send, stream, taskId, worker, workerId };
}

same("DurableTask: memos, sleeps and children of a task that runs", async (p) => {
  const { child, send, stream, taskId, worker, workerId } = await stage(p, "nodes");
  const task = { durableTaskExternalId: taskId, invocationCount: 1 };
  const ask = async (label: string, count: number, message: Request) => {
    send(message);
    await p.take(label, stream, count, 15_000);
  };

  await p.take("the start", worker, 1);
  await p.take("registered", stream, 1);
  await ask("a memo", 2, { case: "memo", value: { ...task, key: bytes("k"), payload: bytes(`{"b":1,"a":2}`) } });
  await ask("a sleep", 2, {
    case: "waitFor",
    value: {
      ...task,
      waitForConditions: { sleepConditions: [{ base: { readableDataKey: "s", orGroupId: group }, sleepFor: "1s" }] },
    },
  });
  await ask("a child", 1, {
    case: "triggerRuns",
    value: { ...task, triggerOpts: [{ name: child, input: `{"n":1}` }] },
  });
  const [start] = await p.take("the start of the child", worker, 1);
  await p.complete(start!, { z: 1, a: 2 });
  await p.take("its end", stream, 1);
  await ask("a child that fails", 1, {
    case: "triggerRuns",
    value: { ...task, triggerOpts: [{ name: child, input: `{"n":2}` }] },
  });
  const [other] = await p.take("its start", worker, 1);
  await p.fail(other!, "broken");
  await p.take("its failure", stream, 1);
  const waitingEntries = [1n, 2n, 3n, 4n].map((nodeId) => ({ ...task, branchId: 1n, nodeId }));
  send({ case: "workerStatus", value: { workerId, waitingEntries } });
  await p.until(() => stream.messages.length === 4, 10_000);
  stream.messages.sort((a, b) => JSON.stringify(a, plain) < JSON.stringify(b, plain) ? -1 : 1);
  await p.take("all that is done, asked for", stream, 4, 1000);
  await p.complete({ taskRunExternalId: taskId, retryCount: 0 });
  p.note("done", await p.done(taskId));
});

same("DurableTask: what is stale, what is unknown, and what is taken away", async (p) => {
  const { send, stream, taskId, worker } = await stage(p, "stale");
  const task = { durableTaskExternalId: taskId, invocationCount: 1 };
  await p.take("the start", worker, 1);
  stream.messages.splice(0);

  send({ case: "memo", value: { ...task, invocationCount: 7, key: bytes("k"), payload: bytes("{}") } });
  await p.take("a memo of another invocation", stream, 1, 10_000);
  send({ case: "memo", value: { ...task, durableTaskExternalId: nobody, key: bytes("k"), payload: bytes("{}") } });
  send({ case: "memo", value: { ...task, durableTaskExternalId: "abc", key: bytes("k"), payload: bytes("{}") } });
  await pause(2000);
  p.note("memos of tasks that there are not", stream.messages.length);
  send({ case: "evictInvocation", value: { ...task } });
  await p.take("an eviction", stream, 1, 15_000);
  await p.call("the details of what was evicted", p.admin.getRunDetails({ externalId: taskId }));
  await p.call("RestoreEvictedTask", p.dispatcher.restoreEvictedTask({ taskRunExternalId: taskId }));
  await p.take("the second start", worker, 1);
  send({ case: "memo", value: { ...task, key: bytes("k"), payload: bytes("{}") } });
  await p.take("a memo of the first invocation", stream, 1, 10_000);
  await p.complete({ taskRunExternalId: taskId, retryCount: 0 });
  p.note("done", await p.done(taskId));
});

const panics = { "no conditions": "The real engine panics, and says so without a full stop." };

same("RegisterDurableEvent and ListenForDurableEvent", panics, async (p) => {
  const { taskId } = await stage(p, "signals");
  const sleepConditions = [{ base: { readableDataKey: "s", orGroupId: group }, sleepFor: "1s" }];
  const register = (label: string, request: object) =>
    p.call(
      label,
      p.durable.registerDurableEvent({ taskId, signalKey: "k", conditions: { sleepConditions }, ...request }),
    );
  async function* requests() {
    for (const id of ["abc", nobody, taskId]) yield { taskId: id, signalKey: "k" };
    await new Promise<never>(() => {});
  }

  await register("a malformed task", { taskId: "abc" });
  await register("an unknown task", { taskId: nobody });
  await register("no conditions", { conditions: undefined });
  await register("a malformed group", {
    conditions: { sleepConditions: [{ base: { readableDataKey: "s", orGroupId: "abc" }, sleepFor: "1s" }] },
  });
  await register("a sleep", {});
  const stream = p.read((options) => p.durable.listenForDurableEvent(requests(), options));
  await p.take("its end", stream, 1, 40_000);
  const again = p.read((options) => p.durable.listenForDurableEvent(requests(), options));
  await p.take("its end, told again", again, 1, 10_000);
});

function plain(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

same.run();
