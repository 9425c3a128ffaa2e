import { Code, ConnectError } from "@connectrpc/connect";
import { WorkflowRunEventType } from "../../src/proto.ts";
import { assert, suite } from "../harness.ts";
import {
  complete,
  eventually,
  fail,
  failure,
  pause,
  plain,
  put,
  results,
  start,
  stopAll,
  trigger,
  work,
} from "./engine-client.ts";

const test = suite("engine: results");
test.after.each(stopAll);

const unknownId = "00000000-0000-4000-8000-000000000000";

test("F5: tells the end of a run once, with the output of what completed", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "told");
  const worker = await work(client, engine, "told:told");
  const stream = results(client);
  const runId = await trigger(client, "told");

  stream.ask(runId);
  await eventually(() => worker.messages.length === 1);
  await complete(client, worker.messages[0]!, { ok: 1 });
  await eventually(() => stream.messages.length === 1);
  await pause(120);

  assert.is(stream.messages.length, 1);
  const [event] = stream.messages;
  assert.is(event?.workflowRunId, runId);
  assert.is(event?.eventType, WorkflowRunEventType.FINISHED);
  assert.equal(event?.results.map((it) => [it.taskName, it.taskRunExternalId, it.output, it.error]), [
    ["told", runId, '{"ok":1}', undefined],
  ]);
});

test("F5: answers for a run that ended before at the next look, not at once", async () => {
  const engine = await start({ timing: { pollMs: 200 } });
  const client = plain(engine);
  await put(client, "past");
  const worker = await work(client, engine, "past:past");
  const runs = [await trigger(client, "past"), await trigger(client, "past"), await trigger(client, "past")];
  await eventually(() => worker.messages.length === 3);
  for (const action of worker.messages) await complete(client, action);
  const stream = results(client);

  const waits: number[] = [];
  for (const [index, run] of runs.entries()) {
    const asked = performance.now();
    stream.ask(run);
    await eventually(() => stream.messages.length === index + 1);
    waits.push(performance.now() - asked);
  }

  // The first one falls anywhere between two looks, the others right after one.
  assert.ok(waits[1]! > 120 && waits[2]! > 120, waits.join(", "));
});

test("F5: never answers for bad and unknown ids, and goes on", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "good");
  const worker = await work(client, engine, "good:good");
  const stream = results(client);

  for (const id of ["nonsense", "", unknownId]) stream.ask(id);
  const runId = await trigger(client, "good");
  stream.ask(runId);
  await eventually(() => worker.messages.length === 1);
  await complete(client, worker.messages[0]!);
  await eventually(() => stream.messages.length === 1);
  await pause(60);

  assert.equal(stream.messages.map((event) => event.workflowRunId), [runId]);
});

test("F5: one answer for any number of askings before the end, one more for each after it", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "often");
  const worker = await work(client, engine, "often:often");
  const stream = results(client);
  const runId = await trigger(client, "often");

  for (let index = 0; index < 3; index++) stream.ask(runId);
  await eventually(() => worker.messages.length === 1 && engine.seen.subscriptions[0]?.runIds.length === 3);
  await complete(client, worker.messages[0]!);
  await eventually(() => stream.messages.length === 1);
  await pause(80);
  const before = stream.messages.length;
  stream.ask(runId);
  await eventually(() => stream.messages.length === 2);

  assert.is(before, 1);
});

test("F5: what failed has an error, be it the empty one, and no output", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "bad");
  await put(client, "called-off");
  const worker = await work(client, engine, "bad:bad");
  const stream = results(client);
  const failed = await trigger(client, "bad");
  const cancelled = await trigger(client, "called-off");

  stream.ask(failed);
  stream.ask(cancelled);
  await eventually(() => worker.messages.length === 1);
  await fail(client, worker.messages[0]!, "why");
  await client.admin.cancelTasks({ externalIds: [cancelled] });
  await eventually(() => stream.messages.length === 2);

  const ends = stream.messages.flatMap((event) =>
    event.results.map((it) => [event.workflowRunId, it.error, it.output])
  );
  assert.equal(new Map(ends.map(([id, error]) => [id, error])), new Map([[failed, "why"], [cancelled, ""]]));
  assert.ok(ends.every(([, , output]) => output === undefined));
});

