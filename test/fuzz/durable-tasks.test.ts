import { Code } from "@connectrpc/connect";
import * as fc from "fast-check";
import { RunFailedError } from "../../src/errors.ts";
import { DurableError } from "../../src/listeners/durable-errors.ts";
import type { DurableSession, Invocation } from "../../src/mod.ts";
import { StreamError } from "../../src/streams/errors.ts";
import { assert, suite } from "../harness.ts";
import { completed, gotMet, memoAck, met, method, runsAck, sent, waitAck } from "../listeners/durable.ts";
import { id, said } from "../remote.ts";
import { Fate, Rig } from "../rig.ts";
import { assertQuiet, holds } from "./cases.ts";
import type { About } from "./durable.ts";
import { odd, payload } from "./durable.ts";
import { code } from "./wrong.ts";

const test = suite("fuzz durable tasks");

/** Everything that a task may ask for; each of it waits behind the one before. */
const steps: Readonly<Record<string, (tasks: DurableSession, of: Invocation) => Promise<unknown>>> = {
  memo: (tasks, of) => tasks.memo(of, "key", { made: 1 }),
  made: (tasks, of) => tasks.memo(of, "other", () => [1]),
  wait: (tasks, of) => tasks.waitFor(of, { sleepMs: 1000 }),
  event: (tasks, of) => tasks.waitFor(of, [{ event: "paid" }, { sleepMs: 5000 }], { label: "either" }),
  child: async (tasks, of) => {
    const [run] = await tasks.triggerRuns(of, [{ task: "double", input: { n: 1 } }]);
    return await run?.result();
  },
  children: async (tasks, of) => {
    const runs = await tasks.triggerRuns(of, [{ task: "double" }, { task: "double" }]);
    return await Promise.all(runs.map((run) => run.result()));
  },
  evict: (tasks, of) => tasks.evict(of, "to free its slot"),
};
const asked = fc.array(fc.constantFrom(...Object.keys(steps)), { minLength: 1, maxLength: 4 });

/** What came to nothing says why, in a word or two, and nothing that it must not. */
function assertClear({ error, text }: Fate): void {
  if (text.startsWith("ok ")) return;
  const isOurs = error instanceof DurableError || error instanceof StreamError || error instanceof RunFailedError;
  assert.ok(isOurs || error instanceof SyntaxError, `rejected with ${text.slice(0, 200)}`);
  assert.ok((error as Error).message.length < 1500, `${(error as Error).message.length} characters`);
  assertQuiet(error);
  assert.not.ok("polluted" in {}, "every object was changed");
}

/** The session is of use: one more task remembers, waits and has a child, all in one go. */
async function works(rig: Rig, tasks: DurableSession, of: Invocation): Promise<void> {
  const [memo, wait] = [new Fate(tasks.memo(of, "k", 1)), new Fate(tasks.waitFor(of, { sleepMs: 1000 }))];
  const child = new Fate(tasks.triggerRuns(of, [{ task: "double" }]).then(([run]) => run?.result()));
  await rig.pass(30_000);
  rig.remote.wire(method).say(memoAck(1, undefined, of));
  await rig.pass(0);
  rig.remote.wire(method).say(waitAck(2, of));
  await rig.pass(0);
  rig.remote.wire(method).say(runsAck([3], of), met(2, of), completed(3, { doubled: 2 }, of));
  await rig.pass(0);
  assert.equal([memo.text, wait.text, child.text], ["ok 1", gotMet(2), 'ok {"doubled":2}']);
  tasks.forget(of);
}

test("whatever an engine says in a session, who asks is told something clear, and the session goes on", {
  limitMs: 30_000,
}, async () => {
  const rig = new Rig();
  const tasks = rig.client.durable.tasks({ workerId: id(9) });
  let n = 0;
  let told = 0;
  tasks.onServerEvict(() => told++);

  await holds(700, fc.tuple(asked, fc.array(odd, { minLength: 1, maxLength: 8 })), async ([wanted, messages]) => {
    told = 0;
    const of: About = { taskId: id(1000 + ++n), invocation: 1 };
    const fates = wanted.map((step) => new Fate(steps[step]!(tasks, of)));
    await rig.pass(n === 1 ? 300 : 0);
    for (const message of messages) {
      rig.remote.wire(method).say(message(of));
      await rig.pass(0);
    }

    tasks.forget(of);
    await rig.pass(0);

    for (const fate of fates) {
      assert.is.not(fate.text, "pending");
      assertClear(fate);
    }
    assert.ok(told <= 1, `told ${told} times of one eviction`);
    assert.equal([tasks.pending, tasks.awaited, tasks.buffered], [0, 0, 0]);
  });

  await works(rig, tasks, { taskId: id(1), invocation: 1 });
  assert.is(rig.remote.opened(method).length, 1);
  await rig.done();
});

test("an engine that answers with nothing but nonsense is given a minute", { limitMs: 30_000 }, async () => {
  const rig = new Rig();
  const tasks = rig.client.durable.tasks({ workerId: id(9) });
  let n = 0;

  await holds(60, fc.tuple(fc.constantFrom("memo", "wait", "child"), fc.array(odd, { maxLength: 5 })), async (odd) => {
    const [step, messages] = odd;
    const of: About = { taskId: id(1000 + ++n), invocation: 1 };
    const fates = [steps[step]!(tasks, of), steps["memo"]!(tasks, of)].map((one) => new Fate(one));
    await rig.pass(300);
    // About somebody else, so that none of it can be an answer.
    for (const message of messages) rig.remote.wire(method).say(message({ taskId: id(7), invocation: 1 }));
    await rig.pass(61_000);

    for (const { error, text } of fates) assert.ok(error instanceof DurableError && error.code === "timeout", text);
    tasks.forget(of);
  });

  await works(rig, tasks, { taskId: id(1), invocation: 1 });
  assert.is(rig.remote.opened(method).length, 1);
  await rig.done();
});

