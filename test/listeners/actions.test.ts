import { Code, ConnectError } from "@connectrpc/connect";
import type { Action } from "../../src/listeners/action.ts";
import type { StreamError } from "../../src/streams/mod.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { cancel, Fate, Loop, Rig, start } from "../rig.ts";

const test = suite("actions");
const register = { name: "worker", actions: ["double:double"] };

/** When a method was asked, since the test began. */
function times(rig: Rig, method: string): number[] {
  return [...rig.remote.asked(method), ...rig.remote.opened(method)].map(({ at }) => at - 1_000_000);
}

test("A1: six Unavailable in a row, and the action after them is delivered", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  for (let n = 0; n < 6; n++) {
    rig.remote.wire("listenV2").fail(said(Code.Unavailable));
    await rig.pass(10_500);
  }
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);

  assert.equal(loop.heard.map(({ runId }) => runId), [id(3)]);
  assert.is(loop.fate.text, "pending");
  assert.is(rig.remote.opened("listenV2").length, 7);
  await rig.done();
  assert.is(loop.fate.text, "ok 1");
});

test("A2: ten endings in a row that explain nothing give up as stalled", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  for (let n = 0; n < 9; n++) {
    rig.remote.wire("listenV2").fail(said(Code.Unknown));
    await rig.pass(10_500);
  }
  assert.is(loop.fate.text, "pending");
  rig.remote.wire("listenV2").fail(said(Code.Unknown));
  await rig.pass(0);

  assert.is(loop.fate.text, "stalled");
  assert.is((loop.fate.cause as ConnectError).code, Code.Unknown);
  await rig.done();
});

test("A3: an engine without ListenV2 that answers another call is listened to in the old way", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(0);

  rig.remote.wire("listenV2").fail(said(Code.Unimplemented));
  await rig.pass(2500);
  rig.remote.wire("listen").say(start(3));
  await rig.pass(0);

  assert.equal(loop.heard.map(({ runId }) => runId), [id(3)]);
  assert.equal([rig.remote.opened("listenV2").length, rig.remote.opened("listen").length], [1, 1]);
  await rig.done();
});

test("A3: an engine so old that it lacks heartbeats and GetVersion is listened to, and beaten for", async () => {
  const rig = new Rig();
  rig.remote.always("heartbeat", said(Code.Unimplemented));
  rig.remote.always("getVersion", said(Code.Unimplemented));
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(0);

  rig.remote.wire("listenV2").fail(said(Code.Unimplemented));
  await rig.pass(30_000);
  rig.remote.wire("listen").say(start(3));
  await rig.pass(0);

  assert.equal(loop.heard.map(({ runId }) => runId), [id(3)]);
  assert.is(rig.client.health().ready, true);
  assert.is(rig.remote.asked("heartbeat").length, 2, "one beat a stream says that none are needed");
  await rig.done();
});

test("A3: Unimplemented from a proxy never goes back to the old way, and never ends the stream", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);
  for (const method of ["heartbeat", "getVersion", "putOverridesData"]) {
    rig.remote.always(method, said(Code.Unimplemented));
  }

  for (let n = 0; n < 12; n++) {
    rig.remote.wire("listenV2").fail(said(Code.Unimplemented));
    await rig.pass(10_500);
  }
  for (const method of ["heartbeat", "getVersion", "putOverridesData"]) rig.remote.always(method);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);

  assert.equal(loop.heard.map(({ runId }) => runId), [id(3)]);
  assert.is(loop.fate.text, "pending");
  assert.equal(rig.remote.opened("listen"), []);
  await rig.done();
});

