import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { Code } from "@connectrpc/connect";
import type { Message } from "../../src/listeners/durable-request.ts";
import { Request } from "../../src/listeners/durable-request.ts";
import { Sender } from "../../src/listeners/durable-sender.ts";
import { DurableError, RunFailedError } from "../../src/mod.ts";
import { VirtualClock } from "../../src/testing/mod.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { Fate } from "../rig.ts";
import { watched } from "../watched.ts";
import {
  code,
  completed,
  evicted,
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
  waitAck,
} from "./durable.ts";

const test = suite("durable edges");

test("a transient ending with no task alive connects no more", async () => {
  const { rig, tasks } = await session(1);
  tasks.forget(task);

  rig.remote.wire(method).fail(said(Code.Unavailable));
  await rig.pass(60_000);

  assert.is(rig.remote.opened(method).length, 1);
  assert.equal(rig.client.health().streams, []);
  await rig.done();
});

test("whoever asks while the stream is ending is asked on the next", async () => {
  const { rig, tasks } = await session(1);
  const other = { taskId: id(2), invocation: 1 };
  const asked: Fate[] = [];
  const told = (report: unknown) => {
    const { state, stream } = report as { state: string; stream: string }; // What is published there.
    if (state === "ended" && stream === "durable-tasks") asked.push(new Fate(tasks.memo(other, "a", 7)));
  };
  subscribe("coppice:stream", told);
  tasks.forget(task);

  rig.remote.wire(method).hangUp();
  await rig.pass(5000);
  unsubscribe("coppice:stream", told);
  rig.remote.wire(method).say(memoAck(1, undefined, other));
  await rig.pass(0);

  assert.equal(asked.map(({ text }) => text), ["ok 7"]);
  assert.is(rig.remote.opened(method).length, 2);
  await rig.done();
});

test("a session opened again after the kind was live is in, whatever it takes", async () => {
  const { rig, tasks } = await session(1);
  await rig.clock.drive(tasks.close());
  rig.remote.listening = false;
  rig.remote.kill();

  const again = rig.client.durable.tasks({ workerId: id(8) });
  const fate = new Fate(again.memo(task, "a", 1));
  await rig.pass(600_000);

  assert.is(fate.text, "pending");
  await rig.done();
});

test("what waits leaves its caller's signal when it is done or fails", async () => {
  const { rig, tasks } = await session();
  const caller = watched();
  const steps = [
    new Fate(tasks.waitFor(task, { sleepMs: 1000 }, { label: "first", signal: caller.signal })),
    new Fate(tasks.waitFor(task, { sleepMs: 1000 }, { signal: caller.signal })),
  ];
  await rig.pass(500);
  rig.remote.wire(method).say(waitAck(1));
  await rig.pass(0);
  rig.remote.wire(method).say(waitAck(2));
  await rig.pass(0);
  const during = caller.listening();

  rig.remote.wire(method).say(met(1), failed(2, "it broke"));
  await rig.pass(0);

  assert.ok(during > 0);
  assert.is(caller.listening(), 0);
  assert.is(steps[0]?.text, gotMet(1));
  assert.match(String(steps[1]?.error), "it broke");
  await rig.done();
});

test("whose signal has aborted asks for nothing", async () => {
  const { rig, tasks } = await session();
  const signal = AbortSignal.abort("enough");

  const fates = [
    new Fate(tasks.memo(task, "a", () => 1, { signal })),
    new Fate(tasks.waitFor(task, { sleepMs: 1 }, { signal })),
  ];
  await rig.pass(1000);

  assert.equal(fates.map(({ text }) => text), ["enough", "enough"]);
  assert.equal(rig.remote.opened(method), []);
  await rig.done();
});

test("a memo's function is left when its caller aborts", async () => {
  const { rig, tasks } = await session();
  const caller = new AbortController();
  const fate = new Fate(tasks.memo(task, "a", () => new Promise(() => {}), { signal: caller.signal }));
  await rig.pass(500);
  rig.remote.wire(method).say(memoAck(1));
  await rig.pass(0);

  caller.abort("enough");
  await rig.pass(0);

  assert.is(fate.text, "enough");
  await rig.done();
});

