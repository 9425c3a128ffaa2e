import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { RunFailedError } from "../../src/errors.ts";
import type { DurableRun, StreamError } from "../../src/mod.ts";
import { DurableError, NonDeterminismError } from "../../src/mod.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { Fate } from "../rig.ts";
import {
  bytes,
  code,
  completed,
  evictionAck,
  failed,
  gotMet,
  memoAck,
  met,
  method,
  runsAck,
  says,
  sent,
  session,
  task,
  wait,
  waitAck,
} from "./durable.ts";

const test = suite("durable session");

test("rule R29: a new stream is asked for every step, also those that are done, until it has told them", async () => {
  const { rig, tasks, fates } = await session(1, 2, 3);
  rig.remote.wire(method).say(met(2), met(1));
  await rig.pass(0);

  rig.remote.kill();
  await rig.pass(2500);
  const wire = rig.remote.wire(method);
  assert.equal(sent(wire), ["registerWorker", "status 1.1.1.1 1.1.1.2 1.1.1.3"]);
  await rig.pass(1000);
  assert.is(sent(wire).at(-1), "status 1.1.1.1 1.1.1.2 1.1.1.3");
  wire.say(met(2), met(1));
  await rig.pass(1000);

  assert.is(sent(wire).at(-1), "status 1.1.1.3", "it has told them, and goes on behind them");
  assert.equal(fates.map(({ text }) => text), [gotMet(1), gotMet(2), "pending"]);
  assert.is(tasks.awaited, 1);
  await rig.done();
});

test("rule R29: what is new comes behind all that was told before, so that is not asked for any more", async () => {
  const { rig, tasks } = await session(1, 2, 3);
  rig.remote.wire(method).say(met(1));
  await rig.pass(0);
  rig.remote.kill();
  await rig.pass(2500);

  rig.remote.wire(method).say(met(2));
  await rig.pass(1000);

  assert.is(sent(rig.remote.wire(method)).at(-1), "status 1.1.1.3");
  assert.is(tasks.awaited, 1);
  await rig.done();
});

test("while something is waited for the engine is asked every second, and else not at all", async () => {
  const { rig } = await session(1);
  const wire = rig.remote.wire(method);

  await rig.pass(5000);
  const asked = sent(wire).filter((one) => one === "status 1.1.1.1").length;
  wire.say(met(1));
  await rig.pass(60_000);

  assert.equal([asked, sent(wire).filter((one) => one.startsWith("status")).length], [5, 5]);
  await rig.done();
});

test("rule R35: a request that no stream has taken goes out on the next, behind worker and questions", async () => {
  const { rig, tasks } = await session(1);
  rig.remote.kill();
  await rig.pass(500);

  const fate = new Fate(tasks.memo(task, "a", 1));
  await rig.pass(2500);
  rig.remote.wire(method).say(memoAck(2));
  await rig.pass(0);

  assert.equal(sent(rig.remote.wire(method)).slice(0, 3), ["registerWorker", "status 1.1.1.1", "memo a"]);
  assert.is(fate.text, "ok 1");
  await rig.done();
});

test("rule R36: requests of one task go one after another, those of others beside them", async () => {
  const { rig, tasks } = await session();
  const other = { taskId: id(2), invocation: 1 };
  const fates = ["a", "b"].map((key) => new Fate(tasks.memo(task, key, key)));
  fates.push(new Fate(tasks.memo(other, "c", "c")));
  await rig.pass(500);
  const wire = rig.remote.wire(method);
  assert.equal(sent(wire), ["registerWorker", "memo a", "memo c"]);

  wire.say(memoAck(1, undefined, other), memoAck(1));
  await rig.pass(0);
  assert.equal(sent(wire).at(-1), "memo b");
  wire.say(memoAck(2));
  await rig.pass(0);

  assert.equal(fates.map(({ text }) => text), [`ok "a"`, `ok "b"`, `ok "c"`]);
  await rig.done();
});

