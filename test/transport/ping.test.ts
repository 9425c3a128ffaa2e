import { VirtualClock } from "../../src/testing/clock.ts";
import type { Peer } from "../../src/transport/ping.ts";
import { keepAlive } from "../../src/transport/ping.ts";
import { assert, suite } from "../harness.ts";

const test = suite("ping");

/** A peer that is asked, and what became of whoever asks it: `dead`, or the reason with which that was stopped. */
function asking(answersIn: (asked: number) => number) {
  const clock = new VirtualClock();
  const life = new AbortController();
  const askedAt: number[] = [];
  const peer = {
    received: 0,
    ask(answered: () => void) {
      const ms = answersIn(askedAt.push(clock.now()));
      if (ms !== Infinity) void clock.sleep(ms).then(answered);
    },
  } satisfies Peer;
  const fate = { text: "asking", atMs: 0 };
  const end = (text: string) => Object.assign(fate, { text, atMs: clock.now() });
  keepAlive(peer, { clock, intervalMs: 1000, timeoutMs: 500 }, life.signal).then(
    () => end("dead"),
    (reason: unknown) => end(String(reason)),
  );
  return { clock, life, peer, askedAt, fate };
}

test("asks an interval after each answer, for as long as it is answered", async () => {
  const { clock, askedAt, fate, life } = asking(() => 100);

  await clock.pass(4000);

  assert.equal(askedAt, [1000, 2100, 3200]);
  assert.is(fate.text, "asking");
  life.abort("over");
  await clock.pass(0);
});

test("a peer that is silent until the deadline is dead", async () => {
  const { clock, fate } = asking((asked) => asked === 1 ? 0 : Infinity);

  await clock.pass(10_000);

  assert.equal(fate, { text: "dead", atMs: 2500 });
  assert.is(clock.asleep, 0);
});

test("whatever is received is a sign of life, and the next deadline is asked for it", async () => {
  const { clock, fate, peer, askedAt } = asking(() => Infinity);

  await clock.pass(1400);
  peer.received++;
  await clock.pass(500);
  peer.received++;
  await clock.pass(10_000);

  assert.equal(askedAt, [1000]);
  assert.equal(fate, { text: "dead", atMs: 2500 });
});

test("a deadline that fires more than a tenth of a second late is believed the second time", async () => {
  const late = asking(() => Infinity);
  const inTime = asking(() => Infinity);

  await late.clock.pass(1300);
  late.clock.jump(301);
  await late.clock.pass(10_000);
  await inTime.clock.pass(1300);
  inTime.clock.jump(300);
  await inTime.clock.pass(10_000);

  assert.equal(late.fate, { text: "dead", atMs: 2101 });
  assert.equal(inTime.fate, { text: "dead", atMs: 1600 });
});

test("an end between two questions and one before the answer stop it at once, and leave no timer", async () => {
  const between = asking(() => 0);
  const before = asking(() => Infinity);

  await between.clock.pass(500);
  between.life.abort("over");
  await between.clock.pass(0);
  await before.clock.pass(1200);
  before.life.abort("over");
  await before.clock.pass(0);

  assert.equal([between.fate, before.fate], [{ text: "over", atMs: 500 }, { text: "over", atMs: 1200 }]);
  assert.equal([between.clock.asleep, before.clock.asleep], [0, 0]);
});

test.run();
