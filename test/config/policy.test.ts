import { resolveKeepAlive, resolveRetry } from "../../src/config/policy.ts";
import type { ClientRetryOptions, KeepAliveOptions } from "../../src/config/policy.ts";
import { assert, suite } from "../harness.ts";
import { messageOf } from "../jwt.ts";

const test = suite("policy");

const flags = { noCallRetry: false, noRestRetry: false };
const untyped = (value: unknown) => value as ClientRetryOptions & KeepAliveOptions; // What a caller without types may pass.

test("asks the engine every 10 s whether it lives, and gives it 5 s, unless told otherwise", () => {
  assert.equal(resolveKeepAlive(undefined, "engine"), { intervalMs: 10_000, timeoutMs: 5000 });
  assert.equal(resolveKeepAlive({ intervalMs: undefined }, "engine"), { intervalMs: 10_000, timeoutMs: 5000 });
  assert.equal(resolveKeepAlive({ intervalMs: 5000, timeoutMs: 1 }, "engine"), { intervalMs: 5000, timeoutMs: 1 });
});

test("never asks when told not to", () => {
  assert.is(resolveKeepAlive(false, "engine").intervalMs, Infinity);
});

test("refuses to ask more often than the engine bears, except one on this machine", () => {
  const rule = "keepAlive.intervalMs must be at least 5000, got 4999: the engine hangs up on whoever asks more often";
  for (const host of ["engine", "10.0.0.1", undefined]) {
    assert.is(messageOf(() => resolveKeepAlive({ intervalMs: 4999 }, host)), rule);
    assert.throws(() => resolveKeepAlive({ intervalMs: 4999 }, host), (error: unknown) => error instanceof RangeError);
  }
  for (const host of ["localhost", "::1", "127.0.0.1"]) {
    assert.is(resolveKeepAlive({ intervalMs: 20 }, host).intervalMs, 20);
  }
});

test("refuses intervals that are none, even on this machine", () => {
  for (const [value, shown] of [[0, "0"], [-1, "-1"], [NaN, "NaN"]] as const) {
    for (const key of ["intervalMs", "timeoutMs"]) {
      const message = messageOf(() => resolveKeepAlive({ [key]: value }, "localhost"));
      assert.is(message, `keepAlive.${key} must be above 0, got ${shown}`);
    }
  }
  assert.is(
    messageOf(() => resolveKeepAlive(untyped({ intervalMs: "9000" }), "h")),
    "keepAlive.intervalMs must be a number, got string",
  );
  assert.is(messageOf(() => resolveKeepAlive(untyped(true), "h")), "keepAlive must be an object, got true");
  assert.is(messageOf(() => resolveKeepAlive(untyped(null), "h")), "keepAlive must be an object, got null");
});

test("changes of the ways to try again only what it is told", () => {
  const policy = resolveRetry({ capMs: 20_000, setupAttempts: 3, baseMs: undefined }, flags);

  assert.equal(policy, {
    firstDelayMs: 2000,
    capMs: 20_000,
    slowCapMs: 60_000,
    connectTimeoutMs: 5000,
    baseMs: 1000,
    setupAttempts: 3,
    callAttempts: 3,
    restAttempts: 5,
    maxSuspects: 10,
  });
});

test("tries calls and reads once when the environment says so, and as often as an option says before that", () => {
  const once = resolveRetry({}, { noCallRetry: true, noRestRetry: true });
  const told = resolveRetry({ callAttempts: 7, restAttempts: 8 }, { noCallRetry: true, noRestRetry: true });

  assert.equal([once.callAttempts, once.restAttempts, once.setupAttempts], [1, 1, 5]);
  assert.equal([told.callAttempts, told.restAttempts], [7, 8]);
});

for (
  const key of [
    "firstDelayMs",
    "capMs",
    "slowCapMs",
    "connectTimeoutMs",
    "baseMs",
    "setupAttempts",
    "callAttempts",
    "restAttempts",
    "maxSuspects",
  ]
) {
  test(`refuses what makes no sense as ${key}`, () => {
    for (const value of [0, -5, NaN]) {
      const act = () => resolveRetry({ [key]: value }, flags);
      assert.is(messageOf(act), `retry.${key} must be above 0, got ${value}`);
      assert.throws(act, (error: unknown) => error instanceof RangeError);
    }
    for (const value of ["5", null, 5n]) {
      const act = () => resolveRetry(untyped({ [key]: value }), flags);
      assert.is(messageOf(act), `retry.${key} must be a number, got ${typeof value}`);
      assert.throws(act, (error: unknown) => error instanceof TypeError);
    }
    assert.is(messageOf(() => resolveRetry({ [key]: Infinity }, flags)), "nothing thrown");
  });
}

test("refuses ways to try again that are no object", () => {
  assert.is(messageOf(() => resolveRetry(untyped(null), flags)), "retry must be an object, got null");
  assert.is(messageOf(() => resolveRetry(untyped(false), flags)), "retry must be an object, got false");
});

test.run();
