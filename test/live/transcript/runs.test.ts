import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CreateTaskOptsSchema } from "../../../src/proto.ts";
import { mark, pause } from "../live.ts";
import { compare } from "./compare.ts";
import type { Player } from "./player.ts";

const same = compare("runs");
const nobody = "00000000-0000-4000-8000-000000000000";
type Task = MessageInitShape<typeof CreateTaskOptsSchema>;

same("a task is retried as often as it says, and no more", async (p) => {
  const name = await p.put("retries", { retries: 2 });
  const worker = await p.worker(`${name}:${name}`);
  const stream = p.results();
  const runId = await p.trigger(name);
  stream.ask(runId);

  for (const attempt of [0, 1, 2]) {
    const [action] = await p.take(`attempt ${attempt}`, worker, 1);
    await p.fail(action!, `attempt ${attempt}`);
  }
  await p.take("the result", stream, 1);
  await pause(1000);
  p.note("more attempts", worker.messages.length);
});

same("a task that says so is not retried", async (p) => {
  const name = await p.put("no-retry", { retries: 2 });
  const worker = await p.worker(`${name}:${name}`);
  const stream = p.results();
  stream.ask(await p.trigger(name));
  await p.until(() => worker.messages.length === 1);
  const { retryCount, taskRunExternalId } = worker.messages[0]!;

  await p.dispatcher.sendStepActionEvent({
    taskRunExternalId,
    retryCount,
    eventType: 3,
    eventPayload: "for good",
    shouldNotRetry: true,
  });
  await p.take("the result", stream, 1);
  p.note("attempts", worker.messages.length);
});

same("a task runs out of time, is cancelled at its worker, and tried again", async (p) => {
  const name = await p.put("timeout", { retries: 1, timeout: "1s" });
  const worker = await p.worker(`${name}:${name}`);
  const stream = p.results();
  stream.ask(await p.trigger(name));

  await p.take("the start", worker, 1);
  await p.until(() => worker.messages.length >= 2, 60_000);
  const isCancel = ({ actionType }: { actionType: number }) => actionType === 1;
  worker.messages.sort((a, b) => a.actionType - b.actionType || a.retryCount - b.retryCount);
  p.note("cancels of attempt 0", worker.messages.filter(isCancel).length > 0);
  await p.until(() => stream.messages.length === 1, 90_000);
  await p.take("the result", stream, 1);
  p.note("starts", worker.messages.filter((one) => !isCancel(one)).map(({ retryCount }) => retryCount));
});

same("a task that nobody takes in time is cancelled", async (p) => {
  const name = await p.put("unscheduled", { scheduleTimeout: "1s" });
  const stream = p.results();
  const runId = await p.trigger(name);

  stream.ask(runId);
  await p.until(() => stream.messages.length === 1, 60_000);
  await p.take("the result", stream, 1);
  await p.call("its details", p.admin.getRunDetails({ externalId: runId }));
});

same("CancelTasks, and what it refuses", async (p) => {
  const name = await p.put("cancel");
  const worker = await p.worker(`${name}:${name}`);
  const stream = p.results();
  const runId = await p.trigger(name);
  await p.until(() => worker.messages.length === 1);
  const [action] = worker.messages.splice(0);
  const cancel = (label: string, request: object) => p.call(label, p.admin.cancelTasks(request));

  await cancel("nothing", {});
  await cancel("a malformed id", { externalIds: ["abc"] });
  await cancel("an unknown id", { externalIds: [nobody] });
  await cancel("ids and a filter", { externalIds: [nobody], filter: {} });
  await cancel("a filter with bad metadata", { filter: { additionalMetadata: ["nonsense"] } });
  await cancel("a filter with a bad status", { filter: { statuses: ["NONSENSE"], additionalMetadata: ["a:b"] } });
  await cancel("a filter with a bad workflow", { filter: { workflowIds: ["abc"] } });
  await cancel("the run", { externalIds: [runId] });
  stream.ask(runId);
  await p.take("the result", stream, 1);
  await p.take("the action", worker, 1);
  await p.call("completed afterwards", p.complete(action!));
  await pause(1000);
  await p.call("its details", p.admin.getRunDetails({ externalId: runId }));
  await cancel("the run again", { externalIds: [runId] });
  await pause(1000);
  p.note("more actions", worker.messages.length);
});

same("ReplayTasks, and what it refuses", async (p) => {
  const name = await p.put("replay");
  const worker = await p.worker(`${name}:${name}`);
  const stream = p.results();
  const runId = await p.trigger(name, { b: 1, a: "<&>" });
  stream.ask(runId);
  await p.until(() => worker.messages.length === 1);
  const replay = (label: string, request: object) => p.call(label, p.admin.replayTasks(request));

  await replay("nothing", {});
  await replay("a malformed id", { externalIds: ["abc"] });
  await replay("an unknown id", { externalIds: [nobody] });
  await replay("ids and a filter", { externalIds: [nobody], filter: {} });
  await replay("a run that still runs", { externalIds: [runId] });
  await pause(1000);
  p.note("actions meanwhile", worker.messages.length);
  await p.complete(worker.messages.splice(0)[0]!, { first: true });
  await p.take("the first result", stream, 1);
  await replay("a run that has ended", { externalIds: [runId] });
  const [again] = await p.take("the second start", worker, 1);
  await p.call("details meanwhile", p.admin.getRunDetails({ externalId: runId }));
  stream.ask(runId);
  await p.complete(again!, { second: true });
  await p.take("the second result", stream, 1);
});