test("A3: an engine that is not there to answer another call has not said Unimplemented", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);
  for (const method of ["getVersion", "putOverridesData"]) rig.remote.always(method, (call) => call.cut());

  rig.remote.wire("listenV2").fail(said(Code.Unimplemented));
  await rig.pass(10_000);

  assert.equal(rig.remote.opened("listen"), []);
  assert.is(rig.remote.opened("listenV2").length, 2);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("A3: the new way is tried again ten minutes after the old one was chosen", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(0);
  rig.remote.wire("listenV2").fail(said(Code.Unimplemented));
  await rig.pass(300_000);
  rig.remote.wire("listen").fail(said(Code.Unavailable));
  await rig.pass(290_000);
  assert.equal([rig.remote.opened("listenV2").length, rig.remote.opened("listen").length], [1, 2]);

  await rig.pass(20_000);
  rig.remote.wire("listen").fail(said(Code.Unavailable));
  await rig.pass(10_000);

  assert.is(rig.remote.opened("listenV2").length, 2);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("A3: a stream of the old kind that lives gets one of the new kind beside it after ten minutes", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(0);
  rig.remote.wire("listenV2").fail(said(Code.Unimplemented));
  await rig.pass(600_000);
  const old = rig.remote.wire("listen");
  const [, second] = rig.remote.opened("listenV2");
  assert.is(second?.over, false);

  second?.fail(said(Code.Unimplemented));
  await rig.pass(590_000);
  assert.equal([rig.remote.wires.length, old.over], [3, false]);
  await rig.pass(30_000);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);

  assert.equal([rig.remote.wires.length, old.over], [4, true]);
  assert.is(loop.heard.length, 1);
  await rig.done();
});

test("A4: Unimplemented in the old way is the end", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(0);
  rig.remote.wire("listenV2").fail(said(Code.Unimplemented));
  await rig.pass(5000);

  rig.remote.wire("listen").fail(said(Code.Unimplemented));
  await rig.pass(0);

  assert.is(loop.fate.text, "refused");
  assert.is((loop.fate.cause as ConnectError).code, Code.Unimplemented);
  await rig.done();
});

test("A5: the caller's abort ends the loop with its own reason, and leaves nothing behind", async () => {
  const rig = new Rig();
  const caller = new AbortController();
  const loop = new Loop(rig.client.actions({ workerId: id(1), signal: caller.signal }));
  await rig.pass(9000);

  const reason = new Error("enough");
  caller.abort(reason);
  await rig.pass(0);

  assert.is(loop.fate.error, reason);
  assert.equal(rig.remote.underWay, []);
  assert.is(rig.clock.asleep, 0);
  await rig.done();
});

test("A5: an abort during the wait for the next attempt is heard at once", async () => {
  const rig = new Rig();
  const caller = new AbortController();
  const loop = new Loop(rig.client.actions({ workerId: id(1), signal: caller.signal }));
  await rig.pass(500);
  rig.remote.kill();
  await rig.pass(100);

  caller.abort("enough");
  await rig.pass(0);

  assert.is(loop.fate.error, "enough");
  assert.is(rig.clock.asleep, 0);
  await rig.done();
});

test("A6: OK ends are never the end of it", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  for (let n = 0; n < 12; n++) {
    rig.remote.wire("listenV2").hangUp();
    await rig.pass(10_500);
  }

  assert.is(loop.fate.text, "pending");
  assert.is(rig.remote.opened("listenV2").length, 13);
  await rig.done();
});

test("A7: one OK end opens one stream more, and the next action comes on it", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  rig.remote.wire("listenV2").hangUp();
  await rig.pass(2500);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(10_000);

  assert.is(loop.heard.length, 1);
  assert.is(rig.remote.opened("listenV2").length, 2);
  await rig.done();
});

test("A8: one ending that explains nothing is followed by one stream more", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  rig.remote.wire("listenV2").fail(said(Code.Unknown));
  await rig.pass(2500);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);

  assert.is(loop.heard.length, 1);
  assert.is(loop.fate.text, "pending");
  assert.is(rig.remote.opened("listenV2").length, 2);
  await rig.done();
});

test("C3: the engine's own Canceled is an engine that stops, and the stream comes back", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  rig.remote.wire("listenV2").fail(said(Code.Canceled));
  await rig.pass(2500);

  assert.is(rig.remote.opened("listenV2").length, 2);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("C8: an error that ends the stream for good comes out of the loop, with what the engine said", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  rig.remote.wire("listenV2").fail(said(Code.InvalidArgument));
  await rig.pass(0);

  const error = loop.fate.error as StreamError;
  assert.is(error.code, "refused");
  assert.is(error.attempts, 1);
  assert.is((error.cause as ConnectError).code, Code.InvalidArgument);
  await rig.done();
});

