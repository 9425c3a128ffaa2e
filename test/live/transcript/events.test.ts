import { mark, pause } from "../live.ts";
import { compare } from "./compare.ts";

const same = compare("events");
const nobody = "00000000-0000-4000-8000-000000000000";
const bytes = (text: string) => new TextEncoder().encode(text);

same("SubscribeToWorkflowEvents, and what it refuses", async (p) => {
  const subscribe = (label: string, request: object) =>
    p.end(label, p.read((options) => p.dispatcher.subscribeToWorkflowEvents(request, options)), 15_000);
  const name = await p.put("events");
  const worker = await p.worker(`${name}:${name}`);
  const runId = await p.trigger(name);
  await p.until(() => worker.messages.length === 1);
  await p.complete(worker.messages[0]!);
  await p.done(runId);
  await pause(3000);

  await subscribe("nothing", {});
  await subscribe("a key alone", { additionalMetaKey: "a" });
  await subscribe("a value alone", { additionalMetaValue: "a" });
  await subscribe("a malformed run", { workflowRunId: "abc" });
  await subscribe("an empty run", { workflowRunId: "" });
  await subscribe("an unknown run", { workflowRunId: nobody });
  await subscribe("a run that has ended", { workflowRunId: runId });
});

/** What a run does while its events are followed, by name; each gets a subscription that was there before. */
const lives: Readonly<Record<string, "complete" | "fail" | "cancel" | "retry" | "chunks">> = {
  "a run that completes": "complete",
  "a run that fails": "fail",
  "a run that is cancelled": "cancel",
  "a run that fails once": "retry",
  "a run with chunks": "chunks",
};

for (const [title, life] of Object.entries(lives)) {
  same(`the events of ${title}`, async (p) => {
    const name = await p.put(life, { retries: life === "retry" ? 1 : 0 });
    const runId = await p.trigger(name);
    await pause(3000);
    const stream = p.read((options) => p.dispatcher.subscribeToWorkflowEvents({ workflowRunId: runId }, options));
    await pause(1500);
    const worker = await p.worker(`${name}:${name}`);
    await p.until(() => worker.messages.length === 1);
    const [action] = worker.messages.splice(0);
    const put = (label: string, text: string | Uint8Array, eventIndex?: bigint) =>
      p.call(
        label,
        p.events.putStreamEvent({
          taskRunExternalId: action!.taskRunExternalId,
          message: typeof text === "string" ? bytes(text) : new Uint8Array(text),
          createdAt: { seconds: BigInt(Math.floor(Date.now() / 1000)), nanos: 0 },
          ...(eventIndex !== undefined && { eventIndex }),
        }),
      );
    await p.report(action!, "STEP_EVENT_TYPE_STARTED");
    switch (life) {
      case "complete":
        await p.complete(action!, { b: 1, a: "<&>" });
        break;
      case "fail":
        await p.fail(action!, `{"message":"broken"}`);
        break;
      case "cancel":
        await p.admin.cancelTasks({ externalIds: [runId] });
        break;
      case "retry":
        await p.fail(action!, "once");
        break;
      case "chunks":
        for (const index of [0n, 1n, 2n]) await put(`chunk ${index}`, `chunk ${index}`, index);
        await pause(500);
        await put("a chunk without an index", "loose");
        await pause(500);
        await put("an empty chunk", "", 3n);
        await pause(500);
        await put("a chunk behind a gap", "late", 5n);
        await put("the one that was missing", "missing", 4n);
        await pause(1000);
        await p.complete(action!);
    }
    await p.end("what is told", stream, 15_000);
  });
}

same("the events of runs with a piece of metadata", async (p) => {
  const name = await p.put("metadata");
  const worker = await p.worker(`${name}:${name}`);
  const value = `${mark}-value`;
  const stream = p.read((options) =>
    p.dispatcher.subscribeToWorkflowEvents({ additionalMetaKey: "key", additionalMetaValue: value }, options)
  );
  await pause(1500);
  const trigger = async (metadata: object) => {
    const before = worker.messages.length;
    await p.workflows.triggerWorkflow({ name, input: "{}", additionalMetadata: JSON.stringify(metadata) });
    await p.until(() => worker.messages.length > before);
    return worker.messages[before]!;
  };

  const other = await trigger({ key: "other" });
  await p.complete(other);
  const number = await trigger({ key: 7 });
  await p.complete(number);
  const [one, two] = [await trigger({ key: value }), await trigger({ key: value })];
  await pause(1500);
  await p.complete(one);
  await pause(3000);
  await p.complete(two);
  await p.end("what is told", stream, 15_000);
});

