import { after, sleep, systemClock } from "../../src/streams/clock.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { assert, rejects, suite } from "../harness.ts";
import { watched } from "../watched.ts";

const test = suite("clock");

const never = new AbortController().signal;

interface Timer {
  readonly ms: number;
  readonly fire: () => void;
  cleared: boolean;
  unrefs: number;
}

/** Stands in for the runtime's timers and its time; timers are objects as on Node, or numbers as in a browser. */
async function onFakeTimers(
  act: (timers: Timer[], pass: (ms: number) => void) => Promise<void>,
  asNumbers = false,
): Promise<void> {
  const { setTimeout, clearTimeout } = globalThis;
  const now = performance.now.bind(performance);
  const timers: Timer[] = [];
  let ms = 1000;
  const start = (fire: () => void, ms: number) => {
    const timer = { ms, fire, cleared: false, unrefs: 0, unref: () => void timer.unrefs++ };
    timers.push(timer);
    return asNumbers ? timers.length - 1 : timer;
  };
  const clear = (timer: Timer | number) => {
    const found = typeof timer === "number" ? timers[timer] : timer;
    if (found !== undefined) found.cleared = true;
  };
  Object.assign(globalThis, { setTimeout: start, clearTimeout: clear });
  Object.defineProperty(performance, "now", { configurable: true, value: () => ms, writable: true });
  try {
    await act(timers, (more) => {
      ms += more;
    });
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout });
    Object.defineProperty(performance, "now", { configurable: true, value: now, writable: true });
  }
}

/** Whether a promise has settled, as far as microtasks tell. */
async function state(promise: Promise<unknown>): Promise<string> {
  let settled = "pending";
  promise.then(() => settled = "resolved", () => settled = "rejected");
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  return settled;
}

test("sleeps on one timer of the runtime's, and no shorter", async () => {
  await onFakeTimers(async (timers) => {
    const sleeping = sleep(1500);

    assert.equal(timers.map(({ ms }) => ms), [1500]);
    assert.is(await state(sleeping), "pending");
    timers[0]!.fire();
    assert.is(await state(sleeping), "resolved");
    assert.is(timers.length, 1);
  });
});

test("B6: a sleep on a cancelled signal rejects at once with its reason, and starts no timer", async () => {
  await onFakeTimers(async (timers) => {
    const { abort, listening, signal } = watched();
    const reason = new Error("enough");
    abort(reason);

    assert.is(await rejects(sleep(1000, signal)), reason);
    assert.is(timers.length, 0);
    assert.is(listening(), 0);
  });
});

test("X3: a sleep that is cancelled while it lasts rejects with the signal's reason, and clears its timer", async () => {
  await onFakeTimers(async (timers) => {
    const { abort, signal } = watched();
    const reason = new Error("enough");
    const sleeping = sleep(1000, signal);

    abort(reason);

    assert.is(await rejects(sleeping), reason);
    assert.ok(timers[0]!.cleared);
  });
});

test("B7: a sleep of no time returns without an error", async () => {
  await onFakeTimers(async (timers) => {
    const sleeping = sleep(0, never);

    assert.is(timers[0]!.ms, 0);
    timers[0]!.fire();
    assert.is(await sleeping, undefined);
  });
});

test("takes a time in the past for none", async () => {
  await onFakeTimers(async (timers) => {
    const sleeping = sleep(-1e9);

    assert.is(timers[0]!.ms, 0);
    timers[0]!.fire();
    assert.is(await state(sleeping), "resolved");
  });
});

test("refuses a time that is no number, which a timer would take for none", async () => {
  await onFakeTimers(async (timers) => {
    const error = await rejects(sleep(NaN, never), RangeError);

    assert.is(error.message, "A sleep must last a number of milliseconds, got NaN");
    assert.is(timers.length, 0);
  });
});

