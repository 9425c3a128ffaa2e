import { Patience } from "../../src/listeners/patience.ts";
import { assert, suite } from "../harness.ts";

const test = suite("patience");

/** What is known after these cuts, in milliseconds. */
function after(...cuts: readonly number[]): number {
  const patience = new Patience();
  for (const idleMs of cuts) patience.cut(idleMs);
  return patience.ms;
}

test("is three minutes until something is known", () => {
  assert.equal([after(), after(60_000)], [180_000, 180_000]);
});

test("is four fifths of the idle time after which two streams in a row were cut", () => {
  assert.equal([after(60_000, 61_000), after(60_000, 50_000), after(90_000, 30_000, 29_000)], [48_000, 40_000, 23_200]);
});

test("learns nothing from cuts that are not alike, nor from any that came soon", () => {
  assert.equal([after(60_000, 30_000), after(5000, 5000), after(60_000, 2000, 60_000)], [180_000, 180_000, 180_000]);
});

test("is never more than three minutes, and follows a limit that changed", () => {
  assert.equal([after(600_000, 600_000), after(60_000, 60_000, 30_000, 30_000)], [180_000, 24_000]);
});

test.run();
