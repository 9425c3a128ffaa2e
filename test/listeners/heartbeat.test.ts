import { Code, ConnectError } from "@connectrpc/connect";
import { heartbeat } from "../../src/listeners/heartbeat.ts";
import { VirtualClock } from "../../src/testing/mod.ts";
import { assert, suite } from "../harness.ts";
import { jwt } from "../jwt.ts";
import { id, said } from "../remote.ts";
import { Loop, Rig, start, startMs } from "../rig.ts";

const test = suite("heartbeat");

/** When the beats went out, since the test began. */
function beats(rig: Rig): number[] {
  return rig.remote.asked("heartbeat").map(({ at }) => at - startMs);
}

function streams(rig: Rig): number[] {
  return rig.remote.opened("listenV2").map(({ at }) => at - startMs);
}

/** A rig with an action stream that has lived for half a minute. */
async function listening(): Promise<{ readonly rig: Rig; readonly loop: Loop<unknown> }> {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(30_000);
  rig.remote.calls.length = 0;
  return { rig, loop };
}

test("rule R11: beats at sent, then every four seconds, with a deadline below that", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));

  await rig.pass(13_000);

  assert.equal(beats(rig), [0, 4000, 8000, 12_000]);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("rule R11: a beat that hangs is given up before the next is due", async () => {
  const { rig } = await listening();
  rig.remote.next("heartbeat", () => new Promise(() => {}));

  await rig.pass(9000);

  assert.equal(beats(rig), [32_000, 36_000]);
  await rig.done();
});

test("rule R11: a new stream is beaten for at once", async () => {
  const { rig } = await listening();

  rig.remote.wire("listenV2").hangUp();
  await rig.pass(2100);

  assert.equal(streams(rig).at(-1), 32_000);
  assert.equal(beats(rig), [32_000]);
  await rig.done();
});

