import { BatchActionEventItemSchema, StepActionEventType } from "../../../src/proto.ts";
import { create } from "@bufbuild/protobuf";
import { pause } from "../live.ts";
import { compare } from "./compare.ts";

const same = compare("reports");
const nobody = "00000000-0000-4000-8000-000000000000";
const completed = StepActionEventType.STEP_EVENT_TYPE_COMPLETED;

same("SendStepActionEvent, and what it refuses", async (p) => {
  const name = await p.put("reports");
  const worker = await p.worker(`${name}:${name}`);
  const send = (label: string, event: object) =>
    p.call(label, p.dispatcher.sendStepActionEvent({ eventType: completed, eventPayload: "{}", ...event }));
  const runId = await p.trigger(name);
  await p.until(() => worker.messages.length === 1);
  const taskRunExternalId = worker.messages[0]!.taskRunExternalId;

  p.note("the run", taskRunExternalId);
  await send("a malformed id", { taskRunExternalId: "abc" });
  await send("an empty id", { taskRunExternalId: "" });
  await send("an unknown id", { taskRunExternalId: nobody });
  await send("no type", { taskRunExternalId, eventType: 0 });
  await send("a type that there is not", { taskRunExternalId, eventType: 99 });
  await send("acknowledged", { taskRunExternalId, eventType: StepActionEventType.STEP_EVENT_TYPE_ACKNOWLEDGED });
  await send("started", { taskRunExternalId, eventType: StepActionEventType.STEP_EVENT_TYPE_STARTED, retryCount: 0 });
  await send("started by somebody", { taskRunExternalId, eventType: 1, retryCount: 0, workerId: "somebody" });
  await send("completed in an attempt to come", { taskRunExternalId, retryCount: 1 });
  await pause(1500);
  p.note("done after that", (await p.admin.getRunDetails({ externalId: runId })).done);
  await send("completed without an attempt", { taskRunExternalId });
  p.note("done then", await p.done(runId, 5000));
  const late: Readonly<Record<string, object>> = {
    "completed again": { eventPayload: `{"again":1}` },
    "failed afterwards": { eventType: 3, eventPayload: "late" },
    "cancelled afterwards": { eventType: 5 },
    "completed once more": { eventPayload: `{"more":1}` },
    "failed once more": { eventType: 3, eventPayload: "later" },
  };
  for (const [label, event] of Object.entries(late)) {
    await send(label, { taskRunExternalId, retryCount: 0, ...event });
    await pause(1500);
    await p.call(`${label}, in the details`, p.admin.getRunDetails({ externalId: runId }));
    const stream = p.results();
    stream.ask(runId);
    await p.take(`${label}, in the result`, stream, 1, 3000);
  }
});

const words = { "the result of that": "The embedded engine replaces it by words of its own." };

same("an error with a null character", words, async (p) => {
  const name = await p.put("null-error");
  const worker = await p.worker(`${name}:${name}`);
  const stream = p.results();
  const runId = await p.trigger(name);
  stream.ask(runId);
  await p.until(() => worker.messages.length === 1);

  await p.call("the character itself", p.fail(worker.messages[0]!, "a\0b"));
  await p.take("its result", stream, 1, 5000);
  const other = await p.trigger(name);
  stream.ask(other);
  await p.until(() => worker.messages.some(({ workflowRunId }) => workflowRunId === other));
  const second = worker.messages.find(({ workflowRunId }) => workflowRunId === other)!;
  await p.call("the escaped character", p.fail(second, `{"message":"a\\u0000b"}`));
  await p.take("the result of that", stream, 1, 5000);
  await p.admin.cancelTasks({ externalIds: [runId, other] });
});

same("SendBatchActionEvent, and what it refuses", async (p) => {
  const name = await p.put("batch");
  const worker = await p.worker(`${name}:${name}`);
  const items = (...ids: string[]) =>
    ids.map((taskRunExternalId) =>
      create(BatchActionEventItemSchema, { taskRunExternalId, eventPayload: "{}", retryCount: 0 })
    );
  const send = (label: string, event: object) =>
    p.call(label, p.dispatcher.sendBatchActionEvent({ eventType: completed, ...event }));
  const runIds = [await p.trigger(name), await p.trigger(name)];
  await p.until(() => worker.messages.length === 2);

  await send("no items", { workerId: worker.workerId });
  await send("a malformed id", { items: items("abc") });
  await send("an unknown id", { items: items(nobody) });
  await send("no type", { items: items(runIds[0]!), eventType: 0 });
  await send("two", { items: items(...runIds), workerId: worker.workerId });
  p.note("done", await Promise.all(runIds.map((id) => p.done(id, 10_000))));
});

const mixed = { "who has whose": "The embedded engine gives each run its own output." };

same("reports that come twice, with those of others", mixed, async (p) => {
  const name = await p.put("twice");
  const worker = await p.worker(`${name}:${name}`);
  const runIds: string[] = [];
  while (runIds.length < 20) runIds.push(await p.trigger(name));
  await p.until(() => worker.messages.length === runIds.length);
  const report = (taskRunExternalId: string) =>
    p.dispatcher.sendStepActionEvent({
      eventType: completed,
      eventPayload: JSON.stringify({ of: runIds.indexOf(taskRunExternalId) }),
      retryCount: 0,
      taskRunExternalId,
      workerId: worker.workerId,
    });

  await Promise.all(runIds.flatMap((id) => [report(id), report(id)]));
  p.note("done", await Promise.all(runIds.map((id) => p.done(id, 10_000))));
  const outputs = runIds.map(async (externalId) => {
    const { taskRuns } = await p.admin.getRunDetails({ externalId });
    return Object.values(taskRuns).map(({ output }) => new TextDecoder().decode(output));
  });
  p.note("who has whose", await Promise.all(outputs));
});

same("RefreshTimeout and ReleaseSlot of a task that runs, and of one that does not", async (p) => {
  const name = await p.put("refresh");
  const worker = await p.worker(`${name}:${name}`);
  const runId = await p.trigger(name);
  await p.until(() => worker.messages.length === 1);
  const { taskRunExternalId } = worker.messages[0]!;
  const refresh = (label: string, incrementTimeoutBy: string) =>
    p.call(label, p.dispatcher.refreshTimeout({ taskRunExternalId, incrementTimeoutBy }));

  await refresh("ten seconds", "10s");
  await refresh("no duration", "");
  await refresh("a bad duration", "soon");
  await refresh("a duration below zero", "-1s");
  await p.call("ReleaseSlot", p.dispatcher.releaseSlot({ taskRunExternalId }));
  await p.call("ReleaseSlot again", p.dispatcher.releaseSlot({ taskRunExternalId }));
  await p.complete(worker.messages[0]!);
  p.note("done", await p.done(runId));
  await pause(1500);
  await refresh("ten seconds afterwards", "10s");
  await p.call("ReleaseSlot afterwards", p.dispatcher.releaseSlot({ taskRunExternalId }));
});

same.run();