same("chunks that are no text end the streams of whoever listens", async (p) => {
  const name = await p.put("garbled");
  const worker = await p.worker(`${name}:${name}`);
  const runId = await p.trigger(name);
  await p.until(() => worker.messages.length === 1);
  await pause(3000);
  const stream = p.read((options) => p.dispatcher.subscribeToWorkflowEvents({ workflowRunId: runId }, options));
  await pause(1500);

  await p.call(
    "PutStreamEvent",
    p.events.putStreamEvent({ taskRunExternalId: runId, message: new Uint8Array([255, 254]), eventIndex: 0n }),
  );
  await p.end("what is told", stream, 10_000);
});

same("PutStreamEvent and PutLog, and what they refuse", async (p) => {
  const name = await p.put("put");
  const worker = await p.worker(`${name}:${name}`);
  const runId = await p.trigger(name);
  await p.until(() => worker.messages.length === 1);
  const chunk = (label: string, taskRunExternalId: string) =>
    p.call(`PutStreamEvent ${label}`, p.events.putStreamEvent({ taskRunExternalId, message: bytes("x") }));
  const log = (label: string, request: object) =>
    p.call(
      `PutLog ${label}`,
      p.events.putLog({ taskRunExternalId: runId, message: "hello", metadata: "{}", ...request }),
    );

  await chunk("of a task", runId);
  await chunk("of a malformed task", "abc");
  await chunk("of an unknown task", nobody);
  await log("of a task", {});
  await log("of a malformed task", { taskRunExternalId: "abc" });
  await log("of an unknown task", { taskRunExternalId: nobody });
  await log("without metadata", { metadata: "" });
  await log("with metadata that is no JSON", { metadata: "nonsense" });
  await log("with metadata that is a list", { metadata: "[1]" });
  await log("with a level", { level: "INFO" });
  await log("with a level that there is not", { level: "NONSENSE" });
  await log("without a message", { message: "" });
  await log("of an attempt", { taskRetryCount: 0 });
});

same("Push and BulkPush, and what they refuse", async (p) => {
  const key = `${mark}:pushed`;
  const push = (label: string, request: object) =>
    p.call(`Push ${label}`, p.events.push({ key, payload: "{}", ...request }));
  const bulk = (label: string, ...requests: object[]) =>
    p.call(`BulkPush ${label}`, p.events.bulkPush({ events: requests.map((one) => ({ key, payload: "{}", ...one })) }));

  await push("of a key", {});
  await push("of no key", { key: "" });
  await push("of no payload", { payload: "" });
  await push("of a payload that is no JSON", { payload: "nonsense" });
  await push("of a list", { payload: "[1]" });
  await push("of a null character", { payload: `{"a":"\\u0000"}` });
  await push("with metadata", { additionalMetadata: `{"a":"b"}` });
  await push("with metadata that is no JSON", { additionalMetadata: "nonsense" });
  await push("with priority 0", { priority: 0 });
  await push("with priority 3", { priority: 3 });
  await push("with priority 4", { priority: 4 });
  await push("with a scope", { scope: "mine" });
  await bulk("of none");
  await bulk("of two", {}, { payload: `{"n":2}` });
  await bulk("of one without a key", {}, { key: "" });
  await bulk("of one with bad JSON", {}, { payload: "nonsense" });
});

same("an event starts the workflows that wait for it", async (p) => {
  const name = `${mark}-on-event`;
  const key = `${mark}:event`;
  await p.admin.putWorkflow({
    name,
    eventTriggers: [key],
    tasks: [{ readableId: name, action: `${name}:${name}` }],
  });
  const worker = await p.worker(`${name}:${name}`);

  await p.call(
    "the event",
    p.events.push({ key, payload: `{"b":1,"a":2}`, additionalMetadata: `{"k":"v"}`, priority: 2 }),
  );
  await p.take("the start", worker, 1);
});

same.run();