test("what came before an error for good is heard before it", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  rig.remote.wire("listenV2").say(start(1), start(2));
  rig.remote.wire("listenV2").fail(said(Code.InvalidArgument));
  await rig.pass(0);

  assert.equal(loop.heard.map(({ runId }) => runId), [id(1), id(2)]);
  assert.is(loop.fate.text, "refused");
  await rig.done();
});

test("nothing is opened before the loop begins", async () => {
  const rig = new Rig();

  const stream = rig.client.actions({ register });
  await rig.pass(60_000);

  assert.equal([rig.remote.calls, rig.remote.wires], [[], []]);
  await stream.close();
  assert.is(new Loop(stream).fate.text, "pending");
  await rig.done();
});

test("makes no sense of options at once, before any I/O", () => {
  const rig = new Rig();

  assert.throws(() => rig.client.actions({ workerId: "one" }), /workerId must be a UUID/);
  assert.throws(() => rig.client.actions({ register: { name: "a b", actions: [] } }), /worker name/);
  assert.throws(() => rig.client.actions({ register: { name: "a", actions: ["run"] } }), /service:verb/);
  assert.throws(() => rig.client.actions({ register: { ...register, slots: 0 } }), /slots must be whole and above 0/);
  assert.throws(() => rig.client.actions({ register: { ...register, labels: { a: 1.5 } } }), /32-bit whole numbers/);
  assert.equal(rig.remote.dialedAt, []);
});

test("rule R9: registers, then listens, then beats at once, and each action carries the worker's id", async () => {
  const rig = new Rig();
  const told: string[] = [];
  const loop = new Loop(rig.client.actions({ register, onRegistered: ({ workerId }) => told.push(workerId) }));
  await rig.pass(100);

  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);

  assert.equal(rig.remote.calls.map(({ method }) => method), ["register", "heartbeat"]);
  assert.equal([times(rig, "register"), times(rig, "listenV2"), times(rig, "heartbeat")], [[0], [0], [0]]);
  assert.equal(rig.remote.wire("listenV2").sent, [
    { $typeName: "WorkerListenRequest", workerId: id(1) },
  ]);
  assert.is(loop.heard[0]?.workerId, id(1));
  assert.equal(told, [id(1)]);
  await rig.done();
});

test("rule R10: an engine that forgot the worker gets a new one, and the actions after that carry its id", async () => {
  const rig = new Rig();
  const told: string[] = [];
  const loop = new Loop(rig.client.actions({ register, onRegistered: ({ workerId }) => told.push(workerId) }));
  await rig.pass(2000);
  rig.remote.wire("listenV2").say(start(3));
  rig.remote.next("heartbeat", said(Code.NotFound));
  await rig.pass(5000);

  rig.remote.wire("listenV2").say(start(4));
  await rig.pass(0);

  assert.equal(told, [id(1), id(2)]);
  assert.equal(loop.heard.map(({ workerId }) => workerId), [id(1), id(2)]);
  assert.is(rig.client.health().streams[0]?.id, id(2));
  assert.equal(rig.remote.underWay, ["listenV2"]);
  await rig.done();
});

