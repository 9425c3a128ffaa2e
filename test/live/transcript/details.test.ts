import { mark, pause } from "../live.ts";
import { compare } from "./compare.ts";

const same = compare("details");
const nobody = "00000000-0000-4000-8000-000000000000";

same("GetRunDetails in every state of a run of one task", async (p) => {
  const name = await p.put("details", { retries: 1 });
  const get = (label: string, externalId: string) => p.call(label, p.admin.getRunDetails({ externalId }));
  const start = async () => {
    const before = worker.messages.length;
    await p.workflows.triggerWorkflow({
      name,
      input: `{"b":1,"a":"<&>"}`,
      additionalMetadata: `{"k":"v"}`,
    });
    await p.until(() => worker.messages.length > before);
    return worker.messages[before]!;
  };

  await get("malformed", "abc");
  await get("empty", "");
  await get("unknown", nobody);
  const waiting = await p.trigger(await p.put("nobody-runs-it"));
  await pause(1000);
  await get("queued", waiting);
  await p.admin.cancelTasks({ externalIds: [waiting] });
  await p.done(waiting);
  await get("cancelled while it was queued", waiting);
  const worker = await p.worker(`${name}:${name}`);
  const first = await start();
  await get("running", first.workflowRunId);
  await p.report(first, "STEP_EVENT_TYPE_STARTED");
  await pause(500);
  await get("running and started", first.workflowRunId);
  await p.complete(first, { z: 1, a: "<&>" });
  await p.done(first.workflowRunId);
  await get("completed", first.workflowRunId);
  await get("completed, in capitals", first.workflowRunId.toUpperCase());
  const second = await start();
  await p.admin.cancelTasks({ externalIds: [second.workflowRunId] });
  await p.done(second.workflowRunId);
  await get("cancelled", second.workflowRunId);
  await p.until(() => worker.messages.some(({ actionType }) => actionType === 1));
  const third = await start();
  const before = worker.messages.length;
  await p.fail(third, "first");
  await p.until(() => worker.messages.length > before);
  await get("running again", third.workflowRunId);
  await p.fail(worker.messages[before]!, `{"message":"second"}`);
  await p.done(third.workflowRunId);
  await get("failed", third.workflowRunId);
  const fourth = await start();
  await p.report(fourth, "STEP_EVENT_TYPE_COMPLETED");
  await p.done(fourth.workflowRunId);
  await get("completed with nothing", fourth.workflowRunId);
});

same("GetRunDetails of a run of three tasks", async (p) => {
  const name = `${mark}-three`;
  await p.admin.putWorkflow({
    name,
    tasks: [
      { readableId: "a", action: `${name}:a` },
      { readableId: "b", action: `${name}:b` },
      { readableId: "c", action: `${name}:c`, parents: ["a", "b"] },
    ],
  });
  const worker = await p.worker(`${name}:a`, `${name}:b`, `${name}:c`);
  const find = (task: string) => worker.messages.find(({ taskName }) => taskName === task);
  const get = async (label: string, externalId: string) => {
    const details = await p.admin.getRunDetails({ externalId });
    details.taskRuns = Object.fromEntries(Object.entries(details.taskRuns).toSorted(([a], [b]) => a.localeCompare(b)));
    p.note(label, details);
  };
  const runId = await p.trigger(name, {});
  await p.until(() => find("a") !== undefined && find("b") !== undefined);
  for (const task of ["a", "b"]) p.note(`the id of ${task}`, find(task)!.taskRunExternalId);

  await get("both run", runId);
  await p.complete(find("a")!, { a: 1 });
  await pause(1000);
  await get("one has completed", runId);
  await get("one has completed, by its own id", find("a")!.taskRunExternalId);
  await p.complete(find("b")!, { b: 1 });
  await p.until(() => find("c") !== undefined);
  p.note("the id of c", find("c")!.taskRunExternalId);
  await get("the last one runs", runId);
  await p.fail(find("c")!, "c breaks");
  await p.done(runId);
  await get("the last one has failed", runId);
});

same.run();