test("rule R36: a request that is not answered times out after a minute, and nothing more can be asked", async () => {
  const { rig, tasks } = await session();
  const fates = ["a", "b"].map((key) => new Fate(tasks.memo(task, key, key)));
  await rig.pass(59_900);
  assert.equal(fates.map(code), ["pending", "pending"]);

  await rig.pass(200);
  rig.remote.wire(method).say(memoAck(1));
  await rig.pass(0);
  const later = new Fate(tasks.waitFor(task, { sleepMs: 1 }));
  await rig.pass(0);

  assert.equal([...fates, later].map(code), ["timeout", "timeout", "timeout"]);
  assert.match(String(fates[0]?.error), "memo timed out after 60 s");
  assert.equal(sent(rig.remote.wire(method)), ["registerWorker", "memo a"]);
  const eviction = new Fate(tasks.evict(task));
  await rig.pass(0);
  rig.remote.wire(method).say(evictionAck());
  await rig.pass(0);
  assert.is(eviction.text, "ok undefined", "it can be given up");
  await rig.done();
});

test("rule R37: what is said of another invocation, branch or node is for nobody here", async () => {
  const { rig, tasks, fates } = await session(1);
  const wire = rig.remote.wire(method);

  wire.say(met(1, { ...task, invocation: 2 }), met(1, { ...task, taskId: id(2) }), met(2));
  wire.say(says("entryCompleted", {
    ref: { durableTaskExternalId: id(1), invocationCount: 1, branchId: 2n, nodeId: 1n },
    payload: bytes({}),
  }));
  wire.say(says("entryCompleted", { payload: bytes({}) }), says("error", { errorMessage: "?" }));
  await rig.pass(0);

  assert.is(fates[0]?.text, "pending");
  assert.is(tasks.buffered, 2, "steps that are not known yet");
  await rig.done();
});

test("rule R37: the first word about a newer invocation ends the older, whose requests and waits are stale", async () => {
  const { rig, tasks, fates } = await session(1);
  const newer = { ...task, invocation: 2 };
  const waiting = new Fate(tasks.memo(task, "a", 1));

  const fate = await wait(rig, tasks, 1, newer);
  const older = [new Fate(tasks.memo(task, "b", 1)), new Fate(tasks.evict(task))];
  rig.remote.wire(method).say(met(1));
  await rig.pass(2000);

  assert.equal([...fates, waiting, ...older].map(code), ["stale", "stale", "stale", "stale"]);
  assert.is(fate.text, "pending");
  assert.is(sent(rig.remote.wire(method)).at(-1), "status 1.2.1.1");
  assert.not.ok(sent(rig.remote.wire(method)).includes("evictInvocation"), "it would evict the newer");
  await rig.done();
});

test("rule R38: who waits for several steps sees them settle in the order in which the engine tells them", async () => {
  const { rig, tasks } = await session();
  const heard: string[] = [];
  const triggering = new Fate(tasks.triggerRuns(task, ["a", "b", "c"].map((name) => ({ task: name }))));
  await rig.pass(500);
  const wire = rig.remote.wire(method);
  wire.say(runsAck([1, 2, 3]));
  await rig.pass(0);
  const waits = [4, 5].map((node) => {
    void tasks.waitFor(task, { sleepMs: node }).then(() => heard.push(`wait ${node}`));
    return node;
  });
  for (const node of waits) {
    wire.say(waitAck(node));
    await rig.pass(0);
  }
  for (const run of triggering.value as DurableRun[]) void run.result().then(() => heard.push(`run ${run.node}`));

  wire.say(met(5), completed(2, {}), met(5), completed(3, {}), met(4), completed(2, {}), completed(1, {}));
  await rig.pass(0);

  assert.equal(heard, ["wait 5", "run 2", "run 3", "wait 4", "run 1"]);
  await rig.done();
});