test("answers that say more, less or of nobody are refused or left", async () => {
  const { rig, tasks } = await session();
  const children = new Fate(tasks.triggerRuns(task, [{ task: "a" }]));
  await rig.pass(500);
  rig.remote.wire(method).say(runsAck([1, 2]), evictionAck({ taskId: id(7), invocation: 1 }));
  await rig.pass(0);
  const waiting = new Fate(tasks.waitFor(task, { sleepMs: 1 }));
  await rig.pass(0);
  rig.remote.wire(method).say(says("waitForAck", {}));
  await rig.pass(60_000);

  assert.equal([children, waiting].map(code), ["refused", "timeout"]);
  assert.match(String(children.error), "1 runs became 2");
  await rig.done();
});

test("a callback that throws when the engine evicts is logged, and the others are called", async () => {
  const { rig, tasks } = await session(1);
  const reasons: (string | undefined)[] = [];
  tasks.onServerEvict(() => {
    throw new Error("a bug of the caller's");
  });
  tasks.onServerEvict(({ reason }) => reasons.push(reason));

  rig.remote.wire(method).say(evicted("too long"));
  await rig.pass(0);

  assert.equal(reasons, ["too long"]);
  assert.equal(rig.lines.map(([text]) => text).filter((text) => text.startsWith("error")), ["error A callback failed"]);
  await rig.done();
});

test("of a thousand ended invocations the oldest is forgotten first", async () => {
  const { rig, tasks } = await session();
  const all = Array.from({ length: 1001 }, (_, n) => ({ taskId: id(n + 1), invocation: 1 }));
  const fates = all.map((of) => new Fate(tasks.waitFor(of, { sleepMs: 1000 })));
  await rig.pass(500);

  rig.remote.wire(method).say(...all.map((of) => evicted("too long", of)));
  await rig.pass(0);
  const first = new Fate(tasks.memo(all[0]!, "a", 1));
  const second = new Fate(tasks.memo(all[1]!, "a", 1));
  await rig.pass(0);

  assert.ok(fates.every((fate) => code(fate) === "evicted"));
  assert.equal([code(first), code(second)], ["pending", "evicted"]);
  await rig.done();
});

test("an error of ours is none of somebody's subclass", () => {
  class Own extends DurableError {}

  const ours = new DurableError("lost", "gone", task);
  const own = new Own("lost", "gone", task);

  assert.equal([ours instanceof Own, own instanceof Own, own instanceof DurableError], [false, true, true]);
});

test("a request that the stream has not taken when it ends goes out on the next, one that it has taken is lost", async () => {
  const clock = new VirtualClock();
  const life = new AbortController();
  const late: string[] = [];
  const sender = new Sender({
    clock,
    workerId: id(9),
    status: () => [],
    onLate: ({ kind }) => late.push(kind),
  });
  const request = (kind: "memo" | "waitFor") =>
    new Request(task, { case: kind, value: {} } as Message & { case: "memo" }, {
      acked: () => {},
      failed: () => {},
    }, undefined);
  const [taken, waiting] = [request("memo"), request("waitFor")];
  const first = sender.open(life.signal);
  await first.next();
  const asked = first.next();

  sender.send(taken);
  sender.send(waiting);
  await asked;
  const lost = sender.close();
  life.abort();

  assert.equal([lost.map(({ kind }) => kind), taken.sent, waiting.sent], [["memo"], true, false]);
  const next = sender.open(new AbortController().signal);
  const sends = [await next.next(), await next.next()].map(({ value }) => value);
  assert.equal(sent({ sent: sends as object[] }), ["registerWorker", "waitFor"]);
});

test("a child that failed without a word has failed: the engine says so of one that was cancelled", async () => {
  const { rig, tasks } = await session();
  const triggering = new Fate(tasks.triggerRuns(task, [{ task: "child" }]));
  await rig.pass(500);
  rig.remote.wire(method).say(runsAck([1]));
  await rig.pass(0);
  const [run] = triggering.value ?? [];
  const result = new Fate(run?.result() ?? Promise.resolve("no run"));

  rig.remote.wire(method).say(failed(1, ""));
  await rig.pass(0);

  assert.instance(result.error, RunFailedError);
  await rig.done();
});

test("the first that is told of a step stays, also for whoever asks again", async () => {
  const { rig, tasks } = await session();
  const triggering = new Fate(tasks.triggerRuns(task, [{ task: "child" }]));
  await rig.pass(500);
  rig.remote.wire(method).say(runsAck([1]), completed(1, "1"));
  await rig.pass(0);
  const [run] = triggering.value ?? [];

  rig.remote.wire(method).say(completed(1, "2"), failed(1, "no"));
  await rig.pass(0);

  assert.equal([await run?.result(), await run?.result()], [1, 1]);
  await rig.done();
});

test.run();
