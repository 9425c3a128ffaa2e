import { Code } from "@connectrpc/connect";
import type { Action } from "../../src/mod.ts";
import { StreamError, task } from "../../src/mod.ts";
import { assert, rejects, suite } from "../harness.ts";
import { double, first, nobody, quick, Stage, until } from "./client.ts";

const test = suite("client streams");

let stage: Stage;
test.before.each(async () => {
  stage = await Stage.open({ seed: 1 });
});
test.after.each(() => stage.close());

const register = { name: "looper", actions: ["double:double"] };

test("an action loop reports what it did, and its waiters get it", { limitMs: 10_000 }, async () => {
  const client = stage.client();
  await stage.worker(client, double).then((worker) => worker.stop());
  const looping = (async () => {
    for await (const action of client.actions({ register })) {
      if (action.kind !== "start") continue;
      await action.started();
      await action.completed({ doubled: 42 });
      return action;
    }
    return undefined;
  })();

  const result = await client.runs.run(double, { number: 1 });
  const action = await looping;

  assert.equal(result, { doubled: 42 });
  assert.equal([action?.name, action?.input], ["double", { number: 1 }]);
});

test("break ends the stream at the engine, and leaves nothing open", { limitMs: 10_000 }, async () => {
  const { seen } = stage.engine;
  const client = stage.client();
  await stage.worker(client, double).then((worker) => worker.stop());
  await until(() => seen.open("ListenV2") === 0);
  void client.runs.trigger(double, { number: 1 });

  const actions: Action[] = [];
  for await (const action of client.actions({ register })) {
    actions.push(action);
    break;
  }
  await until(() => seen.open("ListenV2") === 0);
  const beats = seen.beats.length;

  assert.is(actions.length, 1);
  assert.equal(client.health().streams, []);
  assert.is(seen.beats.length, beats);
});

test(
  "a worker that the engine forgot is registered again, and gets work under its new id",
  { limitMs: 10_000 },
  async () => {
    const { faults, seen } = stage.engine;
    const client = stage.client();
    const worker = await stage.worker(client, double);
    const { workerId } = worker.health();
    faults.failCalls("ListenV2", Code.NotFound);

    faults.endStreams("ListenV2");
    await until(() => worker.health().ready && worker.health().workerId !== workerId);
    const { doubled } = await client.runs.run(double, { number: 4 });

    assert.is(doubled, 8);
    assert.is(seen.count("Register"), 2);
  },
);

test("a fixed worker id that the engine does not know is refused", async () => {
  const client = stage.client();

  const error = await rejects(first(client.actions({ workerId: nobody })), StreamError);

  assert.is(error.code, "refused");
});

test("a first beat that overtook its stream costs a second, and no stream", { limitMs: 10_000 }, async () => {
  const { faults, seen } = stage.engine;
  const client = stage.client();
  faults.refuseBeats(Code.FailedPrecondition);

  const worker = await stage.worker(client, double);
  const { doubled } = await client.runs.run(double, { number: 4 });

  assert.is(doubled, 8);
  assert.ok(worker.health().ready);
  assert.is(seen.count("ListenV2"), 1);
});

test("an engine without ListenV2 is served over Listen", { limitMs: 10_000 }, async () => {
  const { faults, seen } = stage.engine;
  const client = stage.client();
  faults.failCalls("ListenV2", Code.Unimplemented, 1000);

  await stage.worker(client, double);
  const { doubled } = await client.runs.run(double, { number: 4 });

  assert.is(doubled, 8);
  assert.is(seen.count("ListenV2"), 1);
  assert.is(seen.count("Dispatcher/Listen"), 1);
});

