import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { RunStatus } from "../../gen/v1/workflows_pb.ts";
import { RunCancelledError, RunFailedError } from "../../src/errors.ts";
import type { StreamError } from "../../src/streams/mod.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { Fate, finished, Rig, startMs } from "../rig.ts";

const test = suite("results");
const method = "subscribeToWorkflowRuns";
const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const running = { status: RunStatus.RUNNING, done: false };

/** The run ids that a stream was sent, in order, by their numbers. */
function sent(rig: Rig, n = -1): number[] {
  const requests = rig.remote.opened(method).at(n)?.sent ?? [];
  return requests.map((request) => "workflowRunId" in request ? Number(String(request.workflowRunId).slice(-12)) : NaN);
}

/** Waits for runs, and lets the stream open. */
async function waiting(...runs: number[]): Promise<{ readonly rig: Rig; readonly fates: Fate[] }> {
  const rig = new Rig();
  rig.remote.always("getRunDetails", running);
  const fates = runs.map((n) => new Fate(rig.client.runs.result(id(n))));
  await rig.pass(500);
  return { rig, fates };
}

test("rule R22: two who wait for one run share its request, and both get the result", async () => {
  const { rig, fates } = await waiting(7, 7, 8);

  rig.remote.wire(method).say(finished(7, { output: `{"total":3}` }));
  await rig.pass(0);

  assert.equal(sent(rig), [7, 8]);
  assert.equal(fates.map(({ text }) => text), [`ok {"double":{"total":3}}`, `ok {"double":{"total":3}}`, "pending"]);
  await rig.done();
  assert.is(fates[2]?.text, "closed");
});

test("rule R23: a new stream begins with every run that is waited for, whoever came while there was none", async () => {
  const { rig } = await waiting(1, 2);

  rig.remote.kill();
  await rig.pass(1000);
  const during = new Fate(rig.client.runs.result(id(3)));
  await rig.pass(1500);
  assert.equal(sent(rig), [1, 2, 3]);
  rig.remote.wire(method).say(finished(3, { output: "{}" }), finished(1, { output: "{}" }));
  await rig.pass(0);

  assert.is(during.text, `ok {"double":{}}`);
  await rig.done();
});

test("rule R26: one who aborts while the stream waits to come back leaves alone, with its own reason", async () => {
  const { rig, fates } = await waiting(1);
  const caller = new AbortController();
  const leaver = new Fate(rig.client.runs.result(id(2), { signal: caller.signal }));
  const sharer = new Fate(rig.client.runs.result(id(1), { signal: caller.signal }));
  await rig.pass(100);
  rig.remote.kill();
  await rig.pass(1000);

  const reason = new Error("enough");
  caller.abort(reason);
  await rig.pass(0);
  assert.equal([leaver.error, sharer.error, fates[0]?.text], [reason, reason, "pending"]);
  await rig.pass(1500);

  assert.equal(sent(rig), [1]);
  await rig.done();
});

test("ten thousand wait through a kill, and each gets its own result", { limitMs: 20_000 }, async () => {
  const runs = Array.from({ length: 10_000 }, (_, n) => n + 1);
  const { rig, fates } = await waiting(...runs);

  rig.remote.kill();
  await rig.pass(3000);
  assert.equal(sent(rig), runs);
  rig.remote.wire(method).say(...runs.map((n) => finished(n, { output: `{"n":${n}}` })));
  await rig.pass(0);

  assert.equal(fates.filter(({ text }, n) => text !== `ok {"double":{"n":${n + 1}}}`), []);
  await rig.done();
});

test("W1: an engine that is not there is given up after five tries, with the cause, and nobody stays registered", async () => {
  const rig = new Rig();
  rig.remote.listening = false;

  const fate = new Fate(rig.client.runs.result(id(7)));
  await rig.pass(60_000);

  const error = fate.error as StreamError;
  assert.equal([error.code, error.attempts], ["unreachable", 5]);
  assert.match((error.cause as Error).message, /ECONNREFUSED/);
  assert.match(error.message, id(7));
  assert.is(rig.remote.dialedAt.length, 5);
  assert.is(rig.clock.asleep, 0, "nobody waits, so nothing comes back");
  await rig.done();
});

