import { create } from "@bufbuild/protobuf";
import { WorkflowRunEventSchema } from "../../gen/dispatcher/dispatcher_pb.ts";
import { GetRunDetailsResponseSchema, RunStatus } from "../../gen/v1/workflows_pb.ts";
import { RunCancelledError, RunFailedError } from "../../src/errors.ts";
import type { Outcome } from "../../src/listeners/outcome.ts";
import { fromDetails, fromEvent } from "../../src/listeners/outcome.ts";
import { assert, suite } from "../harness.ts";

const test = suite("outcome");
const runId = "00000000-0000-4000-8000-000000000007";

/** An outcome in short. */
function short(outcome: Outcome | undefined): unknown {
  if (outcome === undefined) return "ask";
  if ("outputs" in outcome) return outcome.outputs;
  const kind = outcome.error instanceof RunCancelledError ? "cancelled" : "failed";
  return [kind, ...outcome.error.failures.map(({ task, message }) => `${task}:${message}`)];
}

test("rule R16: presence of output and error decides, the details where an error has no text", () => {
  const cases = [
    [{ output: `{"n":1}` }],
    [{ output: "" }],
    [{}],
    [{ error: "" }],
    [{ error: "it broke" }],
    [{ output: "{}", error: "" }],
    [{ output: "{}" }, { error: "" }],
    [{ error: "" }, { error: "it broke" }],
    [],
  ].map((results) =>
    short(fromEvent(create(WorkflowRunEventSchema, {
      workflowRunId: runId,
      results: results.map((result, n) => ({ taskName: `t${n}`, ...result })),
    })))
  );

  assert.equal(cases, [
    { t0: { n: 1 } },
    { t0: {} },
    { t0: {} },
    "ask",
    ["failed", "t0:it broke"],
    "ask",
    "ask",
    ["failed", "t0:", "t1:it broke"],
    "ask",
  ]);
});

test("details decide by status, of the run and of each task", () => {
  const { CANCELLED, COMPLETED, FAILED, RUNNING } = RunStatus;
  const cases = ([
    [COMPLETED, true, { a: [COMPLETED, ""] }],
    [FAILED, true, { a: [COMPLETED, ""], b: [FAILED, ""] }],
    [CANCELLED, true, { a: [CANCELLED, ""] }],
    [FAILED, false, { a: [FAILED, "it broke"], b: [RUNNING, ""] }],
    [COMPLETED, true, {}],
    [COMPLETED, true, { a: [FAILED, "it broke"] }],
  ] as const).map(([status, done, tasks]) => {
    const taskRuns = Object.entries(tasks).map(([name, [status, error]]) => [name, { status, error }] as const);
    return short(
      fromDetails(runId, create(GetRunDetailsResponseSchema, { status, done, taskRuns: Object.fromEntries(taskRuns) })),
    );
  });

  assert.equal(cases, [{ a: {} }, ["failed", "b:"], ["cancelled", "a:"], "ask", {}, ["failed", "a:it broke"]]);
});

test("the errors are of the run, and real Errors", () => {
  const event = create(WorkflowRunEventSchema, { workflowRunId: runId, results: [{ error: "it broke" }] });

  const outcome = fromEvent(event);
  const error = outcome !== undefined && "error" in outcome ? outcome.error : undefined;

  assert.instance(error, RunFailedError);
  assert.instance(error, Error);
  assert.is(error?.runId, runId);
});

test("a task that is told more than once was reported more than once: where the reports differ, the details decide", () => {
  const [one, other] = [{ output: `{"n":1}` }, { output: `{"n":2}` }];
  const cases = [
    [one, one],
    [one, other],
    [{ error: "it broke" }, one],
    [one, { error: "it broke" }],
    [{ error: "it broke" }, { error: "it broke" }],
  ].map((results) =>
    short(fromEvent(create(WorkflowRunEventSchema, {
      workflowRunId: runId,
      results: results.map((result) => ({ taskName: "t", taskRunExternalId: runId, ...result })),
    })))
  );

  assert.equal(cases, [{ t: { n: 1 } }, "ask", "ask", "ask", ["failed", "t:it broke"]]);
});

test("a task named as a property of every object is a task like any other", () => {
  const event = create(WorkflowRunEventSchema, {
    workflowRunId: runId,
    results: [{ taskName: "__proto__", output: `{"n":1}` }, { taskName: "constructor", output: "{}" }],
  });

  const outcome = fromEvent(event);

  const outputs = outcome !== undefined && "outputs" in outcome ? outcome.outputs : {};
  assert.equal(Object.keys(outputs).toSorted(), ["__proto__", "constructor"]);
});

test.run();
