import { SingleFlight } from "../../src/streams/mod.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("singleflight");

/** A call that lands when the test says so. */
class Call {
  made = 0;
  signals: AbortSignal[] = [];
  land: (value: string) => void = () => {};
  crash: (error: unknown) => void = () => {};

  readonly make = (signal: AbortSignal): Promise<string> => {
    this.made++;
    this.signals.push(signal);
    return new Promise((resolve, reject) => {
      this.land = resolve;
      this.crash = reject;
    });
  };
}

test("R8: ten callers are one call, and share its outcome", async () => {
  const flights = new SingleFlight<string, string>();
  const call = new Call();

  const callers = Array.from({ length: 10 }, () => flights.do("connect", call.make));
  assert.is(flights.size, 1);
  call.land("up");

  assert.equal(await Promise.all(callers), Array(10).fill("up"));
  assert.is(call.made, 1);
  assert.is(flights.size, 0);
});

test("R8: ten callers share a failure as they share a success, and the next caller tries anew", async () => {
  const flights = new SingleFlight<string, string>();
  const call = new Call();
  const down = new Error("down");

  const callers = Array.from({ length: 10 }, () => flights.do("connect", call.make));
  call.crash(down);
  const outcomes = await Promise.allSettled(callers);
  const next = flights.do("connect", call.make);
  call.land("up");

  for (const outcome of outcomes) assert.is(outcome.status === "rejected" && outcome.reason, down);
  assert.is(await next, "up");
  assert.is(call.made, 2);
});

test("different keys are different calls", async () => {
  const flights = new SingleFlight<string, string>();
  const [one, other] = [new Call(), new Call()];

  const callers = [flights.do("a", one.make), flights.do("b", other.make)];
  assert.is(flights.size, 2);
  one.land("1");
  other.land("2");

  assert.equal(await Promise.all(callers), ["1", "2"]);
});

test("a caller that aborts hears at once, and the call goes on for the others", async () => {
  const flights = new SingleFlight<string, string>();
  const call = new Call();
  const leaver = new AbortController();
  const reason = { my: "own" };
  const first = flights.do("a", call.make, leaver.signal);
  const second = flights.do("a", call.make, new AbortController().signal);
  const third = flights.do("a", call.make);

  leaver.abort(reason);

  await rejects(first, (error) => error === reason);
  assert.is(call.signals[0]?.aborted, false);
  call.land("1");
  assert.equal(await Promise.all([second, third]), ["1", "1"]);
  assert.is(call.made, 1);
});

test("the last caller to leave aborts the call with its reason, and a new caller makes a new one", async () => {
  const flights = new SingleFlight<string, string>();
  const call = new Call();
  const leavers = [new AbortController(), new AbortController()];
  const callers = leavers.map(({ signal }) => flights.do("a", call.make, signal));

  leavers[0]?.abort("first");
  assert.is(call.signals[0]?.aborted, false);
  leavers[1]?.abort("last");

  assert.is(call.signals[0]?.aborted, true);
  assert.is(call.signals[0]?.reason, "last");
  assert.is(flights.size, 0);
  call.crash(new Error("nobody is left to hear this"));
  const next = flights.do("a", call.make);
  call.land("2");
  assert.is(await next, "2");
  const outcomes = await Promise.allSettled(callers);
  assert.equal(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason), ["first", "last"]);
  assert.is(call.made, 2);
});

test("a call that lands after all have left does not take a later one's place", async () => {
  const flights = new SingleFlight<string, string>();
  const [old, young] = [new Call(), new Call()];
  const leaver = new AbortController();
  const left = flights.do("a", old.make, leaver.signal);
  leaver.abort("left");
  const first = flights.do("a", young.make);

  old.land("old");
  await rejects(left, (error) => error === "left");
  const second = flights.do("a", young.make);
  young.land("young");

  assert.equal(await Promise.all([first, second]), ["young", "young"]);
  assert.is(young.made, 1);
  assert.is(flights.size, 0);
});

test("a caller without a signal never leaves", async () => {
  const flights = new SingleFlight<string, string>();
  const call = new Call();
  const leaver = new AbortController();
  const stays = flights.do("a", call.make);
  const leaves = flights.do("a", call.make, leaver.signal);

  leaver.abort("left");
  call.land("1");

  await rejects(leaves, (error) => error === "left");
  assert.is(await stays, "1");
  assert.is(call.signals[0]?.aborted, false);
});

test("whoever comes with an aborted signal makes and joins no call", async () => {
  const flights = new SingleFlight<string, string>();
  const call = new Call();

  await rejects(flights.do("a", call.make, AbortSignal.abort("no")), (error) => error === "no");

  assert.is(call.made, 0);
  assert.is(flights.size, 0);
});

test("a call that throws at once is a rejection", async () => {
  const flights = new SingleFlight<string, string>();

  const error = await rejects(
    flights.do("a", () => {
      throw new TypeError("at once");
    }),
    TypeError,
  );

  assert.is(error.message, "at once");
  assert.is(flights.size, 0);
});

test("an abort after the landing changes nothing", async () => {
  const flights = new SingleFlight<string, string>();
  const call = new Call();
  const leaver = new AbortController();
  const caller = flights.do("a", call.make, leaver.signal);

  call.land("1");
  assert.is(await caller, "1");
  leaver.abort("late");

  assert.is(call.signals[0]?.aborted, false);
});

test.run();