test("W1: the tries are counted for each who waits", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  const first = new Fate(rig.client.runs.result(id(7)));
  await rig.pass(13_000);
  const second = new Fate(rig.client.runs.result(id(8)));

  await rig.pass(15_000);
  assert.equal([first.text, second.text], ["unreachable", "pending"]);
  await rig.pass(60_000);

  assert.is(second.text, "unreachable");
  assert.is((second.error as StreamError).attempts, 5);
  await rig.done();
});

test("W2: a refused token reaches each who waits, with its run id and the cause, at once and once", async () => {
  const rig = new Rig();
  const fates = [7, 8].map((n) => new Fate(rig.client.runs.result(id(n))));
  await rig.pass(100);

  rig.remote.wire(method).fail(said(Code.Unauthenticated));
  await rig.pass(0);

  for (const [n, { error, cause }] of fates.entries()) {
    assert.is((error as StreamError).code, "refused");
    assert.match((error as Error).message, id(n + 7));
    assert.is((cause as ConnectError).code, Code.Unauthenticated);
  }
  assert.is(rig.remote.wires.length, 1);
  await rig.pass(60_000);
  assert.is(rig.remote.wires.length, 1);
  await rig.done();
});

test("rule R25: a new wait opens the stream again after it was refused", async () => {
  const rig = new Rig();
  const first = new Fate(rig.client.runs.result(id(7)));
  await rig.pass(100);
  rig.remote.wire(method).fail(said(Code.Unauthenticated));
  await rig.pass(100);

  const second = new Fate(rig.client.runs.result(id(8)));
  await rig.pass(10_000);
  rig.remote.wire(method).say(finished(8, { output: "{}" }));
  await rig.pass(0);

  assert.equal([first.text, second.text], ["refused", `ok {"double":{}}`]);
  await rig.done();
});

test("rule R25: a malformed run id is refused here, before any I/O", async () => {
  const rig = new Rig();

  const fate = new Fate(rig.client.runs.result("run-7"));
  await rig.pass(60_000);

  assert.match(fate.text, "TypeError: run id must be a UUID");
  assert.equal([rig.remote.dialedAt, rig.clock.asleep], [[], 0]);
  await rig.done();
});

test("a run id in capitals is the run that the engine tells in small letters", async () => {
  const rig = new Rig();
  const capitals = "ABCDEF00-0000-4000-8000-00000000000F";
  const fate = new Fate(rig.client.runs.result(capitals));
  await rig.pass(100);

  rig.remote.wire(method).say({ ...finished(1, { output: "{}" }), workflowRunId: capitals.toLowerCase() });
  await rig.pass(0);

  assert.is(fate.text, `ok {"double":{}}`);
  await rig.done();
});

test("L20: an aborted caller opens nothing", async () => {
  const rig = new Rig();

  const fate = new Fate(rig.client.runs.result(id(7), { signal: AbortSignal.abort("never mind") }));
  await rig.pass(60_000);

  assert.is(fate.error, "never mind");
  assert.equal(rig.remote.dialedAt, []);
  await rig.done();
});

test("L21: a caller's abort during the first connect is heard at once, and the connect goes on for the others", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  const caller = new AbortController();
  const leaver = new Fate(rig.client.runs.result(id(7), { signal: caller.signal }));
  const other = new Fate(rig.client.runs.result(id(8)));
  await rig.pass(1000);

  caller.abort("enough");
  await rig.pass(0);
  assert.is(leaver.error, "enough");
  rig.remote.listening = true;
  await rig.pass(2000);

  assert.equal([sent(rig), other.text], [[8], "pending"]);
  await rig.done();
});

test("L22: a caller's deadline ends the wait with the deadline's own reason, after one connect", async () => {
  const rig = new Rig();
  const deadline = new AbortController();
  const fate = new Fate(rig.client.runs.result(id(7), { signal: deadline.signal }));

  void rig.clock.sleep(10).then(() => deadline.abort(new DOMException("too late", "TimeoutError")));
  await rig.pass(20);

  assert.is((fate.error as Error).name, "TimeoutError");
  assert.is(rig.remote.wires.length, 1);
  await rig.done();
});