test("F5: answers for a task of a run under the id that was asked, with that task alone", async () => {
  const engine = await start();
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "pair",
    tasks: [{ readableId: "a", action: "pair:a" }, { readableId: "b", action: "pair:b", parents: ["a"] }],
  });
  const worker = await work(client, engine, "pair:a", "pair:b");
  await trigger(client, "pair");
  await eventually(() => worker.messages.length === 1);
  const { taskRunExternalId } = worker.messages[0]!;
  const stream = results(client);

  stream.ask(taskRunExternalId);
  await complete(client, worker.messages[0]!, { a: 1 });
  await eventually(() => stream.messages.length === 1);

  assert.is(stream.messages[0]?.workflowRunId, taskRunExternalId);
  assert.equal(stream.messages[0]?.results.map((it) => it.taskName), ["a"]);
});

test("F5: the client's half-close ends the stream OK and discards what is outstanding", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "half");
  const runId = await trigger(client, "half");
  const stream = results(client);
  stream.ask(runId);
  await eventually(() => engine.seen.subscriptions[0]?.runIds.length === 1);

  stream.halfClose();
  const end = await stream.ended;

  assert.is(end, undefined);
  assert.equal(stream.messages, []);
});

test("F5: results that would not fit into a message come as an empty list", async () => {
  const engine = await start({ maxMessageBytes: 2000 });
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "fat",
    tasks: [{ readableId: "a", action: "fat:a" }, { readableId: "b", action: "fat:b" }],
  });
  const worker = await work(client, engine, "fat:a", "fat:b");
  const stream = results(client);
  stream.ask(await trigger(client, "fat"));

  await eventually(() => worker.messages.length === 2);
  for (const action of worker.messages) await complete(client, action, { text: "x".repeat(1200) });
  await eventually(() => stream.messages.length === 1);

  assert.equal(stream.messages[0]?.results, []);
});

test("F5: errors that would not fit are replaced by a sentence", async () => {
  const engine = await start({ maxMessageBytes: 2000 });
  const client = plain(engine);
  await client.admin.putWorkflow({
    name: "wordy",
    tasks: [{ readableId: "a", action: "wordy:a" }, { readableId: "b", action: "wordy:b" }],
  });
  const worker = await work(client, engine, "wordy:a", "wordy:b");
  const stream = results(client);
  stream.ask(await trigger(client, "wordy"));

  await eventually(() => worker.messages.length === 2);
  for (const action of worker.messages) await fail(client, action, "x".repeat(1200));
  await eventually(() => stream.messages.length === 1);

  assert.equal(
    stream.messages[0]?.results.map((it) => it.error),
    Array(2).fill(
      "Error is too large to send over the Hatchet stream.",
    ),
  );
});

test("F9: withholds the headers of both kinds of stream until the first message", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "shy");
  const worker = await work(client, engine, "shy:shy");
  const stream = results(client);
  stream.ask(unknownId);
  await eventually(() => engine.seen.subscriptions.length === 1);
  await pause(60);
  const before = [worker.headers, stream.headers];

  stream.ask(await trigger(client, "shy"));
  await eventually(() => worker.messages.length === 1);
  await complete(client, worker.messages[0]!);
  await eventually(() => stream.messages.length === 1);

  assert.equal(before, [undefined, undefined]);
  for (const { headers } of [worker, stream]) {
    assert.ok(headers?.includes("content-type"));
    assert.not(headers?.includes("grpc-status"));
  }
});

test("F15: refuses a message above the limit with two numbers, and the connection lives on", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "huge");

  const input = JSON.stringify({ text: "x".repeat(5_000_000) });
  const error = ConnectError.from(await failure(client.workflows.triggerWorkflow({ name: "huge", input })));
  const { version } = await client.dispatcher.getVersion({});

  assert.is(error.code, Code.ResourceExhausted);
  assert.match(error.rawMessage, /^grpc: received message larger than max \(\d+ vs\. 4194304\)$/);
  assert.ok(version);
});

test("F15: an output just under the limit arrives whole", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "nearly");
  const worker = await work(client, engine, "nearly:nearly");
  const stream = results(client);
  stream.ask(await trigger(client, "nearly"));

  await eventually(() => worker.messages.length === 1);
  await complete(client, worker.messages[0]!, { text: "x".repeat(4_190_000) });
  await eventually(() => stream.messages.length === 1);

  assert.is(stream.messages[0]?.results[0]?.output?.length, 4_190_011);
});

test.run();
