import { Code } from "@connectrpc/connect";
import { fullJitter } from "../../src/streams/backoff.ts";
import { reconnect } from "../../src/streams/reconnect.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { seeded } from "../../src/testing/random.ts";
import { cut, script } from "../../src/testing/script.ts";
import { assert, rejects, suite } from "../harness.ts";
import { messageOf } from "../jwt.ts";

const test = suite("backoff");

/** The highest draw there is below 1. */
const almostOne = 1 - 2 ** -53;

/** How far counts are from even, as Pearson has it. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

/** How many of so many draws fall into each of 20 equal parts of the window. */
function histogram(draw: () => number, windowMs: number, draws = 20_000): number[] {
  const counts = Array.from({ length: 20 }, () => 0);
  for (let count = 0; count < draws; count++) {
    const part = Math.floor((draw() / windowMs) * 20);
    counts[part] = (counts[part] ?? NaN) + 1;
  }
  return counts;
}

/** With 20 parts, even draws stay below this in 999 of 1000 cases; the seed decides which case ours is. */
const limit = 43.82;

test("B1: draws evenly from the whole window, whatever the number of failures", () => {
  for (
    const [failures, windowMs] of [[1, 1000], [2, 2000], [3, 4000], [5, 16_000], [6, 30_000], [50, 30_000]] as const
  ) {
    const backoff = fullJitter({ random: seeded(failures) });

    const counts = histogram(() => backoff(failures), windowMs);

    assert.is(counts.length, 20, `a wait fell outside of [0, ${windowMs})`);
    assert.ok(chiSquare(counts) < limit, `after ${failures} failures: ${chiSquare(counts)} of ${counts.join(" ")}`);
  }
});

test("B1: the test of evenness would notice half a window, and a lopsided one", () => {
  const random = seeded(1);
  const [half, lopsided] = [() => 500 + random() * 500, () => 1000 * random() ** 1.1];

  assert.ok(chiSquare(histogram(half, 1000)) > limit);
  assert.ok(chiSquare(histogram(lopsided, 1000)) > limit);
});

test("B1: the same seed waits the same times", () => {
  const [one, other] = [7, 7].map((seed) => fullJitter({ random: seeded(seed) }));
  const failures = Array.from({ length: 100 }, (_, index) => index + 1);

  assert.equal(failures.map(one!), failures.map(other!));
});

test("X1: waits within a window that doubles with each failure, from the very first", () => {
  const [least, most] = [fullJitter({ random: () => 0 }), fullJitter({ random: () => almostOne })];

  for (const [failures, windowMs] of [[1, 1000], [2, 2000], [3, 4000], [4, 8000], [5, 16_000]] as const) {
    assert.is(least(failures), 0);
    assert.ok(most(failures) < windowMs && most(failures) > windowMs * 0.999_999, `${failures}: ${most(failures)}`);
  }
});

test("X2: never waits longer than 30 s, however many failures", () => {
  const most = fullJitter({ random: () => 1 });

  for (const failures of [6, 7, 10, 100, 1023, 1024, 1025, 100_000, Number.MAX_SAFE_INTEGER, Infinity]) {
    assert.is(most(failures), 30_000);
  }
});

test("G2: has the reference client's windows for calls: 5 s, 10 s, and the cap at try 99", () => {
  const most = fullJitter({ baseMs: 5000, capMs: 80_000, random: () => 1 });
  const least = fullJitter({ baseMs: 5000, capMs: 80_000, random: () => 0 });

  assert.equal([1, 2, 3, 4, 5, 6, 99].map(most), [5000, 10_000, 20_000, 40_000, 80_000, 80_000, 80_000]);
  assert.equal([1, 2, 99].map(least), [0, 0, 0]);
});

test("X4: a stream that waits to be opened again ends at once with its signal's reason", async () => {
  const clock = new VirtualClock();
  const controller = new AbortController();
  const reason = new Error("enough");
  const engine = script<string>(clock, [cut(Code.Unavailable)]);
  const backoff = fullJitter({ baseMs: 10_000, random: () => 1 });
  const stream = reconnect(engine.open, { clock, backoff, signal: controller.signal });

  const reading = stream.next();
  await clock.pass(4000);
  controller.abort(reason);

  assert.is(await rejects(clock.drive(reading)), reason);
  assert.is(clock.now(), 4000);
  assert.equal(engine.openedAt, [0]);
  assert.is(clock.asleep, 0);
});

test("takes a count of failures below one for the first", () => {
  const most = fullJitter({ random: () => 1 });

  assert.equal([0, -1, -Infinity].map(most), [1000, 1000, 1000]);
});

test("multiplies by whatever factor, one included, and starts no wider than the cap", () => {
  const [even, steep, capped] = [
    fullJitter({ factor: 1, random: () => 1 }),
    fullJitter({ baseMs: 1, factor: 10, random: () => 1 }),
    fullJitter({ baseMs: 60_000, random: () => 1 }),
  ];

  assert.equal([1, 2, 50].map(even), [1000, 1000, 1000]);
  assert.equal([1, 2, 3, 6].map(steep), [1, 10, 100, 30_000]);
  assert.is(capped(1), 30_000);
});

test("draws once a wait, and anew for each", () => {
  const draws = [0.25, 0.5];
  const backoff = fullJitter({ random: () => draws.shift() ?? NaN });

  assert.equal([backoff(1), backoff(1)], [250, 500]);
  assert.is(draws.length, 0);
});

test("draws by itself when it is given no chance", () => {
  const backoff = fullJitter();
  const waits = Array.from({ length: 20 }, () => backoff(1));

  assert.ok(waits.every((ms) => ms >= 0 && ms < 1000));
  assert.ok(new Set(waits).size > 1);
});

for (const name of ["baseMs", "capMs"]) {
  test(`refuses a ${name} that is no length of time`, () => {
    for (const value of [0, -1, NaN, -Infinity]) {
      assert.is(messageOf(() => fullJitter({ [name]: value })), `${name} must be above 0, got ${value}`);
      assert.throws(() => fullJitter({ [name]: value }), (error: unknown) => error instanceof RangeError);
    }
  });
}

test("refuses a factor that would make waits shorter", () => {
  for (const factor of [0.99, 0, -2, NaN]) {
    assert.is(messageOf(() => fullJitter({ factor })), `factor must be at least 1, got ${factor}`);
    assert.throws(() => fullJitter({ factor }), (error: unknown) => error instanceof RangeError);
  }
});

test.run();