test("S9: the stream lives on the client's life, not on that of the caller who opened it", async () => {
  const rig = new Rig();
  const caller = new AbortController();
  void new Fate(rig.client.runs.result(id(7), { signal: caller.signal }));
  const other = new Fate(rig.client.runs.result(id(8)));
  await rig.pass(100);

  caller.abort();
  await rig.pass(100);
  rig.remote.kill();
  await rig.pass(3000);
  rig.remote.wire(method).say(finished(8, { output: "{}" }));
  await rig.pass(0);

  assert.is(other.text, `ok {"double":{}}`);
  assert.is(rig.remote.wires.length, 2);
  await rig.done();
});

test("the stream lingers half a minute after the last one left, and is closed then", async () => {
  const { rig } = await waiting(7);
  rig.remote.wire(method).say(finished(7, { output: "{}" }));

  await rig.pass(29_000);
  assert.equal(rig.remote.underWay, [method]);
  await rig.pass(2000);

  assert.equal([rig.remote.underWay, rig.clock.asleep], [[], 0]);
  assert.equal(rig.client.health(), { ready: true, streams: [] });
  await rig.done();
});

test("whoever waits within that time is on the same stream", async () => {
  const { rig } = await waiting(7);
  rig.remote.wire(method).say(finished(7, { output: "{}" }));
  await rig.pass(20_000);

  const fate = new Fate(rig.client.runs.result(id(8)));
  await rig.pass(60_000);

  assert.is(rig.remote.wires.length, 1);
  assert.equal(sent(rig).slice(0, 2), [7, 8]);
  assert.is(fate.text, "pending");
  await rig.done();
});

test("every run that is waited for is asserted again within half a minute, give or take a fifth", async () => {
  const { rig } = await waiting(1, 2, 3);

  await rig.pass(36_000);

  assert.equal(sent(rig).slice(0, 3), [1, 2, 3]);
  assert.equal(sent(rig).slice(3).toSorted((a, b) => a - b), [1, 2, 3]);
  await rig.done();
});

test("a run that was over before anybody asked is told like any other", async () => {
  const { rig, fates } = await waiting(7);

  await rig.pass(1000);
  rig.remote.wire(method).say(finished(7, { output: `{"old":true}` }));
  await rig.pass(0);

  assert.is(fates[0]?.text, `ok {"double":{"old":true}}`);
  await rig.done();
});

test("rule R17: no results at all means that only the details can tell", async () => {
  const { rig, fates } = await waiting(7);
  rig.remote.next("getRunDetails", {
    status: RunStatus.COMPLETED,
    done: true,
    taskRuns: { double: { status: RunStatus.COMPLETED, externalId: id(1), output: bytes({ large: true }), error: "" } },
  });

  rig.remote.wire(method).say(finished(7));
  await rig.pass(0);

  assert.is(fates[0]?.text, `ok {"double":{"large":true}}`);
  assert.is(rig.remote.asked("getRunDetails").length, 1);
  await rig.done();
});

test("rule R17: details that cannot be had at the moment are asked for again when the run is asserted anew", async () => {
  const { rig, fates } = await waiting(7);
  const done = { status: RunStatus.COMPLETED, done: true, taskRuns: {} };
  rig.remote.next("getRunDetails", said(Code.Unavailable), done);

  rig.remote.wire(method).say(finished(7));
  await rig.pass(5000);
  assert.is(fates[0]?.text, "pending");
  rig.remote.wire(method).say(finished(7));
  await rig.pass(0);

  assert.is(fates[0]?.text, "ok {}");
  await rig.done();
});

test("an output in the details that is no JSON fails its own waiters, and no others", async () => {
  const { rig, fates } = await waiting(7, 8);
  const broken = new TextEncoder().encode("{broken");
  rig.remote.next("getRunDetails", {
    status: RunStatus.COMPLETED,
    done: true,
    taskRuns: { double: { status: RunStatus.COMPLETED, externalId: id(1), output: broken } },
  });

  rig.remote.wire(method).say(finished(7));
  await rig.pass(0);

  assert.match(fates[0]?.text ?? "", "SyntaxError");
  assert.is(fates[1]?.text, "pending");
  await rig.done();
});

