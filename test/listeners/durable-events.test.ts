import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import type { StreamError } from "../../src/streams/mod.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { Fate, Rig } from "../rig.ts";

const test = suite("durable events");
const method = "listenForDurableEvent";

/** A signal whose conditions were met, as the engine tells it. */
function met(n: number, matches: unknown = { sleep: [{ sleep_duration: "1s" }] }, signalKey = "done") {
  const data = new TextEncoder().encode(typeof matches === "string" ? matches : JSON.stringify({ CREATE: matches }));
  return { taskId: id(n), signalKey, data };
}

/** The text of a fate that got `matches`. */
function got(n: number, matches: unknown = { sleep: [{ sleep_duration: "1s" }] }, signalKey = "done"): string {
  return `ok ${JSON.stringify({ taskId: id(n), signalKey, matches })}`;
}

/** The tasks that a stream was asked for, in order, by their numbers. */
function sent(rig: Rig, n = -1): number[] {
  const requests = rig.remote.opened(method).at(n)?.sent ?? [];
  return requests.map((request) => "taskId" in request ? Number(String(request.taskId).slice(-12)) : NaN);
}

function wait(rig: Rig, n: number, signal?: AbortSignal): Fate {
  return new Fate(rig.client.durable.event(id(n), "done", { signal }));
}

/** Waits for signals, and lets the stream open. */
async function waiting(...tasks: number[]): Promise<{ readonly rig: Rig; readonly fates: Fate[] }> {
  const rig = new Rig();
  const fates = tasks.map((n) => wait(rig, n));
  await rig.pass(500);
  return { rig, fates };
}

test("D1: the first wait opens one stream and sends exactly one request, in the engine's spelling", async () => {
  const rig = new Rig();

  const capitals = "ABCDEF00-0000-4000-8000-00000000000F";
  const fate = new Fate(rig.client.durable.event(capitals, "a:b"));
  await rig.pass(5000);

  const [request, ...rest] = rig.remote.opened(method).flatMap((wire) => wire.sent);
  assert.equal(rest, []);
  assert.match(JSON.stringify(request), `"taskId":"${capitals.toLowerCase()}","signalKey":"a:b"`);
  assert.is(fate.text, "pending");
  await rig.done();
});

test("D2: a wait that is never let in is rejected, and leaves nothing registered and nothing running", async () => {
  const rig = new Rig();
  rig.remote.listening = false;

  const fate = wait(rig, 7);
  await rig.pass(60_000);
  rig.remote.listening = true;
  const other = wait(rig, 8);
  await rig.pass(500);

  assert.is(fate.text, "unreachable");
  assert.equal([sent(rig), other.text], [[8], "pending"]);
  await rig.done();
});

test("D3: a first round of tries fails, a second caller brings the next, and is there when it is sent", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  const first = wait(rig, 1);
  await rig.pass(60_000);
  const second = wait(rig, 2);
  while (rig.remote.dialedAt.length < 2 * 5 - 1) await rig.pass(1000);

  rig.remote.listening = true;
  await rig.pass(60_000);
  rig.remote.wire(method).say(met(2));
  await rig.pass(0);

  assert.equal([first.text, second.text], ["unreachable", got(2)]);
  assert.is(sent(rig)[0], 2);
  assert.is(rig.remote.dialedAt.length, 10);
  await rig.done();
});

test("D4: data that nobody can read fails its own waiters, and the next event still arrives", async () => {
  const { rig, fates } = await waiting(1, 2);

  rig.remote.wire(method).say(met(1, "{broken"), met(2));
  await rig.pass(0);

  assert.match(fates[0]?.text ?? "", /^SyntaxError: What satisfied a durable wait is no JSON/);
  assert.is(fates[1]?.text, got(2));
  assert.is(rig.remote.wires.length, 1);
  await rig.done();
});

for (const leaver of [0, 1]) {
  test(`D5: of two waiters for one signal the ${["first", "second"][leaver]} leaves, and the other gets it, once`, async () => {
    const rig = new Rig();
    const callers = [new AbortController(), new AbortController()];
    const fates = callers.map(({ signal }) => wait(rig, 1, signal));
    await rig.pass(500);

    callers[leaver]?.abort("left");
    rig.remote.wire(method).say(met(1, { a: [1] }), met(1, { a: [2] }));
    await rig.pass(0);

    assert.is(fates[leaver]?.text, "left");
    assert.is(fates[1 - leaver]?.text, got(1, { a: [1] }));
    await rig.pass(31_000);
    assert.equal([rig.remote.underWay, rig.clock.asleep], [[], 0], "nobody is registered any more");
    await rig.done();
  });
}

