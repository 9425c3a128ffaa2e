import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import type { TriggerWorkflowRequest } from "../gen/v1/shared/trigger_pb.ts";
import { RunStatus } from "../gen/v1/workflows_pb.ts";
import { RunCancelledError, RunFailedError } from "../src/errors.ts";
import { task } from "../src/mod.ts";
import { StreamError } from "../src/streams/mod.ts";
import { assert, suite } from "./harness.ts";
import { id, said } from "./remote.ts";
import { Fate, finished, Loop, Rig } from "./rig.ts";

const test = suite("runs");
const double = task({ name: "Double", run: ({ n }: { n: number }) => ({ doubled: 2 * n }) });

/** The runs that were triggered. */
function triggered(rig: Rig): TriggerWorkflowRequest[] {
  return rig.remote.asked("triggerWorkflow").map(({ request }) => request as TriggerWorkflowRequest); // The rig's own.
}

function say(rig: Rig, ...events: ReturnType<typeof finished>[]): Promise<void> {
  rig.remote.wire("subscribeToWorkflowRuns").say(...events);
  return rig.pass(0);
}

test("run of a task triggers it and gives its output alone", async () => {
  const rig = new Rig();

  const fate = new Fate(rig.client.runs.run(double, { n: 3 }));
  await rig.pass(500);
  await say(rig, finished(1, { task: "Double", output: `{"doubled":6}` }));

  const [request] = triggered(rig);
  assert.equal([request?.name, request?.input], ["Double", `{"n":3}`]);
  assert.is(fate.text, `ok {"doubled":6}`);
  await rig.done();
});

test("run of a name gives the outputs of all tasks, by name", async () => {
  const rig = new Rig();

  const fate = new Fate(rig.client.runs.run("report", { month: "2026-10" }));
  await rig.pass(500);
  await say(rig, finished(1, { task: "load", output: `{"rows":1}` }, { task: "sum", output: `{"coppice:value":9}` }));

  assert.is(fate.text, `ok {"load":{"rows":1},"sum":9}`);
  await rig.done();
});

test("the namespace goes before the name of the workflow, and the task keeps its own", async () => {
  const rig = new Rig({ namespace: "Prod" });

  const fate = new Fate(rig.client.runs.run(double, { n: 3 }));
  await rig.pass(500);
  await say(rig, finished(1, { task: "Double", output: `{"doubled":6}` }));

  assert.is(triggered(rig)[0]?.name, "prod_Double");
  assert.is(fate.text, `ok {"doubled":6}`);
  await rig.done();
});

test("everything that a trigger can say goes out, and nothing that it does not", async () => {
  const rig = new Rig();
  const parent = { runId: id(41), taskId: id(42) };

  await rig.clock.drive(rig.client.runs.trigger("report", [1, 2], {
    metadata: { who: "me" },
    priority: 3,
    parent,
    childKey: "first",
    childIndex: 0,
    workerId: id(43),
  }));
  await rig.clock.drive(rig.client.runs.trigger("report"));

  const [full, bare] = triggered(rig);
  assert.equal([full?.input, full?.additionalMetadata, full?.priority], [
    `{"coppice:value":[1,2]}`,
    `{"who":"me"}`,
    3,
  ]);
  assert.equal([full?.parentId, full?.parentTaskRunExternalId, full?.childKey, full?.childIndex], [
    id(41),
    id(42),
    "first",
    0,
  ]);
  assert.is(full?.desiredWorkerId, id(43));
  assert.equal(bare, { $typeName: "v1.TriggerWorkflowRequest", name: "report", input: "{}", desiredWorkerLabels: {} });
  await rig.done();
});

test("rule R47: what the engine would not take is refused here, before any I/O", async () => {
  const rig = new Rig();
  const { runs } = rig.client;
  const parent = { runId: id(1), taskId: "two" };

  const fates = [
    runs.trigger("a report"),
    runs.trigger("report", {}, { priority: 4 }),
    runs.trigger("report", {}, { parent }),
    runs.trigger("report", {}, { workerId: "three" }),
    runs.trigger("report", { text: "\0" }),
    runs.trigger("report", { n: 1n }),
    runs.cancel([id(1), "four"]),
    runs.run("a report"),
  ].map((work: Promise<unknown>) => new Fate(work));
  await rig.pass(0);

  assert.equal(fates.map(({ text }) => text.split(" must ")[0]?.split(" has ")[0]?.split(" is ")[0]), [
    "TypeError: workflow name",
    "RangeError: priority",
    "TypeError: parent.taskId",
    "TypeError: workerId",
    "TypeError: input.text",
    "TypeError: input.n",
    "TypeError: run id",
    "TypeError: workflow name",
  ]);
  assert.throws(() => runs.results(["five"]), /run id must be a UUID/);
  assert.equal(rig.remote.dialedAt, []);
  await rig.done();
});

test("rule R30: a trigger whose answer was lost is not made again, unless a child's key makes it one run", async () => {
  const rig = new Rig();
  rig.remote.next("triggerWorkflow", (call) => call.cut());
  const plain = new Fate(rig.client.runs.trigger("report"));
  await rig.pass(60_000);

  rig.remote.next("triggerWorkflow", (call) => call.cut(), (call) => call.cut());
  const keyed = ["childKey", "childIndex"].map((key) =>
    new Fate(rig.client.runs.trigger("report", {}, { [key]: key === "childKey" ? "first" : 0 }))
  );
  await rig.pass(60_000);

  assert.equal([plain.text, triggered(rig).length], ["unreachable", 5]);
  assert.equal(keyed.map(({ text }) => text.startsWith("ok")), [true, true]);
  await rig.done();
});