test("an output on the stream that is no JSON fails its own waiters, and no others", async () => {
  const { rig, fates } = await waiting(7, 8);

  rig.remote.wire(method).say(finished(7, { output: "{broken" }), finished(8, { output: "{}" }));
  await rig.pass(0);

  assert.match(fates[0]?.text ?? "", "SyntaxError");
  assert.is(fates[1]?.text, `ok {"double":{}}`);
  await rig.done();
});

test("rule R16: presence decides and not truth: an empty error is none of success, and the details say what it is", async () => {
  const { rig, fates } = await waiting(7);
  rig.remote.next("getRunDetails", {
    status: RunStatus.CANCELLED,
    done: true,
    taskRuns: { double: { status: RunStatus.CANCELLED, externalId: id(1), error: "" } },
  });

  rig.remote.wire(method).say(finished(7, { error: "" }));
  await rig.pass(0);

  const error = fates[0]?.error as RunCancelledError;
  assert.instance(error, RunCancelledError);
  assert.instance(error, Error);
  assert.is(error.runId, id(7));
  assert.equal(error.failures, [{ task: "double", taskId: id(1), message: "" }]);
  await rig.done();
});

test("rule R16: an empty output is a success", async () => {
  const { rig, fates } = await waiting(7);

  rig.remote.wire(method).say(finished(7, { output: "" }));
  await rig.pass(0);

  assert.is(fates[0]?.text, `ok {"double":{}}`);
  await rig.done();
});

test("rule R16: an output beside an error is no success", async () => {
  const { rig, fates } = await waiting(7);

  rig.remote.wire(method).say(finished(7, { output: "{}", error: "it broke" }));
  await rig.pass(0);

  assert.instance(fates[0]?.error, RunFailedError);
  await rig.done();
});

test("one failed task fails the run, with every failure and its text", async () => {
  const { rig, fates } = await waiting(7);

  rig.remote.wire(method).say(
    finished(7, { task: "a", output: "{}" }, { task: "b", error: `{"message":"no space","stack":"…"}` }, {
      task: "c",
      error: "",
    }),
  );
  await rig.pass(0);

  const error = fates[0]?.error as RunFailedError;
  assert.instance(error, RunFailedError);
  assert.equal(error.failures.map(({ task, message }) => [task, message]), [["b", "no space"], ["c", ""]]);
  assert.match(error.message, "no space");
  await rig.done();
});

test("rule R27: a run that the stream never tells is asked for after a minute, and settled by its details", async () => {
  const { rig, fates } = await waiting(7);
  rig.remote.next("getRunDetails", { status: RunStatus.COMPLETED, done: true, taskRuns: {} });

  await rig.pass(59_000);
  assert.equal(rig.remote.asked("getRunDetails"), []);
  await rig.pass(2000);

  assert.is(fates[0]?.text, "ok {}");
  await rig.done();
});

test("rule R27: no more than five are asked for a second, the least recently asked first", async () => {
  const runs = Array.from({ length: 12 }, (_, n) => n + 1);
  const { rig } = await waiting(...runs);

  await rig.pass(62_600);
  const asked = rig.remote.asked("getRunDetails");

  const bySecond = Map.groupBy(asked, ({ at }) => at);
  assert.equal([...bySecond.values()].map(({ length }) => length), [5, 5, 2]);
  assert.equal(asked.map(({ request }) => "externalId" in request && request.externalId), runs.map(id));
  await rig.done();
});

test("rule R27: nothing is asked while the engine is away", async () => {
  const { rig, fates } = await waiting(...Array.from({ length: 20 }, (_, n) => n + 1));
  rig.remote.listening = false;
  rig.remote.kill();

  await rig.pass(600_000);
  assert.equal(rig.remote.asked("getRunDetails"), []);
  rig.remote.listening = true;
  await rig.pass(15_000);

  const bySecond = Map.groupBy(rig.remote.asked("getRunDetails"), ({ at }) => at);
  assert.equal([...bySecond.values()].map(({ length }) => length), [5, 5, 5, 5], "no flood when it is back");
  assert.is(fates[0]?.text, "pending");
  await rig.done();
});

