import { VirtualClock } from "../../src/testing/clock.ts";
import { seeded } from "../../src/testing/random.ts";
import { assert, rejects, suite } from "../harness.ts";
import { watched } from "../watched.ts";

const test = suite("virtual clock");

test("leaps over an hour of sleeps, one after another", async () => {
  const clock = new VirtualClock();
  const times: number[] = [];

  await clock.drive(async () => {
    for (let minute = 0; minute < 60; minute++) {
      await clock.sleep(60_000);
      times.push(clock.now());
    }
  });

  assert.equal(times, Array.from({ length: 60 }, (_, index) => (index + 1) * 60_000));
});

test("starts when it is told to, and stands still unless driven", async () => {
  const clock = new VirtualClock(500);

  void clock.sleep(10);
  await new Promise((resolve) => setImmediate(resolve));

  assert.is(clock.now(), 500);
  assert.is(clock.asleep, 1);
});

test("gives back what the work brings, or throws what it throws, at once or later", async () => {
  const clock = new VirtualClock();
  const failure = new Error("no");

  assert.is(await clock.drive(Promise.resolve(7)), 7);
  assert.is(await clock.drive(async () => (await clock.sleep(5), 8)), 8);
  assert.is(await rejects(clock.drive(Promise.reject(failure))), failure);
  assert.is(await rejects(clock.drive(() => clock.sleep(5).then(() => Promise.reject(failure)))), failure);
  const thrower = () => {
    throw failure;
  };
  assert.is(await rejects(clock.drive(thrower)), failure);
});

test("wakes sleepers by when they are due, and those due together in the order they lay down", async () => {
  const clock = new VirtualClock();
  const woken: string[] = [];
  const sleeper = async (name: string, ms: number) => {
    await clock.sleep(ms);
    woken.push(`${name}@${clock.now()}`);
  };

  await clock.drive(Promise.all([sleeper("c", 30), sleeper("a", 10), sleeper("b1", 20), sleeper("b2", 20)]));

  assert.equal(woken, ["a@10", "b1@20", "b2@20", "c@30"]);
});

test("keeps a thousand sleepers in order, a third of whom leave", async () => {
  const clock = new VirtualClock();
  const random = seeded(3);
  const woken: { readonly at: number; readonly order: number }[] = [];
  const sleeping = Array.from({ length: 1000 }, async (_, order) => {
    const ms = Math.floor(random() * 300);
    const controller = new AbortController();
    const asleep = clock.sleep(ms, controller.signal).then(() => woken.push({ at: clock.now(), order }));
    if (order % 3 === 0) controller.abort();
    await asleep.catch(() => {});
    if (order % 3 !== 0) assert.is(clock.now(), ms);
  });

  await clock.drive(Promise.all(sleeping));

  assert.is(woken.length, 666);
  for (const [index, { at, order }] of woken.slice(1).entries()) {
    const before = woken[index]!;
    assert.ok(before.at < at || (before.at === at && before.order < order));
  }
  assert.is(clock.asleep, 0);
});

test("wakes who lies down again in the same instant before time goes on", async () => {
  const clock = new VirtualClock();
  const times: number[] = [];

  await clock.drive(Promise.all([
    clock.sleep(10).then(() => clock.sleep(0)).then(() => times.push(clock.now())),
    clock.sleep(11).then(() => times.push(clock.now())),
  ]));

  assert.equal(times, [10, 11]);
});

test("takes a time in the past for now, and never goes back", async () => {
  const clock = new VirtualClock(100);
  const woken: string[] = [];

  await clock.drive(Promise.all([
    clock.sleep(0).then(() => woken.push("now")),
    clock.sleep(-50).then(() => woken.push("before")),
  ]));

  assert.equal(woken, ["now", "before"]);
  assert.is(clock.now(), 100);
});

test("refuses a time that is no number", async () => {
  const clock = new VirtualClock();

  const error = await rejects(clock.sleep(NaN), RangeError);

  assert.is(error.message, "A sleep must last a number of milliseconds, got NaN");
  assert.is(clock.asleep, 0);
});

test("wakes a sleeper early when its signal aborts, with the signal's own reason, and without time going on", async () => {
  const clock = new VirtualClock();
  const controller = new AbortController();
  const reason = new Error("enough");
  const sleeping = clock.sleep(1000, controller.signal);

  controller.abort(reason);

  assert.is(await rejects(clock.drive(sleeping)), reason);
  assert.is(await rejects(clock.sleep(1000, controller.signal)), reason);
  assert.is(clock.now(), 0);
  assert.is(clock.asleep, 0);
});

test("does not go on to a time when nobody is due any more", async () => {
  const clock = new VirtualClock();
  const controller = new AbortController();
  const left = rejects(clock.sleep(10, controller.signal), (reason) => reason === "enough");

  controller.abort("enough");
  await left;
  const error = await rejects(clock.drive(new Promise(() => {})));

  assert.is(error.message, "stuck at 0 ms, nobody asleep");
});

test("leaves nothing on a signal once slept through", async () => {
  const clock = new VirtualClock();
  const { listening, signal } = watched();

  await clock.drive(Promise.all(Array.from({ length: 50 }, (_, ms) => clock.sleep(ms, signal))));

  assert.is(listening(), 0);
});

test("passes a time with everything that happens in it, its last moment included", async () => {
  const clock = new VirtualClock();
  const times: number[] = [];
  void (async () => {
    for (;;) {
      await clock.sleep(10);
      times.push(clock.now());
    }
  })();

  await clock.pass(30);

  assert.equal(times, [10, 20, 30]);
  assert.is(clock.now(), 30);
});

test("says when it is stuck: work waits, and nobody sleeps", async () => {
  const clock = new VirtualClock();

  const error = await rejects(clock.drive(() => clock.sleep(70).then(() => new Promise(() => {}))));

  assert.is(error.message, "stuck at 70 ms, nobody asleep");
});

test("is not stuck while callbacks follow one another without a sleep", async () => {
  const clock = new VirtualClock();
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

  await clock.drive(async () => {
    await turn();
    await turn();
    await clock.sleep(5);
    await turn();
    await turn();
  });

  assert.is(clock.now(), 5);
});

test("says when work goes on beyond a day, or beyond what it is given", async () => {
  const forEver = (clock: VirtualClock) => async () => {
    for (;;) await clock.sleep(3_600_000);
  };
  const [day, minute] = [new VirtualClock(), new VirtualClock(1000)];

  const overDay = await rejects(day.drive(forEver(day)));
  const overMinute = await rejects(minute.drive(forEver(minute), 60_000));

  assert.is(overDay.message, "still going at 90000000 ms");
  assert.is(overMinute.message, "still going at 3601000 ms");
});

test("takes work that ends at the last moment it is given", async () => {
  const clock = new VirtualClock(1000);

  await clock.drive(clock.sleep(60_000), 60_000);

  assert.is(clock.now(), 61_000);
});

test("counts who is asleep", async () => {
  const clock = new VirtualClock();
  const controller = new AbortController();
  const sleepers = [clock.sleep(5), clock.sleep(10), clock.sleep(15, controller.signal).catch(() => {})];

  assert.is(clock.asleep, 3);
  await clock.pass(7);
  assert.is(clock.asleep, 2);
  controller.abort();
  assert.is(clock.asleep, 1);
  await clock.drive(Promise.all(sleepers));
  assert.is(clock.asleep, 0);
});

test.run();
