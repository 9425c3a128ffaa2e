import { systemClock } from "../../src/streams/clock.ts";
import { resolve } from "../../src/streams/options.ts";
import type { StreamOptions } from "../../src/streams/options.ts";
import { reconnect } from "../../src/streams/reconnect.ts";
import { originOf } from "../../src/streams/verdict.ts";
import { assert, suite } from "../harness.ts";

const test = suite("options");

const ending = { alone: false, error: undefined, origin: "engine", wasLive: false, heard: false, sent: true } as const;

test("every option has a default", () => {
  const policy = resolve({});

  assert.is(policy.clock, systemClock);
  assert.is(policy.origin, originOf);
  assert.equal(
    [policy.maxSuspects, policy.steadyMs, policy.setupAttempts, policy.priority],
    [10, 10_000, Infinity, 0],
  );
  assert.equal([policy.ready, policy.gate], [undefined, undefined]);
  assert.is(policy.judge("suspect", ending), "suspect");
  assert.is(policy.onEnd(), "transient");
});

test("undefined means the default", () => {
  const given: StreamOptions = {
    clock: undefined,
    random: undefined,
    backoff: undefined,
    maxSuspects: undefined,
    steadyMs: undefined,
    setupAttempts: undefined,
    judge: undefined,
    origin: undefined,
    onEnd: undefined,
    ready: undefined,
    gate: undefined,
    priority: undefined,
    onStatus: undefined,
    onIn: undefined,
    signal: undefined,
  };

  const policy = resolve(given);

  assert.is(policy.clock, systemClock);
  assert.equal(
    [policy.maxSuspects, policy.steadyMs, policy.setupAttempts, policy.priority],
    [10, 10_000, Infinity, 0],
  );
  assert.is(policy.onEnd(), "transient");
});

test("the default back-off draws its windows from the chance given: 1 s, doubling, no wider than 30 s", () => {
  const { backoff } = resolve({ random: () => 1 });

  const windows = [1, 2, 3, 4, 5, 6, 7, 100].map(backoff);

  assert.equal(windows, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test("a number that makes no sense is refused at once, naming option, rule and value", () => {
  const refused: readonly (readonly [StreamOptions, string])[] = [
    [{ maxSuspects: 0 }, "maxSuspects must be above 0, got 0"],
    [{ maxSuspects: NaN }, "maxSuspects must be above 0, got NaN"],
    [{ steadyMs: -1 }, "steadyMs must be above 0, got -1"],
    [{ setupAttempts: 0 }, "setupAttempts must be above 0, got 0"],
    [{ priority: NaN }, "priority must be a number, got NaN"],
  ];

  for (const [options, message] of refused) {
    let opened = 0;
    const open = () => {
      opened++;
      throw new Error("opened");
    };

    assert.throws(() => reconnect(open, options), (error: unknown) => {
      return error instanceof RangeError && error.message === message;
    });
    assert.is(opened, 0);
  }
});

test.run();