test("whatever nonsense a session ends on, who asked is told, and the next stream works", {
  limitMs: 40_000,
}, async () => {
  const endings = fc.oneof(
    fc.constantFrom("hang up", "kill", "nothing"),
    code.filter((one) => one !== Code.Unauthenticated && one !== Code.PermissionDenied), // Those are doubted for minutes.
  );
  const round = fc.tuple(asked, fc.array(odd, { maxLength: 5 }), endings);

  await holds(80, fc.array(round, { minLength: 1, maxLength: 4 }), async (rounds) => {
    const rig = new Rig();
    const tasks = rig.client.durable.tasks({ workerId: id(9) });
    const fates: Fate[] = [];
    for (const [at, [wanted, messages, ending]] of rounds.entries()) {
      const of: About = { taskId: id(1000 + at), invocation: 1 };
      fates.push(...wanted.map((step) => new Fate(steps[step]!(tasks, of))));
      await rig.pass(20_000);
      const wire = rig.remote.wire(method);
      wire.say(...messages.map((message) => message(of)));
      await rig.pass(0);
      if (ending === "hang up") wire.hangUp();
      else if (ending === "kill") rig.remote.kill();
      else if (typeof ending === "number") wire.fail(said(ending));
      await rig.pass(0);
    }

    await rig.pass(120_000);
    for (let at = 0; at < rounds.length; at++) tasks.forget({ taskId: id(1000 + at), invocation: 1 });
    await rig.pass(0);

    for (const fate of fates) {
      assert.is.not(fate.text, "pending");
      assertClear(fate);
    }
    await works(rig, tasks, { taskId: id(1), invocation: 1 });
    assert.equal([tasks.pending, tasks.awaited, tasks.buffered], [0, 0, 0]);
    await rig.done();
  });
});

test("a step is told as JSON, or says that it is none", { limitMs: 20_000 }, async () => {
  const rig = new Rig();
  const tasks = rig.client.durable.tasks({ workerId: id(9) });
  let n = 0;

  await holds(500, payload, async (bytes) => {
    const of: About = { taskId: id(1000 + ++n), invocation: 1 };
    const wait = new Fate(tasks.waitFor(of, { sleepMs: 1000 }));
    const child = new Fate(tasks.triggerRuns(of, [{ task: "double" }]).then(([run]) => run?.result()));
    await rig.pass(n === 1 ? 300 : 0);
    rig.remote.wire(method).say(waitAck(1, of));
    await rig.pass(0);
    rig.remote.wire(method).say(runsAck([2], of));
    const done = (node: number) => {
      const ref = { durableTaskExternalId: of.taskId, invocationCount: 1, branchId: 1n, nodeId: BigInt(node) };
      return { message: { case: "entryCompleted", value: { ref, payload: bytes } } };
    };
    rig.remote.wire(method).say(done(1), done(2));
    await rig.pass(0);

    for (const { error, text } of [wait, child]) {
      assert.ok(text.startsWith("ok ") || error instanceof SyntaxError, text.slice(0, 200));
    }
    if (wait.error === undefined) {
      const matches = wait.value as Record<string, unknown>;
      assert.is(Object.getPrototypeOf(matches), Object.prototype, "a match became the prototype of all");
      for (const found of Object.values(matches)) assert.ok(Array.isArray(found));
    }
    tasks.forget(of);
  });

  await rig.done();
});

test("completions that nobody asked for are kept up to a measure, and none of them once the task is over", {
  limitMs: 20_000,
}, async () => {
  const rig = new Rig();
  const tasks = rig.client.durable.tasks({ workerId: id(9) });
  const of: Invocation = { taskId: id(1), invocation: 1 };
  const wait = new Fate(tasks.waitFor(of, { sleepMs: 1000 }));
  await rig.pass(300);

  for (let from = 0; from < 30_000; from += 5000) {
    const flood = Array.from({ length: 5000 }, (_, index) => completed(10 + from + index, { CREATE: {} }, of));
    rig.remote.wire(method).say(...flood);
    await rig.pass(0);
  }

  assert.is(tasks.buffered, 10_000);
  rig.remote.wire(method).say(waitAck(9, of), met(9, of));
  await rig.pass(0);
  assert.is(wait.text, gotMet(9));
  tasks.forget(of);
  assert.is(tasks.buffered, 0);
  await rig.done();
});

test("large completions that nobody asked for are kept up to 16 MiB, and asked for again", async () => {
  const rig = new Rig();
  const tasks = rig.client.durable.tasks({ workerId: id(9) });
  const of: Invocation = { taskId: id(1), invocation: 1 };
  const wait = new Fate(tasks.waitFor(of, { sleepMs: 1000 }));
  await rig.pass(300);
  const large = JSON.stringify({ CREATE: { x: "x".repeat(2 ** 20) } });

  for (let node = 10; node < 30; node++) rig.remote.wire(method).say(completed(node, large, of));
  await rig.pass(0);
  assert.is(tasks.buffered, 15);
  rig.remote.wire(method).say(waitAck(29, of));
  await rig.pass(1100);

  assert.equal([wait.text, sent(rig.remote.wire(method)).at(-1)], ["pending", "status 1.1.1.29"]);
  rig.remote.wire(method).say(met(29, of));
  await rig.pass(0);
  assert.is(wait.text, gotMet(29));
  await rig.done();
});

test.run();
