import type { RunChunk, RunEvent, TaskEvent } from "../../src/listeners/event.ts";
import { Order } from "../../src/listeners/order.ts";
import { assert, suite } from "../harness.ts";

const test = suite("order");

/** What comes of it: `0` is a chunk of task a, `b0` of task b, `-` one without an index; `lost` a new subscription. */
function order(...steps: readonly string[]): string[] {
  const order = new Order();
  const told: RunEvent[] = [];
  for (const step of steps) {
    if (step === "lost") order.reopened();
    else told.push(...order.take(event(step)));
  }
  return told.map((event) => {
    if (event.kind === "gap") return `${event.why}(${event.taskId})`;
    return event.kind === "chunk" ? event.text : event.kind;
  });
}

function event(step: string): TaskEvent | RunChunk {
  const common = { runId: "run", taskId: step.startsWith("b") ? "b" : "a", at: undefined };
  switch (step) {
    case "started":
    case "cancelled":
      return { kind: step, ...common };
    case "failed":
      return { kind: step, ...common, error: "" };
    case "completed":
      return { kind: step, ...common, output: {} };
    case "-":
      return { kind: "chunk", ...common, text: step };
    default:
      return { kind: "chunk", ...common, text: step, index: Number(step.replace("b", "")) };
  }
}

test("chunks in order pass, task by task, and so do those without an index", () => {
  assert.equal(order("0", "b0", "1", "-", "b1", "2"), ["0", "b0", "1", "-", "b1", "2"]);
});

test("a start is a gap only where the first index of a task is above 0", () => {
  assert.equal(order("2", "3", "b0", "b1"), ["start(a)", "2", "3", "b0", "b1"]);
});

test("a missing index is a gap before the chunk that shows it", () => {
  assert.equal(order("0", "3", "4", "6"), ["0", "missing(a)", "3", "4", "missing(a)", "6"]);
});

test("what is not above the last index was there before, and is dropped", () => {
  assert.equal(order("0", "0", "1", "2", "1", "2", "0", "3"), ["0", "1", "2", "3"]);
});

for (const end of ["failed", "cancelled", "started"]) {
  test(`after "${end}" the task counts from 0 again`, () => {
    assert.equal(order("0", "1", "2", end, "0", "1", "1", "0"), ["0", "1", "2", end, "0", "1"]);
  });

  test(`after "${end}" a count that does not begin at 0 is a gap, even if it seems to go on`, () => {
    assert.equal(order("0", "1", end, "2", "3"), ["0", "1", end, "missing(a)", "2", "3"]);
    assert.equal(order("0", "1", end, "1", "2"), ["0", "1", end, "missing(a)", "1", "2"]);
  });
}

test("late chunks of a failed attempt do not hide those of the next", () => {
  assert.equal(order("0", "failed", "1", "2", "0", "1", "2", "3"), [
    "0",
    "failed",
    "missing(a)",
    "1",
    "2",
    "0",
    "1",
    "2",
    "3",
  ]);
  assert.equal(order("0", "1", "failed", "2", "1"), ["0", "1", "failed", "missing(a)", "2", "missing(a)", "1"]);
});

test("the last chunks of a task may come behind its end", () => {
  assert.equal(order("0", "completed", "1", "1"), ["0", "completed", "1"]);
});

test("a new subscription may go on or meet the next attempt, and drops nothing for it", () => {
  assert.equal(order("0", "1", "lost", "2", "2", "3"), ["0", "1", "2", "3"]);
  assert.equal(order("0", "1", "lost", "0", "1", "0", "2"), ["0", "1", "0", "1", "2"]);
  assert.equal(order("0", "1", "2", "lost", "1", "2", "2"), ["0", "1", "2", "missing(a)", "1", "2"]);
  assert.equal(order("0", "lost", "4"), ["0", "missing(a)", "4"]);
});

test("a new subscription forgets no attempt that failed", () => {
  assert.equal(order("0", "1", "failed", "lost", "2"), ["0", "1", "failed", "missing(a)", "2"]);
  assert.equal(order("0", "failed", "1", "lost", "2", "0"), ["0", "failed", "missing(a)", "1", "2", "0"]);
});

test.run();
