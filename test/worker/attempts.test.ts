import type { CancelAction, StartAction } from "../../src/listeners/action.ts";
import { Attempts, TaskAborted } from "../../src/worker/attempts.ts";
import { assert, suite } from "../harness.ts";

const test = suite("attempts");
const sent = () => Promise.resolve();

function start(taskId: string, attempt = 0): StartAction {
  return {
    kind: "start",
    workerId: "w",
    runId: taskId,
    taskId,
    attempt,
    name: "double",
    actionId: "double:double",
    input: {},
    parents: {},
    triggers: {},
    metadata: {},
    started: sent,
    completed: sent,
    failed: sent,
  };
}

function cancel(taskId: string, attempt = 0): CancelAction {
  return { kind: "cancel", workerId: "w", runId: taskId, taskId, attempt };
}

/** Attempts that run until the test ends them. */
function running(slots: number): {
  readonly attempts: Attempts;
  readonly ran: string[];
  readonly signals: AbortSignal[];
  readonly end: (n: number) => Promise<void>;
} {
  const ran: string[] = [];
  const signals: AbortSignal[] = [];
  const ends: (() => void)[] = [];
  const attempts = new Attempts(slots, ({ attempt, taskId }, signal) => {
    ran.push(`${taskId}.${attempt}`);
    signals.push(signal);
    return new Promise((resolve) => ends.push(resolve));
  });
  const end = async (n: number) => {
    ends[n]?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { attempts, ran, signals, end };
}

test("an aborted attempt holds its slot until its work has ended", async () => {
  const { attempts, end, ran } = running(1);
  attempts.start(start("a"));
  attempts.start(start("b"));

  attempts.cancel(cancel("a"));
  assert.equal([attempts.active, ran], [1, ["a.0"]]);
  await end(0);

  assert.equal(ran, ["a.0", "b.0"]);
});

test("what an attempt is aborted with tells why, as an Error", () => {
  const { attempts, signals } = running(9);
  for (const one of ["a", "b", "c"]) attempts.start(start(one));

  attempts.cancel(cancel("a"));
  attempts.start(start("b", 1));
  attempts.stop();

  const reasons = signals.map(({ reason }) => reason instanceof TaskAborted ? reason.because : reason);
  assert.equal(reasons, ["cancelled", "superseded", "stopped", "stopped"]);
  assert.match(String(signals[0]?.reason), "The task was cancelled");
});

test("idle resolves at once when nothing runs, and else when the last has ended", async () => {
  const { attempts, end } = running(2);
  await attempts.idle();
  attempts.start(start("a"));
  attempts.start(start("b"));
  let idle = 0;
  for (let n = 0; n < 2; n++) void attempts.idle().then(() => idle++);

  await end(0);
  assert.is(idle, 0);
  await end(1);

  assert.is(idle, 2);
});

test("what waits is not part of what must end before idle, once it was left", async () => {
  const { attempts, end, ran } = running(1);
  attempts.start(start("a"));
  attempts.start(start("b"));

  attempts.leave();
  await end(0);
  await attempts.idle();

  assert.equal([ran, attempts.active], [["a.0"], 0]);
});

test("cancels that came before their starts are remembered, the last thousand of them", () => {
  const { attempts, ran } = running(9999);

  for (let n = 0; n < 1001; n++) attempts.cancel(cancel(`${n}`));
  for (let n = 0; n < 1001; n++) attempts.start(start(`${n}`));

  assert.equal(ran, ["0.0"]);
});

test("rule R19: a task that was superseded and has ended takes nothing of the newer one with it", async () => {
  const { attempts, end, ran, signals } = running(9);
  attempts.start(start("a"));
  attempts.start(start("a", 1));

  await end(0);
  attempts.start(start("a", 1));
  attempts.cancel(cancel("a", 1));

  assert.equal(ran, ["a.0", "a.1"]);
  assert.is(signals[1]?.aborted, true);
});

test.run();
