import type { Failure, Slot } from "../../src/streams/gate.ts";
import { Gate } from "../../src/streams/gate.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { seeded } from "../../src/testing/random.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("gate");

const never = new AbortController().signal;
const turn = { priority: 0, failed: false };

function opened(random: () => number = () => 1) {
  const clock = new VirtualClock();
  return { clock, gate: new Gate({ clock, random }) };
}

/** A fast failure of an attempt that was sent on nothing known. */
function failure(more: Partial<Failure> = {}): Failure {
  return { connection: undefined, healthy: false, pushbackMs: undefined, sent: true, slow: false, ...more };
}

/** Enters under a name, writes it down when let in, and gives the slot back at once. */
async function pass(gate: Gate, log: string[], name: string, priority = 0, failed = false): Promise<void> {
  const slot = await gate.enter({ priority, failed }, never);
  log.push(name);
  slot.release();
}

test("lets the first one in at once", async () => {
  const { clock, gate } = opened();

  const slot = await gate.enter(turn, never);

  assert.is(clock.now(), 0);
  assert.is(slot.timeoutMs, 5000);
  assert.is(clock.asleep, 0);
});

test("lets nobody else in until the slot is given back", async () => {
  const { clock, gate } = opened();
  const first = await gate.enter(turn, never);
  let second: Slot | undefined;
  const entering = gate.enter(turn, never).then((slot) => second = slot);
  await clock.pass(60_000);
  const before = second;

  first.release();
  await entering;

  assert.is(before, undefined);
  assert.ok(second);
});

test("a slot that is given back twice lets in one", async () => {
  const { clock, gate } = opened();
  const log: string[] = [];
  const first = await gate.enter(turn, never);
  void gate.enter(turn, never).then(() => log.push("second"));
  void gate.enter(turn, never).then(() => log.push("third"));

  first.release();
  first.release();
  await clock.pass(1);

  assert.equal(log, ["second"]);
});

test("the lower priority goes first, equals in the order they came, and who failed last goes last", async () => {
  const { clock, gate } = opened();
  const log: string[] = [];
  const first = await gate.enter(turn, never);
  const entering = [
    pass(gate, log, "failed 0", 0, true),
    pass(gate, log, "2", 2),
    pass(gate, log, "1", 1),
    pass(gate, log, "1 again", 1),
    pass(gate, log, "0", 0),
    pass(gate, log, "failed 1", 1, true),
  ];

  first.release();
  await clock.drive(Promise.all(entering));

  assert.equal(log, ["0", "1", "1 again", "2", "failed 0", "failed 1"]);
});

test("after a failure nobody is let in before the wait is over, and then those due go in order", async () => {
  const { clock, gate } = opened();
  const log: string[] = [];
  gate.failed(failure());
  const entering = [pass(gate, log, "1", 1), pass(gate, log, "0", 0)];
  await clock.pass(1999);
  const early = [...log];

  await clock.drive(Promise.all(entering));

  assert.equal(early, []);
  assert.equal(log, ["0", "1"]);
  assert.is(clock.now(), 2000);
});

test("the window doubles from 2 s with each failure, up to 10 s", () => {
  const { clock, gate } = opened();

  const delays = [1, 2, 3, 4, 5].map(() => gate.failed(failure({ sent: false })));

  assert.equal(delays, [2000, 4000, 8000, 10_000, 10_000]);
  assert.is(gate.failures, 5);
  assert.is(clock.asleep, 0);
});