test("rule R10: ListenV2's own NotFound registers again too", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ register }));
  await rig.pass(500);

  rig.remote.wire("listenV2").fail(said(Code.NotFound));
  await rig.pass(5000);

  assert.is(rig.remote.asked("register").length, 2);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("a stream that is lost with its wire comes back as a new worker, one that the engine ended under its id", async () => {
  const rig = new Rig();
  const told: string[] = [];
  const loop = new Loop(rig.client.actions({ register, onRegistered: ({ workerId }) => told.push(workerId) }));
  await rig.pass(20_000);

  rig.remote.wire("listenV2").fail(said(Code.Unavailable));
  await rig.pass(20_000);
  const ended = [...told];
  rig.remote.kill();
  await rig.pass(20_000);

  assert.equal(ended, [id(1)]);
  assert.equal(told, [id(1), id(2)]);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("an engine that can release no slot keeps its worker as long as something runs", async () => {
  const rig = new Rig();
  const told: string[] = [];
  const loop = new Loop(rig.client.actions({ register, onRegistered: ({ workerId }) => told.push(workerId) }));
  await rig.pass(20_000);
  rig.remote.wire("listenV2").say(start(3));
  rig.remote.always("releaseSlot", said(Code.Unimplemented));
  await rig.pass(0);

  rig.remote.kill();
  await rig.pass(20_000);
  const during = [...told];
  const [action] = loop.heard;
  if (action?.kind === "start") await rig.clock.drive(action.completed({}));
  rig.remote.kill();
  await rig.pass(20_000);

  assert.equal(during, [id(1)]);
  assert.equal(told, [id(1), id(2)]);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

/** A loop over a worker's actions that stands still at the first until it is let go. */
function busy(rig: Rig): { readonly loop: Loop<Action>; readonly free: () => void } {
  let free = () => {};
  const held = new Promise<void>((resolve) => free = resolve);
  return { loop: new Loop(rig.client.actions({ register }), () => held), free };
}

test("what waits for the loop is kept through 40 s without a beat; what overtakes the next answer is ours", async () => {
  const rig = new Rig();
  const { free, loop } = busy(rig);
  await rig.pass(10_000);
  for (const n of [3, 4]) rig.remote.wire("listenV2").say(start(n));
  rig.remote.always("heartbeat", said(Code.Unavailable));
  await rig.pass(40_000);

  rig.remote.always("heartbeat");
  rig.remote.next("heartbeat", () => rig.clock.sleep(100));
  await rig.pass(2050);
  rig.remote.wire("listenV2").say(start(5));
  await rig.pass(10_000);
  free();
  await rig.pass(0);
  rig.remote.kill();
  await rig.pass(10_000);

  assert.equal(loop.heard.map(({ runId }) => runId), [id(3), id(4), id(5)]);
  const released = rig.remote.asked("releaseSlot").map(({ request }) => Object(request).taskRunExternalId);
  assert.equal(released, [id(5)], "the slots of the others may be somebody else's by now");
  await rig.done();
});

test("rule R19: of a task that waits for the loop only the newest attempt is kept", async () => {
  const rig = new Rig();
  const { free, loop } = busy(rig);
  await rig.pass(500);

  for (const one of [start(3), start(4), start(4, { retryCount: 1 })]) rig.remote.wire("listenV2").say(one);
  await rig.pass(0);
  free();
  await rig.pass(0);

  assert.equal(loop.heard.map(({ attempt, runId }) => [runId, attempt]), [[id(3), 0], [id(4), 1]]);
  await rig.done();
});

test("what waits for the loop is kept where the engine can release no slot, and given back where it can", async () => {
  const heard: string[][] = [];
  for (const answer of [said(Code.Unimplemented), {}]) {
    const rig = new Rig();
    const { free, loop } = busy(rig);
    await rig.pass(20_000);
    rig.remote.always("releaseSlot", answer);
    for (const n of [3, 4]) rig.remote.wire("listenV2").say(start(n));
    await rig.pass(0);

    rig.remote.kill();
    await rig.pass(20_000);
    free();
    await rig.pass(0);

    heard.push(loop.heard.map(({ runId }) => runId));
    await rig.done();
  }

  assert.equal(heard, [[id(3), id(4)], [id(3)]]);
});

test("rule R10: no other trouble registers again", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ register }));
  await rig.pass(500);

  for (const code of [Code.Unavailable, Code.Internal, Code.Unknown, Code.ResourceExhausted, Code.Canceled]) {
    rig.remote.wire("listenV2").fail(said(code));
    rig.remote.next("heartbeat", said(code));
    await rig.pass(15_000);
  }

  assert.is(rig.remote.asked("register").length, 1);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("an engine that does not know the fixed worker id is refusing it", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(2000);

  rig.remote.next("heartbeat", said(Code.NotFound));
  await rig.pass(5000);

  assert.is(loop.fate.text, "refused");
  assert.is((loop.fate.cause as ConnectError).code, Code.NotFound);
  assert.equal(rig.remote.asked("register"), []);
  await rig.done();
});

test("a malformed worker id, as the engine sees it, is refused in either way", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ register }));
  await rig.pass(2000);

  rig.remote.next("heartbeat", said(Code.InvalidArgument));
  await rig.pass(5000);

  assert.is(loop.fate.text, "refused");
  await rig.done();
});