test("leaves nothing on the signal, slept through or not", async () => {
  await onFakeTimers(async (timers) => {
    const { listening, signal } = watched();

    const sleeping = Array.from({ length: 100 }, () => sleep(1, signal));
    assert.is(listening(), 1);
    for (const timer of timers) timer.fire();
    await Promise.all(sleeping);

    assert.is(listening(), 0);
  });
});

test("sleeps longer than any timer can, and wakes when it is time", async () => {
  await onFakeTimers(async (timers, pass) => {
    const longestMs = 2 ** 31 - 1;
    const sleeping = sleep(2 * longestMs + 5000);

    for (const waitedMs of [longestMs, longestMs]) {
      pass(waitedMs);
      timers.at(-1)!.fire();
      assert.is(await state(sleeping), "pending");
    }
    assert.equal(timers.map(({ ms }) => Math.round(ms)), [longestMs, longestMs, 5000]);
    timers.at(-1)!.fire();
    assert.is(await state(sleeping), "resolved");
  });
});

test("a long sleep is cancelled on whichever timer it is", async () => {
  await onFakeTimers(async (timers, pass) => {
    const { abort, listening, signal } = watched();
    const sleeping = sleep(Infinity, signal);
    for (let times = 0; times < 3; times++) {
      pass(2 ** 31 - 1);
      timers.at(-1)!.fire();
    }

    abort("enough");

    assert.is(await state(sleeping), "rejected");
    assert.equal(timers.map(({ cleared }) => cleared), [false, false, false, true]);
    assert.ok(timers.every(({ ms }) => ms === 2 ** 31 - 1));
    assert.is(listening(), 0);
  });
});

test("holds the process, unless told to let it go, on every timer it needs", async () => {
  await onFakeTimers(async (timers, pass) => {
    void sleep(5);
    void sleep(5, never, {});
    void sleep(5, never, { ref: true });
    void sleep(5, never, { ref: false });
    assert.equal(timers.map(({ unrefs }) => unrefs), [0, 0, 0, 1]);

    void sleep(2 ** 31, never, { ref: false });
    pass(2 ** 31 - 1);
    timers.at(-1)!.fire();
    assert.equal(timers.slice(4).map(({ unrefs }) => unrefs), [1, 1]);
  });
});

test("sleeps where timers are numbers, which hold no process", async () => {
  await onFakeTimers(async (timers) => {
    const { abort, signal } = watched();
    const [through, cut] = [sleep(5, undefined, { ref: false }), sleep(5, signal, { ref: false })];

    timers[0]!.fire();
    abort("enough");

    assert.equal([await state(through), await state(cut)], ["resolved", "rejected"]);
    assert.ok(timers[1]!.cleared);
  }, true);
});

test("tells the time since the epoch, which never goes back", () => {
  const times = Array.from({ length: 1000 }, () => systemClock.now());

  assert.ok(times.every((time, index) => index === 0 || time >= times[index - 1]!));
  assert.ok(Math.abs(times[0]! - Date.now()) < 60_000, "within a minute of the wall clock");
});

test("after() acts when it is time, once", async () => {
  const clock = new VirtualClock();
  const acted: number[] = [];
  after(clock, 500, never, () => acted.push(clock.now()));

  await clock.pass(499);
  assert.equal(acted, []);
  await clock.pass(1000);

  assert.equal(acted, [500]);
});

test("after() does not act once its signal has aborted, and says nothing about it", async () => {
  const clock = new VirtualClock();
  const { abort, listening, signal } = watched();
  let acted = 0;
  after(clock, 500, signal, () => acted++);

  abort(new Error("enough"));
  after(clock, 500, signal, () => acted++);
  await clock.pass(1000);

  assert.is(acted, 0);
  assert.is(clock.asleep, 0);
  assert.is(listening(), 0);
});

test("after() never holds the process", () => {
  const seen: unknown[] = [];
  const clock = {
    now: () => 0,
    sleep: (...args: unknown[]) => {
      seen.push(args);
      return new Promise<void>(() => {});
    },
  };

  after(clock, 500, never, () => {});

  assert.equal(seen, [[500, never, { ref: false }]]);
});

test.run();