test("a run that the engine does not know, asked twice half a minute apart, is refused with its NotFound", async () => {
  const { rig, fates } = await waiting(7, 8);
  rig.remote.always(
    "getRunDetails",
    ({ request }) => "externalId" in request && request.externalId === id(7) ? said(Code.NotFound) : running,
  );

  await rig.pass(85_000);
  assert.is(fates[0]?.text, "pending");
  await rig.pass(10_000);

  const error = fates[0]?.error as StreamError;
  assert.is(error.code, "refused");
  assert.match(error.message, id(7));
  assert.is((error.cause as ConnectError).code, Code.NotFound);
  assert.is(fates[1]?.text, "pending");
  await rig.done();
});

test("a run that was unknown once and known then is waited for", async () => {
  const { rig, fates } = await waiting(7);
  rig.remote.next("getRunDetails", said(Code.NotFound), running, said(Code.NotFound), running);

  await rig.pass(180_000);

  assert.is(fates[0]?.text, "pending");
  assert.ok(rig.remote.asked("getRunDetails").length >= 4);
  await rig.done();
});

test("a token that is refused after an hour of health is doubted for ten minutes, and believed then", async () => {
  const { rig, fates } = await waiting(7);
  await rig.pass(3_600_000);
  const token = rig.remote.wires.length;

  const refuse = setRefusing(rig);
  rig.remote.wire(method).fail(said(Code.Unauthenticated));
  const sinceMs = rig.atMs;
  await rig.pass(0);
  const status = rig.client.health().streams[0];
  while (fates[0]?.text === "pending") await refuse();

  assert.is(status?.state, "waiting");
  assert.is((status?.error as ConnectError | undefined)?.code, Code.Unauthenticated);
  assert.is(fates[0]?.text, "refused");
  assert.is((fates[0]?.cause as ConnectError | undefined)?.code, Code.Unauthenticated);
  assert.ok(rig.atMs - sinceMs >= 600_000 && rig.atMs - sinceMs < 670_000, `after ${rig.atMs - sinceMs} ms`);
  assert.ok(rig.remote.wires.length - token < 20, `${rig.remote.wires.length - token} tries`);
  await rig.done();
});

test("an outage between refusals starts the ten minutes anew, and a token that is taken ends them", async () => {
  const { rig, fates } = await waiting(7);
  await rig.pass(11_000);
  const refuse = setRefusing(rig);
  rig.remote.wire(method).fail(said(Code.Unauthenticated));
  for (const until = rig.atMs + 500_000; rig.atMs < until;) await refuse();

  rig.remote.listening = false;
  rig.remote.kill();
  await rig.pass(61_000);
  rig.remote.listening = true;
  for (const until = rig.atMs + 500_000; rig.atMs < until;) await refuse();
  assert.is(fates[0]?.text, "pending");
  await rig.pass(70_000);
  rig.remote.wire(method).say(finished(7, { output: "{}" }));
  await rig.pass(0);

  assert.is(fates[0]?.text, `ok {"double":{}}`);
  await rig.done();
});

test("two streams on two clients of one process know nothing of each other", async () => {
  const [a, b] = [await waiting(7), await waiting(7)];

  a.rig.remote.wire(method).say(finished(7, { output: "{}" }));
  await a.rig.pass(0);

  assert.equal([a.fates[0]?.text, b.fates[0]?.text], [`ok {"double":{}}`, "pending"]);
  await a.rig.done();
  await b.rig.done();
});

/** Lets a second pass, and refuses whatever stream was opened meanwhile. */
function setRefusing(rig: Rig): () => Promise<void> {
  return async () => {
    await rig.pass(1000);
    const wire = rig.remote.wires.at(-1);
    if (wire !== undefined && !wire.over) wire.fail(said(Code.Unauthenticated));
    await rig.pass(0);
  };
}

test("when the streams were opened is told by the clock that the client was given", async () => {
  const { rig } = await waiting(7);

  assert.equal(rig.remote.wires.map(({ at }) => at), [startMs]);
  assert.is(rig.root.clock, rig.clock);
  await rig.done();
});

test.run();