/** Runs a workflow whose tasks end as they are told, and tapes its results in the order of their names. */
async function play(p: Player, name: string, tasks: Task[], rescue: boolean, ends: Record<string, unknown>) {
  const marked = `${mark}-${name}`;
  const action = (readableId: string) => `${marked}:${readableId}`;
  await p.admin.putWorkflow({
    name: marked,
    tasks: tasks.map((task) => ({ ...task, action: action(task.readableId!) })),
    ...(rescue && { onFailureTask: { readableId: "rescue", action: action("rescue") } }),
  });
  const worker = await p.worker(...tasks.map(({ readableId }) => action(readableId!)), action("rescue"));
  const stream = p.results();
  const runId = await p.trigger(marked, { in: 1 });
  p.note("the run", runId);
  stream.ask(runId);
  const seen = new Set<string>();
  const payloads = new Map<string, unknown>();
  await p.until(async () => {
    // Together, so that it does not depend on the moment what each is told of the others.
    if (worker.messages.length > seen.size) await pause(300);
    for (const one of worker.messages) {
      const key = `${one.taskName} ${one.retryCount} ${one.actionType}`;
      if (one.actionType !== 0 || seen.has(key)) continue;
      seen.add(key);
      payloads.set(key, one);
      const end = ends[one.taskName];
      if (end instanceof Error) await p.fail(one, end.message);
      else await p.complete(one, end ?? {});
    }
    return stream.messages.length === 1;
  }, 20_000);
  p.note("started", [...seen].toSorted());
  for (const [key, one] of [...payloads].toSorted(([a], [b]) => a < b ? -1 : 1)) p.note(`the action of ${key}`, one);
  stream.messages[0]?.results.sort((a, b) => a.taskName.localeCompare(b.taskName));
  await p.take("the result", stream, 1, 1000);
  const details = await p.admin.getRunDetails({ externalId: runId });
  details.taskRuns = Object.fromEntries(Object.entries(details.taskRuns).toSorted(([a], [b]) => a.localeCompare(b)));
  p.note("its details", details);
  await p.admin.cancelTasks({ externalIds: [runId] });
}

const diamond: Task[] = [
  { readableId: "a" },
  { readableId: "b", parents: ["a"] },
  { readableId: "c", parents: ["a"] },
  { readableId: "d", parents: ["b", "c"] },
];
const broken = new Error("broken");

same(
  "tasks wait for their parents, and get their outputs",
  (p) => play(p, "diamond", diamond, false, { a: { from: "a" }, b: { from: "b" }, c: { from: "c" }, d: { from: "d" } }),
);
same(
  "what has ended by then comes with the parents",
  (p) =>
    play(p, "side", [...diamond, { readableId: "f", parents: ["d"] }], false, { a: { from: "a" }, f: { from: "f" } }),
);
same("a failed parent cancels what depends on it", (p) => play(p, "diamond-failed", diamond, false, { b: broken }));
same("a failed task calls the one for failures", (p) => play(p, "rescued", diamond.slice(0, 2), true, { b: broken }));
same(
  "the one for failures is skipped when nothing fails",
  (p) => play(p, "unrescued", [{ readableId: "a" }], true, {}),
);
same(
  "a run of one task that fails and is rescued",
  (p) => play(p, "rescued-one", [{ readableId: "a" }], true, { a: broken }),
);
same(
  "a rescue that fails",
  (p) => play(p, "unrescuable", [{ readableId: "a" }], true, { a: broken, rescue: new Error("worse") }),
);
same("a list as a parent's output", (p) => play(p, "list", diamond.slice(0, 2), false, { a: [1] }));
same("a text as a parent's output", (p) => play(p, "text", diamond.slice(0, 2), false, { a: "text" }));
same("null as a parent's output", (p) => play(p, "null", diamond.slice(0, 2), false, { a: null }));

same("priorities: the higher goes first", async (p) => {
  const name = await p.put("priority");
  const send = (priority: number, number: number) =>
    p.workflows.triggerWorkflow({ name, input: JSON.stringify({ number }), priority });
  for (const [priority, number] of [[1, 1], [2, 2], [3, 3], [1, 4]] as const) await send(priority, number);
  const { workerId } = await p.dispatcher.register({ workerName: mark, actions: [`${name}:${name}`], slots: 1 });
  const stream = p.read((options) => p.dispatcher.listenV2({ workerId }, options));
  const order: number[] = [];
  await p.until(async () => {
    await p.dispatcher.heartbeat({ workerId });
    for (const action of stream.messages.splice(0)) {
      order.push(JSON.parse(action.actionPayload).input.number);
      await p.complete(action);
    }
    return order.length === 4;
  });

  p.note("the order", order);
});

same(
  "work that goes to a worker which unsubscribed",
  { "the result": "The embedded engine says it in fewer words." },
  async (p) => {
    const name = await p.put("deaf");
    const worker = await p.worker(`${name}:${name}`);
    const stream = p.results();
    await p.call("Unsubscribe", p.dispatcher.unsubscribe({ workerId: worker.workerId }));
    stream.ask(await p.trigger(name));

    await p.until(() => stream.messages.length === 1, 90_000);
    await p.take("the result", stream, 1);
    p.note("what the worker heard", worker.messages.length);
  },
);

same("START goes to one of two streams, CANCEL to both", async (p) => {
  const name = await p.put("twice");
  const first = await p.worker(`${name}:${name}`);
  const second = p.read((options) => p.dispatcher.listenV2({ workerId: first.workerId }, options));
  await pause(500);
  const runId = await p.trigger(name);

  await p.until(() => first.messages.length + second.messages.length === 1);
  p.note("starts", first.messages.length + second.messages.length);
  const isFirst = first.messages.length === 1;
  await p.admin.cancelTasks({ externalIds: [runId] });
  await p.until(() => first.messages.length + second.messages.length === 3, 5000);
  const counts = [first.messages.length, second.messages.length];
  p.note("with the cancels, of the one that had the start first", isFirst ? counts : counts.toReversed());
});

same.run();