test("a bad token is one clear error, and no second try", async () => {
  const rig = new Rig();
  rig.remote.always("triggerWorkflow", said(Code.Unauthenticated));

  const fate = new Fate(rig.client.runs.run(double, { n: 3 }));
  await rig.pass(60_000);

  assert.equal([fate.text, (fate.error as Error).message], ["refused", "The engine refused the token"]);
  assert.equal([rig.remote.calls.length, rig.remote.wires.length], [1, 0]);
  await rig.done();
});

test("rule R48: a workflow that does not exist, for which the engine says OK, is refused after a minute and a half", async () => {
  const rig = new Rig();
  rig.remote.always("getRunDetails", said(Code.NotFound));

  const fate = new Fate(rig.client.runs.run("phantom"));
  await rig.pass(85_000);
  assert.is(fate.text, "pending");
  await rig.pass(10_000);

  assert.is(fate.text, "refused");
  assert.is((fate.cause as ConnectError).code, Code.NotFound);
  await rig.done();
});

test("a reference to a run knows its id, result, details and cancel", async () => {
  const rig = new Rig();
  const run = await rig.clock.drive(rig.client.runs.trigger(double, { n: 3 }));
  rig.remote.always("getRunDetails", { status: RunStatus.RUNNING });

  const result = new Fate(run.result());
  const details = await rig.clock.drive(run.details());
  await rig.clock.drive(run.cancel());
  await say(rig, finished(1, { task: "Double", output: `{"doubled":6}` }));

  assert.is(run.id, id(1));
  assert.is(details.status, "running");
  assert.equal(Object(rig.remote.asked("cancelTasks")[0]?.request).externalIds, [id(1)]);
  assert.is(result.text, `ok {"doubled":6}`);
  await rig.done();
});

test("cancel takes one id or many, and is asked again when its answer was lost", async () => {
  const rig = new Rig();
  rig.remote.next("cancelTasks", (call) => call.cut());

  await rig.clock.drive(rig.client.runs.cancel(id(1).toUpperCase()));
  await rig.clock.drive(rig.client.runs.cancel(new Set([id(1), id(2)])));

  const asked = rig.remote.asked("cancelTasks").map(({ request }) => Object(request).externalIds);
  assert.equal(asked, [[id(1)], [id(1)], [id(1), id(2)]]);
  await rig.done();
});

test("results come in the order in which the runs settle, failures among them, each once", async () => {
  const rig = new Rig();
  rig.remote.always("getRunDetails", { status: RunStatus.CANCELLED, done: true });
  const loop = new Loop(rig.client.runs.results([id(1), id(2), id(3), id(1).toUpperCase()]));
  await rig.pass(500);

  await say(rig, finished(3, { output: `{"n":3}` }));
  await say(rig, finished(1, { error: "it broke" }));
  await say(rig, finished(2, { error: "" }));

  assert.equal(loop.heard.map(({ runId, status }) => [runId, status]), [
    [id(3), "completed"],
    [id(1), "failed"],
    [id(2), "cancelled"],
  ]);
  const [completed, failed, cancelled] = loop.heard;
  assert.equal(completed?.status === "completed" && completed.outputs, { double: { n: 3 } });
  assert.instance(failed?.status === "failed" && failed.error, RunFailedError);
  assert.instance(cancelled?.status === "cancelled" && cancelled.error, RunCancelledError);
  assert.is(loop.fate.text, "ok 3");
  await rig.done();
});

test("results of no runs end at once, and open nothing", async () => {
  const rig = new Rig();

  const loop = new Loop(rig.client.runs.results([]));
  await rig.pass(0);

  assert.is(loop.fate.text, "ok 0");
  assert.equal(rig.remote.dialedAt, []);
  await rig.done();
});

test("results that are broken off, or whose signal aborts, wait for nothing more", async () => {
  const rig = new Rig();
  const caller = new AbortController();
  const broken = new Loop(rig.client.runs.results([id(1), id(2)]), () => false);
  const aborted = new Loop(rig.client.runs.results([id(3), id(4)], { signal: caller.signal }));
  await rig.pass(500);

  await say(rig, finished(1, { output: "{}" }));
  caller.abort("enough");
  await rig.pass(0);

  assert.equal([broken.fate.text, aborted.fate.error], ["ok 1", "enough"]);
  await rig.pass(31_000);
  assert.equal([rig.remote.underWay, rig.clock.asleep], [[], 0], "nobody waits, so the stream is gone");
  await rig.done();
});

test("results throw what ended the stream for good", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.results([id(1), id(2)]));
  await rig.pass(500);

  rig.remote.wire("subscribeToWorkflowRuns").fail(said(Code.PermissionDenied));
  await rig.pass(0);

  assert.is(loop.fate.text, "refused");
  assert.instance(loop.fate.error, StreamError);
  await rig.done();
});

test("a thousand results through a kill are heard each once", { limitMs: 10_000 }, async () => {
  const rig = new Rig();
  const runs = Array.from({ length: 1000 }, (_, n) => n + 1);
  const loop = new Loop(rig.client.runs.results(runs.map(id)));
  await rig.pass(500);
  await say(rig, ...runs.slice(0, 500).map((n) => finished(n, { output: "{}" })));

  rig.remote.kill();
  await rig.pass(3000);
  await say(rig, ...runs.slice(400).map((n) => finished(n, { output: "{}" })));

  assert.equal(loop.heard.map(({ runId }) => runId), runs.map(id));
  assert.is(loop.fate.text, "ok 1000");
  await rig.done();
});

test.run();