test("D6: five hundred waits race with their signals, and none is orphaned", async () => {
  const { rig } = await waiting(1);
  const wire = rig.remote.wire(method);
  const fates: Fate[] = [];

  for (let n = 100; n < 600; n++) {
    if (n % 2 === 0) wire.say(met(n, { n: [n] }));
    fates.push(wait(rig, n));
    if (n % 2 === 1) wire.say(met(n, { n: [n] }));
    if (n % 7 === 0) await Promise.resolve();
  }
  await rig.pass(0);
  for (let n = 100; n < 600; n++) wire.say(met(n, { n: [n] }));
  await rig.pass(0);

  assert.equal(fates.filter(({ text }, index) => text !== got(index + 100, { n: [index + 100] })), []);
  await rig.done();
});

test("D7: waits right after the first one share its connect and its stream, and each key is sent once", async () => {
  const { rig, fates } = await waiting(1, 1, 2);

  rig.remote.wire(method).say(met(1), met(2));
  await rig.pass(0);

  assert.equal([rig.remote.dialedAt.length, rig.remote.wires.length, sent(rig)], [1, 1, [1, 2]]);
  assert.equal(fates.map(({ text }) => text), [got(1), got(1), got(2)]);
  await rig.done();
});

test("D8: a stream that ended because nobody needed it is no close: the next wait opens a second, sends once", async () => {
  const { rig, fates } = await waiting(1);
  rig.remote.wire(method).say(met(1));
  rig.remote.wire(method).hangUp();
  await rig.pass(1000);

  const later = wait(rig, 2);
  await rig.pass(500);
  rig.remote.wire(method).say(met(2));
  await rig.pass(0);

  assert.equal([fates[0]?.text, later.text], [got(1), got(2)]);
  assert.equal([rig.remote.opened(method).length, sent(rig)], [2, [2]]);
  await rig.done();
});

test("D9: the stream comes back while whoever came meanwhile waits to be sent, without a longer wait", async () => {
  const { rig } = await waiting(1);
  rig.remote.kill();
  const during = wait(rig, 2);

  await rig.pass(2000);
  rig.remote.wire(method).say(met(2));
  await rig.pass(0);

  assert.equal(rig.remote.dialedAt.map((at) => at - rig.remote.dialedAt[0]!), [0, 2500]);
  assert.equal([sent(rig), during.text], [[1, 2], got(2)]);
  await rig.done();
});

test("D10: a wait after the stream was refused opens a new one, which tells it", async () => {
  const rig = new Rig();
  const first = wait(rig, 1);
  await rig.pass(100);
  rig.remote.wire(method).fail(said(Code.PermissionDenied));
  await rig.pass(100);

  const second = wait(rig, 2);
  await rig.pass(10_000);
  rig.remote.wire(method).say(met(2));
  await rig.pass(0);

  assert.equal([first.text, second.text], ["refused", got(2)]);
  assert.is((first.cause as ConnectError).code, Code.PermissionDenied);
  assert.match(String(first.error), id(1));
  await rig.done();
});

for (const end of ["OK", "Canceled"]) {
  test(`D11: the engine's ${end} end with somebody waiting is one reconnect, one replay, and the event`, async () => {
    const { rig, fates } = await waiting(1);

    if (end === "OK") rig.remote.wire(method).hangUp();
    else rig.remote.wire(method).fail(said(Code.Canceled));
    await rig.pass(2500);
    rig.remote.wire(method).say(met(1));
    await rig.pass(0);

    assert.equal([rig.remote.opened(method).length, sent(rig)], [2, [1]]);
    assert.is(fates[0]?.text, got(1));
    await rig.done();
  });
}

test("D12: with the engine down a wait is given up after five tries, with the cause", async () => {
  const rig = new Rig();
  rig.remote.listening = false;

  const fate = wait(rig, 7);
  await rig.pass(60_000);

  const error = fate.error as StreamError;
  assert.equal([error.code, error.attempts, rig.remote.dialedAt.length], ["unreachable", 5, 5]);
  assert.match((error.cause as Error).message, /ECONNREFUSED/);
  assert.match(error.message, `No signal "done" of task ${id(7)}`);
  assert.is(rig.clock.asleep, 0);
  await rig.done();
});