test("a body of a minute loses nothing: it reconnects meanwhile, hears the cancel, and goes on beating", async () => {
  const rig = new Rig();
  const heardAt: number[] = [];
  const loop = new Loop(rig.client.actions({ workerId: id(1) }), async ({ kind }) => {
    heardAt.push(rig.atMs);
    if (kind === "start") await rig.clock.sleep(60_000);
  });
  await rig.pass(1000);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(1000);

  rig.remote.kill();
  await rig.pass(20_000);
  rig.remote.wire("listenV2").say(cancel(3));
  await rig.pass(40_000);

  assert.equal(loop.heard.map(({ kind }) => kind), ["start", "cancel"]);
  assert.equal(heardAt, [1000, 61_000]);
  assert.is(rig.remote.opened("listenV2").length, 2);
  const beats = times(rig, "heartbeat");
  assert.equal(beats.filter((at, n) => n > 0 && at - beats[n - 1]! > 4000), [], "no gap above 4 s");
  await rig.done();
});

test("break ends the stream quietly and at once, in the middle of a reconnect too", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }), () => false);
  await rig.pass(500);

  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);

  assert.is(loop.fate.text, "ok 1");
  assert.equal([rig.remote.underWay, rig.clock.asleep], [[], 0]);
  await rig.done();
});

test("close ends the loop quietly from anywhere, and again does nothing", async () => {
  const rig = new Rig();
  const stream = rig.client.actions({ workerId: id(1) });
  const loop = new Loop(stream);
  await rig.pass(500);

  await rig.clock.drive(Promise.all([stream.close(), stream.close(), stream[Symbol.asyncDispose]()]));
  await rig.pass(0);

  assert.is(loop.fate.text, "ok 0");
  assert.equal([rig.remote.underWay, rig.clock.asleep], [[], 0]);
  await rig.done();
});

test("an action of a kind that no worker of ours asks for is logged and left", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  rig.remote.wire("listenV2").say(start(1, { actionType: 3 }), start(2));
  await rig.pass(0);

  assert.equal(loop.heard.map(({ runId }) => runId), [id(2)]);
  assert.equal(rig.lines.map(([text]) => text), ["warn An action of an unknown kind was left"]);
  await rig.done();
});

test("actions wait for the loop without bound, and the log says so at ten thousand", { limitMs: 10_000 }, async () => {
  const rig = new Rig();
  let go = () => {};
  const held = new Promise<void>((resolve) => go = resolve);
  const loop = new Loop(rig.client.actions({ workerId: id(1) }), () => held);
  await rig.pass(500);

  rig.remote.wire("listenV2").say(...Array.from({ length: 10_002 }, () => start(3)));
  await rig.pass(0);

  assert.equal(rig.lines.map(([text, { waiting }]) => [text, waiting]), [["warn Actions wait for the loop", 10_000]]);
  assert.is(loop.heard.length, 1);
  go();
  await rig.pass(0);
  assert.is(loop.heard.length, 10_002);
  await rig.done();
});

test("the engine that is not there at the start is given up after five tries, and the cause says why", async () => {
  const rig = new Rig();
  rig.remote.listening = false;

  const loop = new Loop(rig.client.actions({ register }));
  await rig.pass(60_000);

  const error = loop.fate.error as StreamError;
  assert.is(error.code, "unreachable");
  assert.match((error.cause as Error).message, /ECONNREFUSED/);
  assert.equal(times(rig, "register"), []);
  assert.equal(rig.remote.dialedAt.map((at) => at - 1_000_000), [0, 2000, 6000, 14_000, 24_000]);
  await rig.done();
});

test("an engine that goes away after the start is waited for, however long it takes", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ register }));
  await rig.pass(500);

  rig.remote.listening = false;
  rig.remote.kill();
  await rig.pass(3_600_000);
  assert.is(loop.fate.text, "pending");
  rig.remote.listening = true;
  await rig.pass(10_000);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);

  assert.is(loop.heard.length, 1);
  await rig.done();
});

test("whoever asks for actions after any stream of them was live is in, whatever it takes", async () => {
  const rig = new Rig();
  const first = rig.client.actions({ workerId: id(1) });
  void new Loop(first);
  await rig.pass(11_000);
  await rig.clock.drive(first.close());
  rig.remote.listening = false;
  rig.remote.kill();

  const second = new Loop(rig.client.actions({ workerId: id(2) }));
  await rig.pass(600_000);
  assert.is(second.fate.text, "pending");
  rig.remote.listening = true;
  await rig.pass(10_000);

  assert.is(rig.client.health().ready, true);
  await rig.done();
});

