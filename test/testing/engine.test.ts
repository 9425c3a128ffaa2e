import { VirtualClock } from "../../src/testing/clock.ts";
import { Agenda } from "../../src/testing/engine/agenda.ts";
import { Feed } from "../../src/testing/engine/feed.ts";
import { isUuid, uuid } from "../../src/testing/engine/ids.ts";
import { objectIn, parse, write } from "../../src/testing/engine/json.ts";
import { SeenBook } from "../../src/testing/engine/seen.ts";
import { duration } from "../../src/testing/engine/timing.ts";
import { mint, Tokens } from "../../src/testing/engine/token.ts";
import { actionId } from "../../src/testing/engine/workers.ts";
import { seeded } from "../../src/testing/random.ts";
import { assert, suite } from "../harness.ts";

const test = suite("engine parts");

test("the agenda calls in order of time, with one sleep at a time", async () => {
  const clock = new VirtualClock();
  const agenda = new Agenda(clock);
  const calls: [string, number][] = [];
  const note = (name: string) => () => calls.push([name, clock.now()]);

  agenda.at(30, note("c"));
  agenda.at(10, note("a"));
  agenda.in(20, note("b"));
  const asleep = clock.asleep;
  await clock.pass(40);

  assert.equal(calls, [["a", 10], ["b", 20], ["c", 30]]);
  assert.is(asleep, 1);
  assert.is(clock.asleep, 0);
});

test("the agenda takes back what is undone, also among thousands", async () => {
  const clock = new VirtualClock();
  const agenda = new Agenda(clock);
  let calls = 0;

  const undo = Array.from({ length: 5000 }, (_, index) => agenda.at(1 + index % 7, () => calls++));
  for (const back of undo.slice(0, 4990)) back();
  for (const back of undo.slice(0, 4990)) back();
  await clock.pass(10);
  for (const back of undo) back();

  assert.is(calls, 10);
});

test("the agenda stops, and does what became due meanwhile when it goes on", async () => {
  const clock = new VirtualClock();
  const agenda = new Agenda(clock);
  const calls: number[] = [];
  agenda.at(10, () => calls.push(clock.now()));
  agenda.at(50, () => calls.push(clock.now()));

  agenda.stop();
  const asleep = clock.asleep;
  await clock.pass(30);
  agenda.resume();
  await clock.pass(30);

  assert.is(asleep, 0);
  assert.equal(calls, [30, 50]);
});

test("a feed says which messages were taken, and loses the rest when it closes", async () => {
  const feed = new Feed<string>();
  const pushed = [feed.push("a"), feed.push("b"), feed.push("c")];
  const reader = feed[Symbol.asyncIterator]();

  await reader.next();
  await reader.next();
  feed.close();
  const end = await reader.next();
  const written = await Promise.all([...pushed, feed.push("d")]);

  assert.ok(end.done);
  assert.equal(written, [true, true, false, false]);
});

test("a feed is idle when nothing is on its way", async () => {
  const feed = new Feed<string>();
  const order: string[] = [];
  await feed.idle();
  void feed.push("a").then(() => order.push("written"));
  const idle = feed.idle().then(() => order.push("idle"));
  const reader = feed[Symbol.asyncIterator]();

  await reader.next();
  const before = order.length;
  void reader.next();
  await idle;
  feed.close();

  assert.is(before, 0);
  assert.equal(order, ["written", "idle"]);
});

test("reads durations of the engine's grammar and no others", () => {
  const good = ["90s", "1m30s", "500ms", "2h", "1.5s"].map(duration);
  const bad = ["", "5", "-5s", "5 s", "1d", "5us", "s"].map(duration);

  assert.equal(good, [90_000, 90_000, 500, 7_200_000, 1500]);
  assert.ok(bad.every((value) => value === undefined));
});

test("writes JSON as the engine does, and tells objects from the rest", () => {
  const written = write({ b: [{ z: 1, a: "<b>&\u2028" }], a: null });

  assert.is(written, '{"a":null,"b":[{"a":"\\u003cb\\u003e\\u0026\\u2028","z":1}]}');
  assert.is(parse("{oops"), undefined);
  assert.is(parse('"\\u0000"'), undefined);
  assert.equal(objectIn('{"a":1}'), { a: 1 });
  assert.is(objectIn("[1]"), undefined);
  assert.is(objectIn("null"), undefined);
});

test("draws UUIDs of version 4 that differ, and the same ones from the same seed", () => {
  const random = seeded(1);

  const ids = Array.from({ length: 200 }, () => uuid(random));

  assert.is(new Set(ids).size, 200);
  assert.ok(ids.every((id) => isUuid(id) && id[14] === "4" && "89ab".includes(id[19]!)));
  assert.is(uuid(seeded(1)), ids[0]);
  assert.not(isUuid("abc"));
});

test("brings action ids into the engine's form", () => {
  const ids = ["Simple:Step", "a:b:C", "a", "a:", ":b", "a:b:c:d", ""].map(actionId);

  assert.equal(ids, ["simple:step", "a:b:c", undefined, undefined, undefined, undefined, undefined]);
});

test("a token is admitted with its scheme, one space, and in time", () => {
  const tokens = new Tokens();
  const token = mint({ tenantId: "t", hostPort: "h:1", issuedMs: 0, expiresMs: 1000 }, seeded(1));
  tokens.accept(token, 1000);

  const admitted = [`Bearer ${token}`, `bearer ${token}`].map((text) => tokens.admits(text, 999));
  const refused = [token, `Basic ${token}`, `Bearer  ${token}`, "Bearer x", undefined].map((it) =>
    tokens.admits(it, 0)
  );

  assert.equal(admitted, [true, true]);
  assert.ok(refused.every((it) => !it));
  assert.not(tokens.admits(`Bearer ${token}`, 1000));
});

test("the books count on when their lists are full", () => {
  const book = new SeenBook(() => 0);

  for (let index = 0; index < 25_000; index++) book.called("Dispatcher/Heartbeat", undefined)();

  assert.is(book.count("Heartbeat"), 25_000);
  assert.ok(book.calls().length <= 11_000);
  assert.is(book.open("Heartbeat"), 0);
});

test.run();