test("a start that was lost on its way runs at its time-out", { limitMs: 10_000 }, async () => {
  const { faults, seen } = stage.engine;
  const client = stage.client();
  const brief = task({ name: "brief", retries: 3, timeoutMs: 1000, run: (_: object, { attempt }) => ({ attempt }) });
  await stage.worker(client, brief);
  faults.lostStarts(1);

  const { attempt } = await client.runs.run(brief, {});

  assert.is(attempt, 1);
  assert.equal(seen.starts.map(({ lost }) => lost), [true, false]);
});

test("a report whose answer is lost is made again, and the run completes once", { limitMs: 10_000 }, async () => {
  const { faults, seen } = stage.engine;
  const client = stage.client();
  await stage.worker(client, double);
  faults.loseAnswers("SendStepActionEvent", 2);

  const { doubled } = await client.runs.run(double, { number: 4 });
  await until(() => seen.count("SendStepActionEvent") >= 4);

  assert.is(doubled, 8);
  assert.equal(seen.reports.map(({ type }) => type).toSorted(), ["completed", "completed", "started", "started"]);
});

test(
  "a report does not wait for a beat when the engine says GOAWAY and keeps its streams",
  { limitMs: 10_000 },
  async () => {
    const { faults, seen } = stage.engine;
    const client = stage.client();
    await stage.worker(client, double);
    const result = client.runs.run(double, { number: 4, afterMs: 100 });
    await until(() => seen.reports.length === 1 && seen.open("SubscribeToWorkflowRuns") === 1);

    faults.goAway();
    const saidAt = Date.now();
    const { doubled } = await result;
    const tookMs = Date.now() - saidAt;

    assert.is(doubled, 8);
    assert.is(seen.count("ListenV2"), 1);
    assert.ok(tookMs < 2000, `${tookMs} ms`);
  },
);

test("an engine that accepts and drops is not stormed", { limitMs: 10_000 }, async () => {
  const { faults, seen } = stage.engine;
  const client = stage.client({ random: () => 1, retry: { ...quick, firstDelayMs: 200, capMs: 400 } });
  const worker = await stage.worker(client, double);
  const before = seen.count("ListenV2");
  faults.acceptAndDrop();
  faults.endStreams();

  await until(() => seen.count("ListenV2") - before >= 3);
  const sinceMs = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const opens = seen.calls("ListenV2").filter(({ atMs }) => atMs >= sinceMs).length;
  faults.calm();
  await until(() => worker.health().ready);

  assert.ok(opens >= 1 && opens <= 4, `${opens} opens in a second`);
});

test("once the engine let us in, its refusals are doubted, and health says so", { limitMs: 10_000 }, async () => {
  const { faults, seen } = stage.engine;
  const client = stage.client();
  const worker = await stage.worker(client, double);
  faults.refuseAuth();
  faults.endStreams();

  await until(() => seen.count("ListenV2") >= 3);
  const { ready } = client.health();
  faults.calm();
  await until(() => worker.health().ready);
  const { doubled } = await client.runs.run(double, { number: 4 });

  assert.is(ready, false);
  assert.is(doubled, 8);
});

test("close settles whoever waits, and what is called after it", { limitMs: 10_000 }, async () => {
  const client = stage.client();
  await stage.worker(client, double);
  const run = await client.runs.trigger(double, { number: 4, afterMs: 3000 });
  const result = rejects(run.result(), StreamError);
  const results = rejects(first(client.runs.results([run.id])), StreamError);
  const loop = first(client.actions({ register: { name: "other", actions: ["a:b"] } }));
  await until(() => client.health().streams.length === 3);

  await client.close({ graceMs: 0 });
  const { done } = await loop;
  const errors = await Promise.all([
    result,
    results,
    rejects(client.runs.result(run.id), StreamError),
    rejects(client.runs.trigger(double, { number: 1 }), StreamError),
  ]);

  assert.ok(done);
  assert.equal(errors.map(({ code }) => code), ["closed", "closed", "closed", "closed"]);
  await until(() => stage.engine.seen.open("ListenV2") + stage.engine.seen.open("SubscribeToWorkflowRuns") === 0);
});

test.run();