test("a quota that is used up at registration is tried five times, and then told", async () => {
  const rig = new Rig();
  rig.remote.always("register", said(Code.ResourceExhausted));

  const loop = new Loop(rig.client.actions({ register }));
  await rig.pass(60_000);

  assert.is(loop.fate.text, "unreachable");
  assert.is((loop.fate.cause as ConnectError).code, Code.ResourceExhausted);
  assert.is(rig.remote.asked("register").length, 5);
  await rig.done();
});

test("what onRegistered throws comes out of the loop as it is", async () => {
  const rig = new Rig();
  const mistake = new TypeError("mine");

  const loop = new Loop(rig.client.actions({
    register,
    onRegistered: () => {
      throw mistake;
    },
  }));
  await rig.pass(0);

  assert.is(loop.fate.error, mistake);
  await rig.done();
});

test("rule R15: an idle stream is renewed every three minutes, beside the old one, and no action of either is lost", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(144_000);
  const [old, renewed] = rig.remote.opened("listenV2");
  assert.is(renewed?.at, 1_144_000, "three minutes, or up to a fifth less");

  old?.say(start(1));
  renewed?.say(start(2));
  await rig.pass(0);
  assert.equal(loop.heard.map(({ runId }) => runId).sort(), [id(1), id(2)]);
  await rig.pass(30_000);

  assert.equal(rig.remote.underWay, ["listenV2"]);
  assert.is(old?.over, true);
  assert.equal(rig.lines, []);
  assert.is(rig.client.health().ready, true);
  await rig.done();
});

test("rule R15: where a proxy cuts idle streams after a minute, the third is renewed before it would be cut", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  const idle = new ConnectError("HTTP 504", Code.Unavailable);
  for (let cut = 0; cut < 2; cut++) {
    await rig.pass(60_000);
    rig.remote.wire("listenV2").fail(idle);
    await rig.pass(3000);
  }
  const third = rig.remote.opened("listenV2").at(-1);

  await rig.pass(60_000);
  const [renewed, ...later] = rig.remote.opened("listenV2").filter(({ at }) => at > (third?.at ?? Infinity));
  renewed?.say(start(1));
  await rig.pass(0);

  const waitedMs = (renewed?.at ?? Infinity) - (third?.at ?? 0);
  assert.ok(waitedMs > 30_000 && waitedMs < 50_000, `renewed after ${waitedMs} ms`);
  assert.is(later.length, 0);
  assert.is(loop.heard.length, 1);
  await rig.done();
});

test("rule R15: two cuts after idle times that differ teach nothing", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  for (const idleMs of [60_000, 20_000]) {
    await rig.pass(idleMs);
    rig.remote.wire("listenV2").fail(new ConnectError("HTTP 504", Code.Unavailable));
    await rig.pass(3000);
  }
  const opened = rig.remote.wires.length;

  await rig.pass(100_000);

  assert.is(rig.remote.wires.length, opened);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("rule R15: a stream that is not idle is not renewed", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  for (let n = 0; n < 10; n++) {
    await rig.pass(60_000);
    rig.remote.wire("listenV2").say(start(n));
  }
  await rig.pass(0);

  assert.is(loop.heard.length, 10);
  assert.is(rig.remote.wires.length, 1);
  await rig.done();
});

test("rule R15: an old stream that ends beside its renewal ends nothing", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(144_000);
  const [old, renewed] = rig.remote.opened("listenV2");

  old?.fail(said(Code.Unavailable));
  await rig.pass(100);
  renewed?.say(start(1));
  await rig.pass(0);

  assert.is(loop.heard.length, 1);
  assert.equal([rig.lines, rig.remote.wires.length], [[], 2]);
  await rig.done();
});

test("rule R15: a renewal that fails leaves the old stream as it is", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(144_000);
  const [old, renewed] = rig.remote.opened("listenV2");

  renewed?.hangUp();
  await rig.pass(100);
  old?.say(start(1));
  await rig.pass(0);

  assert.is(loop.heard.length, 1);
  assert.equal(rig.lines, []);
  await rig.done();
});

