/*
 * What other clients of the engine were seen to do when its streams broke; none of it may happen here.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { StreamError } from "../../src/mod.ts";
import { assert, rejects, suite } from "../harness.ts";
import { double, first, nobody, quick, run, Stage, until } from "./client.ts";

const test = suite("sdk failures");

let stage: Stage;
let other: Stage;
test.before.each(async () => {
  stage = await Stage.open({ seed: 1 });
  other = await Stage.open({ seed: 2 });
});
test.after.each(async () => {
  await stage.close();
  await other.close();
});

test(
  "two waiters for one run are one subscription: both get its result, and one that leaves disturbs nobody",
  { limitMs: 10_000 },
  async () => {
    const client = stage.client();
    await stage.worker(client, double);
    const run = await client.runs.trigger(double, { number: 4, afterMs: 300 });
    const leaver = new AbortController();
    const left = rejects(run.result({ signal: leaver.signal }), /enough/);
    const [one, two] = [run.result(), client.runs.result(run.id)];
    await until(() => stage.engine.seen.subscriptions.some(({ runIds }) => runIds.length > 0));

    leaver.abort(new Error("enough"));
    const results = await Promise.all([one, two]);
    await left;

    assert.equal(results, [{ doubled: 8 }, { double: { doubled: 8 } }]);
    assert.equal(stage.engine.seen.subscriptions.map(({ runIds }) => runIds), [[run.id]]);
  },
);

test(
  "the second waiter of a run does not take the result from the first, not even behind a cut",
  { limitMs: 10_000 },
  async () => {
    const client = stage.client();
    await stage.worker(client, double);
    const run = await client.runs.trigger(double, { number: 4, afterMs: 400 });
    const early = run.result();
    await until(() => stage.engine.seen.open("SubscribeToWorkflowRuns") === 1);

    stage.proxy.cut("rst");
    const late = run.result();
    await until(() => stage.engine.seen.count("SubscribeToWorkflowRuns") === 2);
    const results = await Promise.all([early, late, run.result()]);

    assert.equal(results, [{ doubled: 8 }, { doubled: 8 }, { doubled: 8 }]);
  },
);

test(
  "an engine that is unavailable while we are let in is asked a few times, over one connection",
  { limitMs: 10_000 },
  async () => {
    const { faults, seen } = stage.engine;
    const client = stage.client({ random: () => 1 });
    await stage.worker(client, double);
    const run = await client.runs.trigger(double, { number: 4, afterMs: 10 });
    faults.failCalls("SubscribeToWorkflowRuns", Code.Unavailable, 1000);
    const states: string[] = [];
    const watching = (async () => {
      for await (const { state, stream } of client.status()) if (stream === "results") states.push(state);
    })();

    const early = await rejects(run.result(), StreamError);
    const opens = seen.count("SubscribeToWorkflowRuns");
    faults.calm();
    const { doubled } = await run.result();
    await client.close();
    await watching;

    assert.is(early.code, "unreachable");
    assert.is(opens, 5);
    assert.is(doubled, 8);
    assert.is(stage.proxy.accepted, 1);
    assert.ok(states.filter((state) => state === "waiting").length >= 4);
  },
);

test(
  "an engine that says Unavailable to all streams at once is not stormed by redials",
  { limitMs: 10_000 },
  async () => {
    const { faults, seen } = stage.engine;
    const client = stage.client({ random: () => 1, retry: { ...quick, capMs: 200 } });
    await stage.worker(client, double);
    const run = await client.runs.trigger(double, { number: 4, afterMs: 900 });
    const result = run.result();
    await until(() => seen.open("SubscribeToWorkflowRuns") === 1);
    const before = seen.count("ListenV2") + seen.count("SubscribeToWorkflowRuns");
    for (const method of ["ListenV2", "SubscribeToWorkflowRuns"]) faults.failCalls(method, Code.Unavailable, 1000);

    faults.endStreams(undefined, Code.Unavailable);
    await sleep(700);
    const opens = seen.count("ListenV2") + seen.count("SubscribeToWorkflowRuns") - before;
    faults.calm();
    const { doubled } = await result;

    // 50, 100 and then 200 ms apart, however many streams there are.
    assert.ok(opens >= 3 && opens <= 7, `${opens} opens in 700 ms`);
    assert.is(stage.proxy.accepted, 1);
    assert.is(doubled, 8);
  },
);

test("a port that refuses is not stormed by redials", { limitMs: 10_000 }, async () => {
  let dials = 0;
  const client = stage.client({
    hostPort: () => {
      dials++;
      return stage.proxy.hostPort;
    },
    random: () => 1,
    retry: { ...quick, capMs: 200 },
  });
  const worker = await stage.worker(client, double);
  const result = client.runs.run(double, { number: 4, afterMs: 900 });
  await until(() => stage.engine.seen.reports.length === 1 && stage.engine.seen.open("SubscribeToWorkflowRuns") === 1);
  const before = dials;

  await stage.proxy.refuse(true);
  stage.proxy.cut("rst");
  await sleep(700);
  const during = dials - before;
  await stage.proxy.refuse(false);
  const { doubled } = await result;
  await until(() => worker.health().ready);

  assert.ok(during >= 3 && during <= 8, `${during} dials in 700 ms`);
  assert.is(doubled, 8);
});

test(
  "a token that the engine does not know rejects whoever waits, ends every loop, and leaves no rejection unhandled",
  { limitMs: 10_000 },
  async () => {
    const { engine } = stage;
    const client = stage.client({ token: other.engine.token });
    const states: string[] = [];
    const watching = (async () => {
      for await (const { state } of client.status()) states.push(state);
    })();

    const errors = await Promise.all([
      rejects(client.runs.run(double, { number: 1 }), StreamError),
      rejects(client.runs.result(nobody), StreamError),
      rejects(client.runs.result(nobody), StreamError),
      rejects(first(client.runs.results([nobody])), StreamError),
      rejects(first(client.actions({ workerId: nobody })), StreamError),
      rejects(client.worker("w", { tasks: [double] }).run(), StreamError),
      rejects(client.register({ name: "w", actions: ["a:b"] }), StreamError),
    ]);
    await client.close();
    await watching;

    assert.equal(errors.map(({ code }) => code), Array(7).fill("refused"));
    assert.ok(errors.every(({ cause }) => cause instanceof ConnectError && cause.code === Code.Unauthenticated));
    assert.ok(errors.every(({ message }) => !message.includes(other.engine.token)));
    assert.ok(engine.seen.count() <= 8, `${engine.seen.count()} calls`);
    assert.ok(states.includes("ended"));
  },
);

test("a token that runs out ends loops and waits that were well", { limitMs: 10_000 }, async () => {
  const { engine } = other;
  const token = engine.issueToken(2000);
  const client = other.client({ token });
  const worker = client.worker("brief", { tasks: [double] });
  const running = rejects(worker.run(), StreamError);
  await worker.ready();
  const run = await client.runs.trigger(double, { number: 4, afterMs: 5000 });
  const result = rejects(run.result(), StreamError);
  await until(() => engine.seen.open("SubscribeToWorkflowRuns") === 1);

  await sleep(2000);
  engine.faults.endStreams();
  const errors = await Promise.all([running, result]);

  assert.equal(errors.map(({ code }) => code), ["refused", "refused"]);
  assert.ok(errors.every(({ cause }) => cause instanceof ConnectError && cause.code === Code.Unauthenticated));
});

test(
  "a process whose token is refused hears of it everywhere, and exits without a close",
  { limitMs: 10_000 },
  async () => {
    const { code, lingeredMs, output } = await run("refused without a close", stage.proxy.hostPort, other.engine.token);

    assert.equal([code, output], [0, "refused refused refused refused\ndone\n"]);
    assert.ok(lingeredMs < 1000, `it lingered for ${lingeredMs} ms`);
  },
);

test("an early end of the stream is not taken for the run's completion", { limitMs: 10_000 }, async () => {
  const { faults, seen } = stage.engine;
  const client = stage.client();
  await stage.worker(client, double);
  let settled = false;
  const run = await client.runs.trigger(double, { number: 4, afterMs: 400 });
  const result = run.result().finally(() => settled = true);
  await until(() => seen.open("SubscribeToWorkflowRuns") === 1);

  faults.endStreams("SubscribeToWorkflowRuns");
  await until(() => seen.count("SubscribeToWorkflowRuns") === 2);
  const early = settled;
  const { doubled } = await result;

  assert.is(early, false);
  assert.is(doubled, 8);
});

test(
  "a black hole is noticed 15 s after its last byte, or a tenth of that with a tenth of the pings",
  { limitMs: 10_000 },
  async () => {
    const client = stage.client({ keepAlive: { intervalMs: 1000, timeoutMs: 500 } });
    const worker = await stage.worker(client, double);

    stage.proxy.stall();
    const stalledAt = Date.now();
    await until(() => !worker.health().ready);
    const noticedMs = Date.now() - stalledAt;
    stage.proxy.resume();
    await until(() => worker.health().ready);

    assert.ok(noticedMs < 2100, `noticed after ${noticedMs} ms`); // With half a second for a busy machine.
  },
);

test("a process that closes its client exits, whatever still waited", { limitMs: 10_000 }, async () => {
  const { code, lingeredMs, output } = await run("abandoned", stage.proxy.hostPort, stage.engine.token);

  assert.equal([code, output], [0, "done\n"]);
  assert.ok(lingeredMs < 1000, `it lingered for ${lingeredMs} ms`);
});

test.run();