test("rule R39: a child that failed throws what it said, one without output is undefined, a wrapped one unwrapped", async () => {
  const { rig, tasks } = await session();
  const triggering = new Fate(tasks.triggerRuns(task, ["a", "b", "c", "d"].map((name) => ({ task: { name } }))));
  await rig.pass(500);
  const wire = rig.remote.wire(method);
  wire.say(runsAck([1, 2, 3, 4]));
  await rig.pass(0);

  wire.say(
    failed(1, `{"message":"no space"}`),
    completed(2, ""),
    completed(3, `{"coppice:value":7}`),
    completed(4, "{"),
  );
  const fates = (triggering.value as DurableRun[]).map((run) => new Fate(run.result()));
  await rig.pass(0);

  const error = fates[0]?.error as RunFailedError;
  assert.instance(error, RunFailedError);
  assert.equal([error.runId, error.failures], [id(101), [{ task: "a", taskId: id(101), message: "no space" }]]);
  assert.equal(fates.slice(1, 3).map(({ text }) => text), ["ok undefined", "ok 7"]);
  assert.match(fates[3]?.text ?? "", "SyntaxError");
  await rig.done();
});

test("rule R39: the same input is the same text, in whatever order its keys come", async () => {
  const { rig, tasks } = await session();
  const inputs = [{ b: 1, a: { d: [{ z: 1, y: 2 }], c: 3 } }, { a: { c: 3, d: [{ y: 2, z: 1 }] }, b: 1 }];

  void new Fate(tasks.triggerRuns(task, inputs.map((input) => ({ task: "child", input }))));
  await rig.pass(500);

  const request = rig.remote.wire(method).sent[1] as {
    message: { value: { triggerOpts: { input: string; name: string }[] } };
  };
  const [one, other] = request.message.value.triggerOpts;
  assert.equal([one?.input, one?.name], [`{"a":{"c":3,"d":[{"y":2,"z":1}]},"b":1}`, "child"]);
  assert.is(one?.input, other?.input);
  await rig.done();
});

test("a wait that failed says what the engine says", async () => {
  const { rig, fates } = await session(1);

  rig.remote.wire(method).say(failed(1, "no such thing"));
  await rig.pass(0);

  assert.is(code(fates[0]), "failed");
  assert.match(String(fates[0]?.error), "no such thing");
  await rig.done();
});

test("a memo that exists is given without being made, one that exists without a value is made", async () => {
  const { rig, tasks } = await session();
  let made = 0;
  const make = () => ({ z: ++made, a: 0 });
  const fates = ["a", "b"].map((key) => new Fate(tasks.memo(task, key, make)));
  await rig.pass(500);
  const wire = rig.remote.wire(method);

  wire.say(memoAck(1, { z: 7, a: 8 }));
  await rig.pass(0);
  wire.say(memoAck(2, ""));
  await rig.pass(0);

  assert.equal(fates.map(({ text }) => text), [`ok {"a":8,"z":7}`, `ok {"a":0,"z":1}`]);
  assert.equal(sent(wire), ["registerWorker", "memo a", "memo b", "completeMemo"]);
  await rig.done();
});

test("a memo whose function throws remembers nothing, and throws the same", async () => {
  const { rig, tasks } = await session();
  const reason = new Error("not today");
  const fate = new Fate(tasks.memo(task, "a", () => Promise.reject(reason)));
  await rig.pass(500);

  rig.remote.wire(method).say(memoAck(1));
  await rig.pass(0);

  assert.is(fate.error, reason);
  assert.equal(sent(rig.remote.wire(method)), ["registerWorker", "memo a"]);
  await rig.done();
});

test("a memo that was made just before a cut is told again on the next stream, and not for ever", async () => {
  const { rig, tasks } = await session();
  const fate = new Fate(tasks.memo(task, "a", () => 1));
  await rig.pass(500);
  rig.remote.wire(method).say(memoAck(1));
  await rig.pass(100);

  rig.remote.kill();
  await rig.pass(2500);
  assert.equal(sent(rig.remote.wire(method)), ["registerWorker", "completeMemo"]);
  await rig.pass(31_000);
  rig.remote.kill();
  await rig.pass(2500);

  assert.equal(sent(rig.remote.wire(method)), ["registerWorker"]);
  assert.is(fate.text, "ok 1");
  await rig.done();
});

