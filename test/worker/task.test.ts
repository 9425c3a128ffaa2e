import { StickyStrategy } from "../../gen/v1/workflows_pb.ts";
import { actionId, definition, task } from "../../src/worker/task.ts";
import { assert, suite } from "../harness.ts";

const test = suite("task");
const run = () => ({});

test("is a plain definition that needs no client, and cannot be changed", () => {
  const report = task({ name: "report", run });

  assert.equal([report.kind, report.name, report.run], ["task", "report", run]);
  assert.throws(() => Object.assign(report, { name: "other" }), TypeError);
});

test("rule R41: every duration is said, also those that nobody chose", () => {
  const [bare] = definition({ name: "report", run }, "").tasks;
  const [full] = definition({
    name: "report",
    run,
    timeoutMs: 90_000,
    scheduleTimeoutMs: 1500,
    retries: 3,
    backoff: { factor: 2, maxMs: 30_000 },
    slots: 2,
  }, "").tasks;

  assert.equal([bare?.timeout, bare?.scheduleTimeout, bare?.retries, bare?.slotRequests, bare?.inputs], [
    "1m",
    "5m",
    0,
    { default: 1 },
    "{}",
  ]);
  assert.equal([full?.timeout, full?.scheduleTimeout, full?.retries, full?.slotRequests], ["90s", "1500ms", 3, {
    default: 2,
  }]);
  assert.equal([full?.backoffFactor, full?.backoffMaxSeconds], [2, 30]);
  assert.equal([bare?.backoffFactor, bare?.backoffMaxSeconds], [undefined, undefined]);
});

test("the namespace goes before the names of workflow, action and events, and the action is in small letters", () => {
  const options = { name: "Report", run, onEvents: ["month:over"], onCron: ["0 0 1 * *"], priority: 3 };

  const workflow = definition(options, "prod_");

  assert.equal([workflow.name, workflow.eventTriggers, workflow.cronTriggers, workflow.defaultPriority], [
    "prod_Report",
    ["prod_month:over"],
    ["0 0 1 * *"],
    3,
  ]);
  assert.equal(workflow.tasks.map(({ readableId, action }) => [readableId, action]), [[
    "Report",
    "prod_report:report",
  ]]);
  assert.is(actionId("Report", ""), "report:report");
});

test("a sticky task heeds the worker that a run asks for", () => {
  const sticky = [undefined, "soft", "hard"] as const;

  const workflows = sticky.map((sticky) => definition({ name: "report", run, sticky }, ""));

  assert.equal(workflows.map((workflow) => workflow.sticky), [undefined, StickyStrategy.SOFT, StickyStrategy.HARD]);
});

test("rule R47: makes no sense of options at once", () => {
  assert.throws(() => task({ name: "a report", run }), /task name must be/);
  assert.throws(() => task({ name: "", run }), /task name must be/);
  assert.throws(() => task(Object({ name: "report" })), /run must be a function/);
  assert.throws(() => task({ name: "report", run, retries: -1 }), /retries must be a whole number from 0 on/);
  assert.throws(() => task({ name: "report", run, slots: 0 }), /slots must be a whole number from 1 on/);
  assert.throws(() => task({ name: "report", run, timeoutMs: 0.5 }), RangeError);
  assert.throws(() => task({ name: "report", run, scheduleTimeoutMs: -1 }), RangeError);
  for (const factor of [0, 0.9, NaN]) {
    assert.throws(() => task({ name: "report", run, backoff: { factor } }), /backoff.factor must be 1 or more/);
  }
  assert.throws(() => task({ name: "report", run, sticky: Object("firm") }), /sticky must be "soft" or "hard"/);
  assert.throws(() => task({ name: "report", run, priority: 4 }), /priority must be 1, 2 or 3/);
});

test.run();
