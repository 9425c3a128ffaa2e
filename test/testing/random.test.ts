import { seeded } from "../../src/testing/random.ts";
import { assert, suite } from "../harness.ts";

const test = suite("random");

function draws(seed: number, count: number): number[] {
  return Array.from({ length: count }, seeded(seed));
}

test("draws what mulberry32 draws, on every runtime", () => {
  assert.equal(draws(0, 3), [0.26642920868471265, 0.0003297457005828619, 0.2232720274478197]);
  assert.equal(draws(42, 3), [0.6011037519201636, 0.44829055899754167, 0.8524657934904099]);
});

test("repeats itself for the same seed, and for no other", () => {
  assert.equal(draws(1, 1000), draws(1, 1000));
  assert.not.equal(draws(1, 10), draws(2, 10));
});

test("is of its own: two that are drawn from in turn do not disturb each other", () => {
  const [one, other] = [seeded(1), seeded(1)];
  const mixed: number[] = [];

  for (let count = 0; count < 10; count++) {
    mixed.push(one());
    for (let more = 0; more < count; more++) other();
  }

  assert.equal(mixed, draws(1, 10));
});

test("draws from 0 to below 1, evenly", () => {
  const counts = Array.from({ length: 20 }, () => 0);

  for (const draw of draws(7, 40_000)) counts[Math.floor(draw * 20)]!++;

  assert.is(counts.length, 20, "a draw was outside of [0, 1)");
  const chiSquare = counts.reduce((sum, count) => sum + (count - 2000) ** 2 / 2000, 0);
  assert.ok(chiSquare < 43.82, `${chiSquare}: ${counts.join(" ")}`);
});

test("draws without a bond between one draw and the next", () => {
  const values = draws(11, 20_000);

  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const bond = values.slice(1).reduce((sum, value, index) => sum + (value - mean) * (values[index]! - mean), 0);
  assert.ok(Math.abs(bond / values.length / (1 / 12)) < 0.03, String(bond));
});

test("takes any number for a seed", () => {
  for (const seed of [-1, 2 ** 40, 1.5, NaN, Infinity]) {
    const values = draws(seed, 100);

    assert.ok(values.every((value) => value >= 0 && value < 1), String(seed));
    assert.equal(values, draws(seed, 100));
  }
});

test.run();