test("a memo that was made while there is no stream is told on the next", async () => {
  const { rig, tasks } = await session();
  let done: (value: number) => void = () => {};
  const fate = new Fate(tasks.memo(task, "a", () => new Promise<number>((resolve) => done = resolve)));
  await rig.pass(500);
  rig.remote.wire(method).say(memoAck(1));
  await rig.pass(0);
  rig.remote.listening = false;
  rig.remote.kill();

  done(1);
  await rig.pass(120_000);
  rig.remote.listening = true;
  await rig.pass(12_000);

  assert.is(fate.text, "ok 1");
  assert.equal(sent(rig.remote.wire(method)), ["registerWorker", "completeMemo"]);
  await rig.done();
});

test("a caller's abort takes back what was not sent, and lets what was sent be answered", async () => {
  const { rig, tasks } = await session();
  const caller = new AbortController();
  const { signal } = caller;
  const fates = [
    new Fate(tasks.waitFor(task, { sleepMs: 1 }, { signal })),
    new Fate(tasks.memo(task, "a", 1, { signal })),
    new Fate(tasks.memo(task, "b", 2)),
  ];
  await rig.pass(500);

  caller.abort("enough");
  await rig.pass(0);
  assert.equal(fates.map(({ text }) => text), ["enough", "enough", "pending"]);
  const wire = rig.remote.wire(method);
  wire.say(waitAck(1));
  await rig.pass(0);
  wire.say(memoAck(2));
  await rig.pass(1000);

  assert.is(fates[2]?.text, "ok 2");
  assert.equal(sent(wire), ["registerWorker", "waitFor", "memo b", "status 1.1.1.1"]);
  assert.equal([tasks.pending, tasks.awaited], [0, 0]);
  const late = new Fate(tasks.evict(task, "?", { signal }));
  await rig.pass(0);
  assert.is(late.text, "enough");
  await rig.done();
});

test("a caller's abort leaves a wait alone, and the step goes on", async () => {
  const { rig, tasks } = await session();
  const caller = new AbortController();
  const triggering = new Fate(tasks.triggerRuns(task, [{ task: "child" }]));
  await rig.pass(500);
  rig.remote.wire(method).say(runsAck([1]));
  await rig.pass(0);
  const [run] = triggering.value as DurableRun[];
  const leaver = new Fate(run!.result({ signal: caller.signal }));
  const other = new Fate(run!.result());

  caller.abort("enough");
  rig.remote.wire(method).say(completed(1, { done: true }));
  await rig.pass(0);

  assert.equal([leaver.text, other.text], ["enough", `ok {"done":true}`]);
  await rig.done();
});

test("an eviction ends the invocation: whoever waits hears it, and nobody goes on with it", async () => {
  const { rig, tasks, fates } = await session(1);
  const evictions = [new Fate(tasks.evict(task, "idle")), new Fate(tasks.evict(task))];
  await rig.pass(100);

  rig.remote.wire(method).say(evictionAck());
  await rig.pass(2000);
  const later = new Fate(tasks.memo(task, "a", 1));
  await rig.pass(0);

  assert.equal(evictions.map(({ text }) => text), ["ok undefined", "ok undefined"]);
  assert.equal([fates[0], later].map(code), ["evicted", "evicted"]);
  assert.equal([tasks.pending, tasks.awaited], [0, 0]);
  assert.not.ok(sent(rig.remote.wire(method)).at(-1)?.startsWith("status"));
  await rig.done();
});

test("an eviction that the engine would not have says why, and ends nothing", async () => {
  const { rig, tasks, fates } = await session(1);
  const eviction = new Fate(tasks.evict(task));
  await rig.pass(100);

  rig.remote.wire(method).say(
    says("error", { ref: { durableTaskExternalId: id(1), invocationCount: 1 }, errorMessage: "the database is away" }),
  );
  await rig.pass(0);

  assert.is(code(eviction), "refused");
  assert.match(String(eviction.error), "the database is away");
  assert.is(fates[0]?.text, "pending");
  await rig.done();
});

test("an error that is no eviction's is the request's under way", async () => {
  const { rig, tasks } = await session();
  const fate = new Fate(tasks.memo(task, "a", 1));
  await rig.pass(500);

  rig.remote.wire(method).say(
    says("error", { ref: { durableTaskExternalId: id(1), invocationCount: 1 }, errorMessage: "no" }),
  );
  await rig.pass(0);

  assert.is(code(fate), "refused");
  await rig.done();
});