test("D13: an aborted caller opens nothing, and gets its own reason", async () => {
  const rig = new Rig();

  const fate = wait(rig, 7, AbortSignal.abort("never mind"));
  await rig.pass(60_000);

  assert.is(fate.error, "never mind");
  assert.equal(rig.remote.dialedAt, []);
  await rig.done();
});

test("D14: a caller's abort during the first connect is heard at once, and disturbs no other", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  const caller = new AbortController();
  const leaver = wait(rig, 7, caller.signal);
  const other = wait(rig, 8);
  await rig.pass(1000);

  caller.abort("enough");
  await rig.pass(0);
  assert.is(leaver.error, "enough");
  rig.remote.listening = true;
  await rig.pass(2000);

  assert.equal([sent(rig), other.text], [[8], "pending"]);
  await rig.done();
});

test("D15: a deadline of 10 ms ends the wait with its own reason, after one connect", async () => {
  const rig = new Rig();
  const deadline = new AbortController();
  const fate = wait(rig, 7, deadline.signal);

  void rig.clock.sleep(10).then(() => deadline.abort(new DOMException("too late", "TimeoutError")));
  await rig.pass(20);

  assert.is((fate.error as Error).name, "TimeoutError");
  assert.equal([rig.remote.dialedAt.length, rig.remote.wires.length], [1, 1]);
  await rig.done();
});

test("D16: an OK end with nobody waiting is a clean end, and connects no more", async () => {
  const { rig, fates } = await waiting(1);
  rig.remote.wire(method).say(met(1));
  await rig.pass(0);

  rig.remote.wire(method).hangUp();
  await rig.pass(60_000);

  assert.is(fates[0]?.text, got(1));
  assert.equal([rig.remote.opened(method).length, rig.remote.dialedAt.length], [1, 1]);
  assert.equal(rig.client.health(), { ready: true, streams: [] });
  await rig.done();
});

test("signals of one task with different keys are different signals", async () => {
  const rig = new Rig();
  const fates = ["a", "a:b"].map((key) => new Fate(rig.client.durable.event(id(1), key)));
  await rig.pass(500);

  rig.remote.wire(method).say(met(1, {}, "a:b"));
  await rig.pass(0);

  assert.equal(fates.map(({ text }) => text), ["pending", got(1, {}, "a:b")]);
  await rig.done();
});

test("matches are what was pushed, whatever stood for a value that is no object; none at all is none", async () => {
  const { rig, fates } = await waiting(1, 2, 3);
  const wire = rig.remote.wire(method);

  wire.say(met(1, { paid: [{ amount: 7 }, { "coppice:value": 8 }] }), met(2, `{"CREATE":null}`), met(3, " "));
  wire.say({ taskId: id(2), signalKey: "done" });
  await rig.pass(0);

  assert.equal(fates.slice(0, 2).map(({ text }) => text), [got(1, { paid: [{ amount: 7 }, 8] }), got(2, {})]);
  assert.match(fates[2]?.text ?? "", "SyntaxError");
  await rig.done();
});

test("every signal that is waited for is asked for again within half a minute, give or take a fifth", async () => {
  const { rig } = await waiting(1, 2);

  await rig.pass(36_000);

  assert.equal(sent(rig).slice(2).toSorted((a, b) => a - b), [1, 2]);
  await rig.done();
});

test("the stream has its place in health, and close settles whoever waits", async () => {
  const { rig, fates } = await waiting(1);

  const { streams } = rig.client.health();
  await rig.done();

  assert.equal(streams.map(({ id, stream }) => [stream, id]), [["durable-events", "shared"]]);
  assert.is(fates[0]?.text, "closed");
});

test("a malformed id or key is refused here, before any I/O", async () => {
  const rig = new Rig();

  const fates = [
    new Fate(rig.client.durable.event("task-7", "done")),
    new Fate(rig.client.durable.event(id(1), "")),
  ];
  await rig.pass(60_000);

  assert.match(fates[0]?.text ?? "", "TypeError: task id must be a UUID");
  assert.match(fates[1]?.text ?? "", "TypeError: signal key must be a text");
  assert.equal([rig.remote.dialedAt, rig.clock.asleep], [[], 0]);
  await rig.done();
});

test.run();