test("rule R15: the old stream is let go of seven seconds after a beat, and a second before the next", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(146_000);
  const [old] = rig.remote.opened("listenV2");

  while (old?.over === false) await rig.pass(100);
  const overAt = rig.clock.now();
  const beats = rig.remote.asked("heartbeat").map(({ at }) => at);
  await rig.pass(20_000);

  assert.is((beats.at(-1) ?? 0) - overAt, -7000);
  assert.is(rig.remote.asked("heartbeat")[beats.length]?.at, overAt + 1000);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("a renewal takes its turn at the gate, behind every stream that is down", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  const result = new Fate(rig.client.runs.result(id(9)));
  await rig.pass(143_900);

  rig.remote.wire("subscribeToWorkflowRuns").fail(said(Code.Unavailable));
  await rig.pass(3000);
  const [, results] = rig.remote.opened("subscribeToWorkflowRuns");
  const [, renewed] = rig.remote.opened("listenV2");

  assert.is(results?.at, 1_145_900, "when the wait is over that its failure asked for");
  assert.is(renewed?.at, 1_146_150, "when the results have had their turn");
  assert.equal([loop.fate.text, result.text], ["pending", "pending"]);
  await rig.done();
});

test("an older stream that is lost with its connection makes a new worker, as a renewal does that is lost so", async () => {
  for (const lost of ["older", "renewal"] as const) {
    const rig = new Rig();
    const told: string[] = [];
    const loop = new Loop(rig.client.actions({ register, onRegistered: ({ workerId }) => told.push(workerId) }));
    await rig.pass(140_000);
    const cut = rig.remote.goAway();
    await rig.pass(6000);
    const opened = rig.remote.opened("listenV2").length;

    if (lost === "older") cut();
    else rig.remote.kill();
    await rig.pass(20_000);
    rig.remote.wire("listenV2").say(start(1));
    await rig.pass(0);

    assert.is(opened, 2, lost);
    assert.equal([told, loop.heard.length], [[id(1), id(2)], 1], lost);
    await rig.done();
  }
});

test("an older stream that the engine ends on a connection it leaves makes no new worker", async () => {
  for (const error of [undefined, said(Code.Unavailable)]) {
    const rig = new Rig();
    const told: string[] = [];
    const loop = new Loop(rig.client.actions({ register, onRegistered: ({ workerId }) => told.push(workerId) }));
    await rig.pass(140_000);
    rig.remote.goAway();
    await rig.pass(6000);
    const [old] = rig.remote.opened("listenV2");

    if (error === undefined) old?.hangUp();
    else old?.fail(error);
    await rig.pass(20_000);
    rig.remote.wire("listenV2").say(start(1));
    await rig.pass(0);

    assert.equal([told, loop.heard.length], [[id(1)], 1]);
    await rig.done();
  }
});

test("a renewal that a proxy cuts makes no new worker", async () => {
  const rig = new Rig();
  const told: string[] = [];
  const loop = new Loop(rig.client.actions({ register, onRegistered: ({ workerId }) => told.push(workerId) }));
  await rig.pass(145_000);

  rig.remote.wire("listenV2").fail(new ConnectError("HTTP 504", Code.Unavailable));
  await rig.pass(3000);
  rig.remote.opened("listenV2")[0]?.say(start(1));
  await rig.pass(0);

  assert.equal([told, loop.heard.length], [[id(1)], 1]);
  await rig.done();
});

test("a beat that the engine takes after its stream ended keeps what runs this worker's", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ register }));
  await rig.pass(20_000);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);
  const beat = async () => {
    await rig.clock.sleep(100);
    return {};
  };
  rig.remote.always("heartbeat", beat);

  rig.remote.wire("listenV2").hangUp();
  for (const waitMs of [2000, 4000, 8000, 10_000, 10_000]) {
    await rig.pass(waitMs + 50);
    rig.remote.wire("listenV2").hangUp();
  }
  await rig.pass(20_000);
  rig.remote.always("heartbeat");
  rig.remote.kill();
  await rig.pass(20_000);

  assert.equal(rig.remote.asked("releaseSlot").length, 1);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test.run();