test("children that the engine did not all acknowledge are refused together", async () => {
  const { rig, tasks } = await session();
  const fate = new Fate(tasks.triggerRuns(task, [{ task: "a" }, { task: "b" }]));
  await rig.pass(500);

  rig.remote.wire(method).say(runsAck([1]));
  await rig.pass(0);

  assert.is(code(fate), "refused");
  assert.match(String(fate.error), "2 runs became 1");
  await rig.done();
});

test("what makes no sense is refused before any I/O; the engine would fall silent, or fall", async () => {
  const { rig, tasks } = await session();
  const noInvocation = { taskId: id(1) } as { taskId: string; invocation: number };

  const fates = [
    new Fate(tasks.memo(task, "", 1)),
    new Fate(tasks.memo(task, "a", 1n)),
    new Fate(tasks.memo({ ...task, taskId: "seven" }, "a", 1)),
    new Fate(tasks.memo({ ...task, invocation: 0 }, "a", 1)),
    new Fate(tasks.memo(noInvocation, "a", 1)),
    new Fate(tasks.waitFor(task, [])),
    new Fate(tasks.triggerRuns(task, [{ task: "a b" }])),
    new Fate(tasks.triggerRuns(task, [{ task: "a", priority: 7 }])),
    new Fate(tasks.triggerRuns(task, [])),
    new Fate(tasks.evict({ ...task, invocation: 1.5 })),
  ];
  await rig.pass(60_000);

  const texts = fates.map(({ text }) => text.split(":")[0]);
  assert.equal(texts.slice(0, 5), ["TypeError", "TypeError", "TypeError", "RangeError", "RangeError"]);
  assert.equal(texts.slice(5), ["TypeError", "TypeError", "RangeError", "ok []", "RangeError"]);
  assert.equal(rig.remote.dialedAt, []);
  assert.throws(() => rig.client.durable.tasks({ workerId: "me" }), /workerId must be a UUID/);
  await rig.done();
});

test("an engine that is not there is given up after five tries, for each who asks, with the cause", async () => {
  const { rig, tasks } = await session();
  rig.remote.listening = false;

  const fates = [
    new Fate(tasks.memo(task, "a", 1)),
    new Fate(tasks.memo(task, "b", 1)),
    new Fate(tasks.evict({ taskId: id(2), invocation: 1 })),
  ];
  await rig.pass(120_000);

  assert.equal(fates.map(({ text }) => text), ["unreachable", "unreachable", "unreachable"]);
  const error = fates[0]?.error as StreamError;
  assert.equal([error.attempts, rig.remote.dialedAt.length >= 5], [5, true]);
  assert.match(String(error.cause), /ECONNREFUSED/);
  await rig.done();
});

test("a refused token is no loop: whoever waits hears of it, and a new step asks anew", async () => {
  const { rig, tasks } = await session();
  const first = new Fate(tasks.memo(task, "a", 1));
  await rig.pass(100);

  rig.remote.wire(method).fail(said(Code.Unauthenticated));
  await rig.pass(600_000);
  assert.is(rig.remote.wires.length, 1);
  const second = new Fate(tasks.memo({ taskId: id(2), invocation: 1 }, "a", 1));
  await rig.pass(500);
  rig.remote.wire(method).say(memoAck(1, undefined, { taskId: id(2), invocation: 1 }));
  await rig.pass(0);

  assert.is(code(first), "lost", "it was taken: nobody knows");
  assert.is(second.text, "ok 1");
  await rig.done();
});

test("a permanent answer ends the waits with it, and what comes for them later is still heard", async () => {
  const { rig, tasks } = await session();
  const triggering = new Fate(tasks.triggerRuns(task, [{ task: "child" }]));
  await rig.pass(500);
  rig.remote.wire(method).say(runsAck([1]));
  await rig.pass(0);
  const [run] = triggering.value as DurableRun[];
  const first = new Fate(run!.result());

  rig.remote.wire(method).fail(said(Code.InvalidArgument));
  await rig.pass(60_000);
  assert.is(first.text, "refused");
  assert.is(rig.remote.wires.length, 1);
  const second = new Fate(run!.result());
  await rig.pass(500);
  assert.equal(sent(rig.remote.wire(method)).slice(0, 2), ["registerWorker", "status 1.1.1.1"]);
  rig.remote.wire(method).say(completed(1, { done: true }));
  await rig.pass(0);

  assert.is(second.text, `ok {"done":true}`);
  await rig.done();
});