test("the window of what was slow grows on, up to 60 s", () => {
  const { gate } = opened();

  const delays = [1, 2, 3, 4, 5, 6, 7].map(() => gate.failed(failure({ slow: true, sent: false })));

  assert.equal(delays, [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
});

test("a fast failure after slow ones is capped as a fast one", async () => {
  const { clock, gate } = opened();
  for (let n = 0; n < 6; n++) gate.failed(failure({ slow: true, sent: false }));
  await clock.pass(60_000);

  const delayMs = gate.failed(failure({ sent: false }));

  assert.is(delayMs, 10_000);
});

test("every delay is drawn anew from its window", () => {
  const draws = [0, 0.25, 0.5];
  const { gate } = opened(() => draws.shift()!);

  const delays = [1, 2, 3].map(() => gate.failed(failure({ sent: false })));

  assert.equal(delays, [0, 1000, 4000]);
});

test("drawn delays fill their window evenly", () => {
  const random = seeded(7);
  const tenths = Array.from({ length: 10 }, () => 0);
  for (let n = 0; n < 10_000; n++) {
    const gate = new Gate({ clock: new VirtualClock(), random });
    tenths[Math.floor(gate.failed(failure()) / 200)]!++;
  }

  const chiSquare = tenths.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);

  assert.ok(chiSquare < 27.9, `χ² ${chiSquare} on 9 degrees of freedom`); // 0.1 % of fair draws are beyond.
});

test("a second failure never shortens the wait", async () => {
  const draws = [1, 0];
  const { clock, gate } = opened(() => draws.shift()!);
  gate.failed(failure());
  await clock.pass(500);

  const left = gate.failed(failure());

  assert.is(left, 1500);
});

test("streams that die with one connection are one failure", () => {
  const { gate } = opened();
  const connection = { alive: false };

  const delays = [1, 2, 3, 4].map(() => gate.failed(failure({ connection, healthy: true })));

  assert.equal(delays, [2000, 2000, 2000, 2000]);
  assert.is(gate.failures, 1);
});

test("two connections that die are two failures", () => {
  const { gate } = opened();

  gate.failed(failure({ connection: { alive: false } }));
  gate.failed(failure({ connection: { alive: false } }));

  assert.is(gate.failures, 2);
});

test("streams that end one by one on a connection that lives are a failure each", () => {
  const { gate } = opened();
  const connection = { alive: true };

  for (let n = 0; n < 3; n++) gate.failed(failure({ connection }));

  assert.is(gate.failures, 3);
});

test("a failure on a connection that dies later counts, and so does its death, once", () => {
  const { gate } = opened();
  const connection = { alive: true };
  gate.failed(failure({ connection }));
  connection.alive = false;

  gate.failed(failure({ connection }));
  gate.failed(failure({ connection }));

  assert.is(gate.failures, 2);
});

test("an attempt that had proven itself begins the count anew", () => {
  const { gate } = opened();
  for (let n = 0; n < 3; n++) gate.failed(failure());

  gate.failed(failure({ healthy: true }));

  assert.is(gate.failures, 1);
});

test("a steady stream clears the count", async () => {
  const { clock, gate } = opened();
  for (let n = 0; n < 3; n++) gate.failed(failure({ sent: false }));
  await clock.pass(60_000);

  gate.healthy();

  assert.is(gate.failures, 0);
  assert.is(gate.failed(failure()), 2000);
});

test("a peer that takes us again is waited for no longer, unless it has asked for it", async () => {
  const { clock, gate } = opened();
  const log: string[] = [];
  for (let n = 0; n < 6; n++) gate.failed(failure({ slow: true }));
  const entering = pass(gate, log, "waiting");
  await clock.pass(100);

  gate.trusted();
  await clock.drive(entering);
  const freeAt = clock.now();
  const failures = gate.failures;
  gate.failed(failure({ pushbackMs: 5000 }));
  gate.trusted();
  await clock.drive(pass(gate, log, "asked to wait"));

  assert.equal([freeAt, failures, clock.now()], [100, 0, 5100]);
});

test("at the widest window each stream that was accepted and dropped owes a wait of its own", () => {
  const { gate } = opened();
  for (let n = 0; n < 3; n++) gate.failed(failure());

  const delays = [1, 2, 3].map(() => gate.failed(failure()));

  assert.equal(delays, [18_000, 28_000, 38_000]);
});

test("the connect time-out doubles from 5 s with each connect that runs into it, up to 60 s", async () => {
  const { clock, gate } = opened();
  const timeouts: number[] = [];

  for (let n = 0; n < 6; n++) {
    const slot = await clock.drive(gate.enter(turn, never));
    timeouts.push(slot.timeoutMs);
    slot.release();
    gate.failed(failure({ sent: false, slow: true }));
  }

  assert.equal(timeouts, [5000, 10_000, 20_000, 40_000, 60_000, 60_000]);
});

for (
  const [what, act] of [
    ["an attempt that was sent", (gate: Gate) => gate.failed(failure({ sent: true }))],
    ["a steady stream", (gate: Gate) => gate.healthy()],
  ] as const
) {
  test(`${what} sets the connect time-out back`, async () => {
    const { clock, gate } = opened();
    for (let n = 0; n < 3; n++) gate.failed(failure({ sent: false, slow: true }));

    act(gate);
    const slot = await clock.drive(gate.enter(turn, never));

    assert.is(slot.timeoutMs, 5000);
  });
}

test("a refusal leaves the connect time-out as it is", async () => {
  const { clock, gate } = opened();
  gate.failed(failure({ sent: false, slow: true }));

  gate.failed(failure({ sent: false }));
  const slot = await clock.drive(gate.enter(turn, never));

  assert.is(slot.timeoutMs, 10_000);
});

test("the peer's pushback beats the delay, longer or shorter", () => {
  const longer = opened().gate.failed(failure({ pushbackMs: 30_000 }));
  const shorter = opened().gate.failed(failure({ pushbackMs: 10 }));

  assert.equal([longer, shorter], [30_000, 10]);
});

test("no pushback keeps the gate shut longer than 60 s", () => {
  const { gate } = opened();

  assert.is(gate.failed(failure({ pushbackMs: 3_600_000 })), 60_000);
});

test("a peer that keeps asking for no wait at all is not obeyed for ever", () => {
  const { gate } = opened();

  const delays = [1, 2, 3, 4, 5, 6, 7].map(() => gate.failed(failure({ pushbackMs: 0 })));

  assert.equal(delays, [0, 250, 750, 1750, 3750, 4000, 4000]);
});

test("a pushback that comes while others wait moves their wait too", async () => {
  const { clock, gate } = opened();
  const log: string[] = [];
  gate.failed(failure());
  const entering = pass(gate, log, "waiting");
  await clock.pass(100);

  gate.failed(failure({ pushbackMs: 30_000 }));
  await clock.drive(entering);

  assert.is(clock.now(), 30_100);
});

test("who leaves the queue rejects with the signal's own reason, and disturbs nobody", async () => {
  const { clock, gate } = opened();
  const log: string[] = [];
  const first = await gate.enter(turn, never);
  const life = new AbortController();
  const leaving = rejects(gate.enter(turn, life.signal), (reason) => reason === "mine");
  const staying = pass(gate, log, "staying");

  life.abort("mine");
  await leaving;
  first.release();
  await clock.drive(staying);

  assert.equal(log, ["staying"]);
});

test("a signal that has aborted is not let in and takes no slot", async () => {
  const { clock, gate } = opened();
  const log: string[] = [];

  await rejects(gate.enter(turn, AbortSignal.abort("mine")), (reason) => reason === "mine");
  await clock.drive(pass(gate, log, "next"));

  assert.equal(log, ["next"]);
});

test("when the last one leaves the queue no timer is left, and the wait goes on for who comes next", async () => {
  const { clock, gate } = opened();
  const log: string[] = [];
  gate.failed(failure());
  const life = new AbortController();
  const leaving = rejects(gate.enter(turn, life.signal), (reason) => reason === "mine");
  const armed = clock.asleep;

  life.abort("mine");
  await leaving;
  const left = clock.asleep;
  await clock.drive(pass(gate, log, "next"));

  assert.equal([armed, left, clock.asleep], [1, 0, 0]);
  assert.is(clock.now(), 2000);
});

test("a gate that nobody waits at holds no timer, however often it is told of failures", () => {
  const { clock, gate } = opened();

  for (let n = 0; n < 10; n++) gate.failed(failure());

  assert.is(clock.asleep, 0);
});

test("a slot that is out while the gate is told of a failure holds no timer", async () => {
  const { clock, gate } = opened();
  const slot = await gate.enter(turn, never);
  const entering = gate.enter(turn, never);

  gate.failed(failure());
  const held = clock.asleep;
  slot.release();
  await clock.drive(entering);

  assert.is(held, 0);
  assert.is(clock.now(), 2000);
});

test("a connection that has let one in is open to all, until something fails and until it is proven again", () => {
  const { gate } = opened();
  const connection = { alive: true };
  const welcomes: boolean[] = [];
  const look = () => welcomes.push(gate.welcomes(connection));

  look();
  gate.letIn(connection);
  look();
  gate.failed(failure());
  look();
  gate.healthy();
  look();
  connection.alive = false;
  look();

  assert.equal(welcomes, [false, true, false, true, false]);
  assert.equal([gate.welcomes({ alive: true }), gate.welcomes(undefined)], [false, false]);
});

test("windows and time-outs can be chosen", async () => {
  const clock = new VirtualClock();
  const gate = new Gate({
    clock,
    random: () => 1,
    firstDelayMs: 10,
    capMs: 15,
    slowCapMs: 25,
    connectTimeoutMs: 20,
  });

  const delays = [gate.failed(failure()), gate.failed(failure({ sent: false, slow: true }))];
  const slot = await clock.drive(gate.enter(turn, never));

  assert.equal(delays, [10, 20]);
  assert.is(slot.timeoutMs, 25);
});

test("a number that makes no sense is refused, naming option, rule and value", () => {
  for (const name of ["firstDelayMs", "capMs", "slowCapMs", "connectTimeoutMs"]) {
    assert.throws(() => new Gate({ [name]: 0 }), (error: unknown) => {
      return error instanceof RangeError && error.message === `${name} must be above 0, got 0`;
    });
  }
});

test("goes by the runtime's own time and chance unless it is given others", async () => {
  const gate = new Gate({ firstDelayMs: 10 });
  const log: string[] = [];

  const delays = Array.from({ length: 20 }, () => gate.failed(failure({ healthy: true })));
  await pass(gate, log, "after the wait");

  assert.equal(log, ["after the wait"]);
  assert.ok(delays.every((delayMs) => delayMs >= 0 && delayMs < 10));
});

test.run();