test("a beat that was refused because it overtook its ListenV2 makes no second stream", async () => {
  const rig = new Rig();
  rig.remote.next("heartbeat", said(Code.FailedPrecondition), said(Code.FailedPrecondition));

  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(20_000);

  assert.equal(streams(rig), [0]);
  assert.equal(beats(rig).slice(0, 4), [0, 1000, 2000, 6000]);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("rule R10: a beat that is refused later opens a new ListenV2 at once", async () => {
  const { rig, loop } = await listening();
  rig.remote.next("heartbeat", said(Code.FailedPrecondition));

  await rig.pass(2001);
  assert.equal(streams(rig), [0, 32_000]);
  await rig.pass(20_000);

  assert.equal(streams(rig), [0, 32_000]);
  assert.equal(rig.remote.underWay, ["listenV2"]);
  assert.is(loop.fate.text, "pending");
  assert.equal(rig.lines, []);
  await rig.done();
});

test("rule R10: from the second refusal on the stream waits with the gate, until a beat is taken", async () => {
  const { rig, loop } = await listening();
  rig.remote.always("heartbeat", said(Code.FailedPrecondition));

  await rig.pass(60_000);
  const opened = streams(rig);
  rig.remote.always("heartbeat");
  await rig.pass(60_000);
  rig.remote.calls.length = 0;
  rig.remote.next("heartbeat", said(Code.FailedPrecondition));
  await rig.pass(4000);

  assert.equal(opened.slice(0, 2), [0, 32_000], "one at once");
  // Each later one is given the 4 s that a beat may overtake it by, then waits 2 s, 4 s, 8 s …
  assert.equal(opened.slice(2), [38_000, 46_000, 58_000, 72_000, 86_000]);
  assert.is(streams(rig).at(-1), beats(rig)[0], "trusted again: at once");
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("health says so from the first beat that was refused later, and until one is taken", async () => {
  const { rig } = await listening();
  assert.is(rig.client.health().ready, true);

  rig.remote.next("heartbeat", said(Code.FailedPrecondition));
  await rig.pass(2000);
  const during = rig.client.health();
  await rig.pass(1000);

  assert.is(during.ready, false);
  assert.is((during.streams[0]?.error as ConnectError | undefined)?.code, Code.FailedPrecondition);
  assert.is(rig.client.health().ready, true);
  await rig.done();
});

test("rule R13: is not ready before the first beat is taken, though the stream is open", async () => {
  const rig = new Rig();
  rig.remote.always("heartbeat", said(Code.Unavailable));
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(12_000);
  const before = rig.client.health();

  rig.remote.always("heartbeat");
  await rig.pass(4000);

  assert.equal([before.ready, before.streams[0]?.state], [false, "live"]);
  assert.is(rig.client.health().ready, true);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("rule R13: beats that go unanswered for ten seconds are told by health, and close no stream", async () => {
  const { rig } = await listening();
  rig.remote.always("heartbeat", () => new Promise(() => {}));

  await rig.pass(20_000);
  const during = rig.client.health();
  rig.remote.always("heartbeat");
  await rig.pass(5000);

  assert.is(during.ready, false);
  assert.equal(streams(rig), [0]);
  assert.is(rig.client.health().ready, true);
  await rig.done();
});

test("rule R14: a beat that fails in any other way closes no stream", async () => {
  const { rig, loop } = await listening();
  const codes = [Code.Internal, Code.Unavailable, Code.DeadlineExceeded, Code.Unknown, Code.Canceled, Code.Aborted];
  rig.remote.next("heartbeat", ...codes.map((code) => said(code)), (call) => call.cut());

  await rig.pass(30_000);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);

  assert.equal(streams(rig), [0]);
  assert.is(loop.heard.length, 1);
  await rig.done();
});

test("an engine too old for heartbeats is beaten no more, and counts as ready", async () => {
  const rig = new Rig();
  rig.remote.always("heartbeat", said(Code.Unimplemented));

  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(60_000);

  assert.equal(beats(rig), [0]);
  assert.is(rig.client.health().ready, true);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("a proxy's 404 for a beat stops no heartbeat", async () => {
  const { rig } = await listening();
  rig.remote.next("heartbeat", new ConnectError("HTTP 404", Code.Unimplemented));

  await rig.pass(9000);

  assert.equal(beats(rig), [32_000, 36_000]);
  await rig.done();
});

test("rule R3: a token that the first beat is refused with ends the stream", async () => {
  const rig = new Rig();
  rig.remote.always("heartbeat", said(Code.Unauthenticated));

  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(100);

  assert.is(loop.fate.text, "refused");
  assert.is((loop.fate.cause as ConnectError).code, Code.Unauthenticated);
  await rig.done();
});

test("rule R3: a token that is refused later closes no stream, but health is not ready from the first refused beat", async () => {
  const { rig, loop } = await listening();

  rig.remote.always("heartbeat", said(Code.Unauthenticated));
  await rig.pass(2000);
  const during = rig.client.health();
  await rig.pass(300_000);
  assert.equal([loop.fate.text, rig.remote.underWay], ["pending", ["listenV2", "listenV2"]], "one, and its renewal");
  rig.remote.always("heartbeat");
  await rig.pass(4000);

  assert.is(during.ready, false);
  assert.is((during.streams[0]?.error as ConnectError | undefined)?.code, Code.Unauthenticated);
  assert.is(rig.client.health().ready, true);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("rule R3: beats that are refused for ten minutes in a row are believed", async () => {
  const { rig, loop } = await listening();

  rig.remote.always("heartbeat", said(Code.PermissionDenied));
  await rig.pass(601_000);
  assert.is(loop.fate.text, "pending");
  await rig.pass(1000);

  assert.is(loop.fate.text, "refused");
  await rig.done();
});

test("rule R3: one beat that is taken starts the ten minutes anew", async () => {
  const { rig, loop } = await listening();

  for (let n = 0; n < 3; n++) {
    rig.remote.always("heartbeat", said(Code.Unauthenticated));
    await rig.pass(400_000);
    rig.remote.always("heartbeat");
    await rig.pass(4000);
  }

  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("rule R3: a beat that is refused with a token that has run out is believed at once", async () => {
  const rig = new Rig({ token: jwt({ sub: id(9), grpc_broadcast_address: "engine:7070", exp: startMs / 1000 + 35 }) });
  const loop = new Loop(rig.client.actions({ workerId: id(1) })).fate;
  await rig.pass(30_000);

  rig.remote.always("heartbeat", said(Code.Unauthenticated));
  await rig.pass(3000);
  assert.is(loop.text, "pending");
  await rig.pass(4000);

  assert.is(loop.text, "refused");
  await rig.done();
});

test("a beat that is answered after its stream was lost proves nothing", async () => {
  const clock = new VirtualClock();
  const life = new AbortController();
  const told: string[] = [];
  const tell = (word: string) => () => void told.push(word);
  let answer = () => {};
  const beating = heartbeat({
    clock,
    beat: () => new Promise<void>((resolve) => answer = resolve),
    sentAt: () => 0,
    accepted: () => told.push("accepted") > 0,
    deaf: tell("deaf"),
    forgotten: tell("forgotten"),
    refused: tell("refused"),
    silent: tell("silent"),
    needless: tell("needless"),
  }, life.signal);

  life.abort();
  answer();
  await clock.drive(beating);

  assert.equal([told, clock.asleep], [[], 0]);
});

test("beats end with their stream", async () => {
  const { rig } = await listening();
  const before = rig.remote.asked("heartbeat").length;

  await rig.clock.drive(rig.client.close());
  await rig.clock.pass(60_000);

  assert.is(rig.remote.asked("heartbeat").length, before);
  await rig.done();
});

test.run();
