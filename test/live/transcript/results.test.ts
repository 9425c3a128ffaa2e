import { mark, pause } from "../live.ts";
import { compare } from "./compare.ts";

const same = compare("results");
const nobody = "00000000-0000-4000-8000-000000000000";

same("results of runs that complete, fail and are cancelled", async (p) => {
  const name = await p.put("results");
  const worker = await p.worker(`${name}:${name}`);
  const stream = p.results();
  const finish: Readonly<Record<string, (index: number) => Promise<unknown>>> = {
    "completed with an object": (n) => p.complete(worker.messages[n]!, { b: 1, a: "<&>" }),
    "completed with nothing": (n) => p.report(worker.messages[n]!, "STEP_EVENT_TYPE_COMPLETED"),
    "completed with a list": (n) => p.complete(worker.messages[n]!, [1]),
    "completed with what is no JSON": (n) => p.report(worker.messages[n]!, "STEP_EVENT_TYPE_COMPLETED", "nonsense"),
    "completed with a null character": (n) => p.complete(worker.messages[n]!, { a: "\0" }),
    "failed with a text": (n) => p.fail(worker.messages[n]!, "a text"),
    "failed with nothing": (n) => p.fail(worker.messages[n]!, ""),
    "failed with a null character": (n) => p.fail(worker.messages[n]!, "a\0b"),
    "cancelled by the worker": (n) => p.report(worker.messages[n]!, "STEP_EVENT_TYPE_CANCELLED"),
    "cancelled from outside": (n) => p.admin.cancelTasks({ externalIds: [worker.messages[n]!.workflowRunId] }),
  };

  let index = 0;
  for (const [label, end] of Object.entries(finish)) {
    const runId = await p.trigger(name);
    stream.ask(runId);
    await p.until(() => worker.messages.filter(({ actionType }) => actionType === 0).length === index + 1);
    await end(worker.messages.findIndex((one) => one.workflowRunId === runId));
    await p.take(label, stream, 1);
    index++;
  }
});

same("how often a run is reported", async (p) => {
  const name = await p.put("often");
  const worker = await p.worker(`${name}:${name}`);
  const [stream, other] = [p.results(), p.results()];
  const runId = await p.trigger(name);

  stream.ask(runId, runId, runId);
  other.ask(runId.toUpperCase());
  await p.until(() => worker.messages.length === 1);
  await pause(1500);
  p.note("before the end", stream.messages.length);
  await p.complete(worker.messages[0]!);
  await p.take("asked three times before the end", stream, 1);
  await p.take("asked in capitals", other, 1);
  await pause(2500);
  p.note("more of it", stream.messages.length);
  stream.ask(runId);
  await p.take("asked after the end", stream, 1);
  await pause(2500);
  p.note("still more of it", stream.messages.length);
});

same("ids that lead nowhere, and a half-close", async (p) => {
  const name = await p.put("nowhere");
  const worker = await p.worker(`${name}:${name}`);
  const stream = p.results();
  const [runId, pending] = [await p.trigger(name), await p.trigger(name)];

  stream.ask("abc", "", nobody, runId, pending);
  await p.until(() => worker.messages.length === 2);
  await p.complete(worker.messages.find((one) => one.workflowRunId === runId)!);
  await p.take("the one that is known", stream, 1);
  stream.halfClose();
  await p.end("after the half-close", stream, 3000);
  const closed = p.results();
  closed.halfClose();
  await p.end("a half-close at once", closed, 3000);
});

same("results of a run of two tasks, by its id and by a task's", async (p) => {
  const name = `${mark}-two`;
  await p.admin.putWorkflow({
    name,
    tasks: [
      { readableId: "first", action: `${name}:first` },
      { readableId: "second", action: `${name}:second`, parents: ["first"] },
    ],
  });
  const worker = await p.worker(`${name}:first`, `${name}:second`);
  const [byRun, byTask] = [p.results(), p.results()];
  const runId = await p.trigger(name, { x: 1 });

  byRun.ask(runId);
  const [first] = await p.take("the first start", worker, 1);
  byTask.ask(first!.taskRunExternalId);
  await p.complete(first!, { f: 1 });
  await p.take("the first task", byTask, 1);
  const [second] = await p.take("the second start", worker, 1);
  p.note("the run before its end", byRun.messages.length);
  await p.complete(second!, { s: 2 });
  await p.until(() => byRun.messages.length === 1);
  byRun.messages[0]?.results.sort((a, b) => a.taskName.localeCompare(b.taskName));
  await p.take("the run", byRun, 1);
});

same("a result that is too large for the stream", async (p) => {
  const name = `${mark}-large`;
  await p.admin.putWorkflow({
    name,
    tasks: ["a", "b"].map((readableId) => ({ readableId, action: `${name}:${readableId}` })),
  });
  const worker = await p.worker(`${name}:a`, `${name}:b`);
  const stream = p.results();
  const runId = await p.trigger(name);

  stream.ask(runId);
  await p.until(() => worker.messages.length === 2);
  for (const action of worker.messages) await p.complete(action, { text: "x".repeat(3_000_000) });
  await p.take("two outputs of 3 MB", stream, 1);
  const other = await p.trigger(name);
  await p.until(() => worker.messages.length === 4);
  stream.ask(other);
  for (const action of worker.messages.slice(2)) await p.fail(action, "x".repeat(3_000_000));
  await p.until(() => stream.messages.length === 1);
  stream.messages[0]?.results.sort((a, b) => a.taskName.localeCompare(b.taskName));
  await p.take("two errors of 3 MB", stream, 1);
});

same.run();