test("endings that nobody understands are suspect, and the tenth in a row is the last", async () => {
  const { rig, fates } = await session(1);

  for (let n = 0; n < 60 && fates[0]?.text === "pending"; n++) {
    const wire = rig.remote.wires.at(-1);
    if (wire?.over === false) wire.fail(said(Code.Unknown));
    await rig.pass(5000);
  }

  assert.is(fates[0]?.text, "stalled");
  assert.is((fates[0]?.cause as ConnectError | undefined)?.code, Code.Unknown);
  assert.is(rig.remote.wires.length, 10);
  await rig.done();
});

test("the waits between tries are drawn and grow, as for every other stream", async () => {
  const { rig } = await session(1);
  rig.remote.listening = false;
  rig.remote.kill();

  await rig.pass(60_000);

  const gaps = rig.remote.dialedAt.map((at, index) => at - (rig.remote.dialedAt[index - 1] ?? at)).slice(2);
  assert.equal(gaps.slice(0, 4), [4000, 8000, 10_000, 10_000]);
  await rig.done();
});

test("what is forgotten is neither asked for nor kept, and who waited hears it", async () => {
  const { rig, tasks, fates } = await session(1);
  rig.remote.wire(method).say(completed(5, {}));
  await rig.pass(0);
  assert.is(tasks.buffered, 1);

  tasks.forget(task);
  tasks.forget(task);
  await rig.pass(3000);

  assert.is(code(fates[0]), "stale");
  assert.equal([tasks.awaited, tasks.buffered], [0, 0]);
  assert.not.ok(sent(rig.remote.wire(method)).at(-1)?.startsWith("status"));
  await rig.done();
});

test(
  "a thousand tasks wait through a cut, are asked for together, and each gets its own",
  { limitMs: 10_000 },
  async () => {
    const { rig, tasks } = await session();
    const all = Array.from({ length: 1000 }, (_, n) => ({ taskId: id(n + 1), invocation: 1 }));
    const fates = all.map((of) => new Fate(tasks.waitFor(of, { sleepMs: 1000 })));
    await rig.pass(500);
    rig.remote.wire(method).say(...all.map((of) => waitAck(1, of)));
    await rig.pass(0);

    rig.remote.kill();
    await rig.pass(2500);
    const [, status] = sent(rig.remote.wire(method));
    rig.remote.wire(method).say(...all.map((of) => met(1, of)));
    await rig.pass(0);

    assert.is(status?.split(" ").length, 1001);
    assert.ok(fates.every(({ text }) => text === gotMet(1)));
    for (const of of all) tasks.forget(of);
    await rig.done();
  },
);

test("two copies of the package know each other's errors, and kinds are told apart", () => {
  const lost = new DurableError("lost", "gone", task);
  const other = new NonDeterminismError(task, 3, "");

  assert.equal([lost instanceof DurableError, lost instanceof NonDeterminismError], [true, false]);
  assert.equal([other instanceof DurableError, other instanceof NonDeterminismError], [true, true]);
  assert.equal([other.name, other.code, lost.name], ["NonDeterminismError", "nondeterminism", "DurableError"]);
  assert.is({ [Symbol.for("coppice.DurableError")]: true } instanceof DurableError, true);
  assert.is(null as unknown instanceof DurableError, false);
});

test("closing the client settles every session", async () => {
  const { rig, tasks, fates } = await session(1);
  const request = new Fate(tasks.memo(task, "a", 1));

  await rig.done();
  const late = new Fate(tasks.memo(task, "b", 1));
  await rig.pass(0);

  assert.equal([fates[0], request, late].map((fate) => fate?.text), ["closed", "closed", "closed"]);
  await tasks.close();
  await tasks[Symbol.asyncDispose]();
});

test.run();
