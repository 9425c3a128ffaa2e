import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ResourceEventType,
  ResourceType,
  WorkflowEventSchema,
  WorkflowRunEventSchema,
} from "../../gen/dispatcher/dispatcher_pb.ts";
import type { RunEvent } from "../../src/listeners/event.ts";
import { sizeOf, toRunEvent } from "../../src/listeners/event.ts";
import { fromEvent } from "../../src/listeners/outcome.ts";
import { assert, suite } from "../harness.ts";
import { id } from "../remote.ts";

const test = suite("event");
const { STEP_RUN, WORKFLOW_RUN } = ResourceType;
const { CANCELLED, COMPLETED, FAILED, STARTED, STREAM, TIMED_OUT } = ResourceEventType;
const atMs = 1_761_000_000_123;

function convert(init: MessageInitShape<typeof WorkflowEventSchema>): RunEvent | undefined {
  return toRunEvent(create(WorkflowEventSchema, init));
}

/** An event of a task. */
function step(
  eventType: ResourceEventType,
  eventPayload = "",
  more: MessageInitShape<typeof WorkflowEventSchema> = {},
) {
  const addressed = { workflowRunId: id(1), resourceType: STEP_RUN, resourceId: id(2) };
  return convert({ ...addressed, eventTimestamp: timestampFromMs(atMs), eventType, eventPayload, ...more });
}

const told = { runId: id(1), taskId: id(2), at: new Date(atMs) };

test("V1: an event of a task keeps the run, the task, its payload and its time", () => {
  assert.equal(step(STARTED, "", { retryCount: 1 }), { kind: "started", ...told, attempt: 1 });
  assert.equal(step(COMPLETED, `{"n":1}`, { retryCount: 0 }), {
    kind: "completed",
    ...told,
    attempt: 0,
    output: { n: 1 },
  });
  assert.equal(step(FAILED, `{"message":"it broke"}`), { kind: "failed", ...told, error: "it broke" });
  assert.equal(step(TIMED_OUT, "too long"), { kind: "failed", ...told, error: "too long" });
  assert.equal(step(CANCELLED), { kind: "cancelled", ...told });
  assert.equal(step(STREAM, "a", { eventIndex: 7n }), { kind: "chunk", ...told, text: "a", index: 7 });
  assert.equal(step(STREAM, "a"), { kind: "chunk", ...told, text: "a" });
});

test("V2: an event without a time has none", () => {
  const event = convert({ workflowRunId: id(1), resourceType: STEP_RUN, eventType: STREAM, resourceId: id(2) });

  assert.equal(event, { kind: "chunk", runId: id(1), taskId: id(2), at: undefined, text: "" });
});

test("V3: an empty event is none that a user would know, and one that is empty but for its kind is empty", () => {
  assert.is(convert({}), undefined);
  assert.equal(convert({ eventType: COMPLETED }), {
    kind: "completed",
    runId: "",
    taskId: "",
    at: undefined,
    output: {},
  });
});

test("V4: the end of a run keeps the run and its time", () => {
  const eventTimestamp = timestampFromMs(atMs);
  const kinds = [COMPLETED, FAILED, CANCELLED].map((eventType) =>
    convert({ workflowRunId: id(1), resourceType: WORKFLOW_RUN, resourceId: id(1), eventType, eventTimestamp })
  );

  const at = new Date(atMs);
  assert.equal(kinds, [
    { kind: "run completed", runId: id(1), at },
    { kind: "run failed", runId: id(1), at },
    { kind: "run cancelled", runId: id(1), at },
  ]);
});

test("V5: the end of a run without a time has none, on either stream", () => {
  const event = convert({ workflowRunId: id(1), resourceType: WORKFLOW_RUN, eventType: COMPLETED });
  const results = [{ taskName: "a", output: "{}" }];
  const outcome = fromEvent(create(WorkflowRunEventSchema, { workflowRunId: id(1), results }));

  assert.equal(event, { kind: "run completed", runId: id(1), at: undefined });
  assert.equal(outcome, { outputs: { a: {} } });
});

test("V6: an end of nothing says nothing, on either stream", () => {
  assert.is(convert({ resourceType: WORKFLOW_RUN }), undefined);
  assert.is(fromEvent(create(WorkflowRunEventSchema)), undefined);
});

test("V7: every result of a run is kept, whatever becomes of the message", () => {
  const results = [{ taskName: "a", output: `{"n":1}` }, { taskName: "b", output: `{"n":2}` }];
  const message = create(WorkflowRunEventSchema, { workflowRunId: id(1), results });

  const outcome = fromEvent(message);
  message.results.splice(0);

  assert.equal(outcome, { outputs: { a: { n: 1 }, b: { n: 2 } } });
});

test("an output that is no JSON is told as it came", () => {
  const event = step(COMPLETED, "{broken");

  assert.equal(event, { kind: "completed", ...told, output: "{broken" });
});

test("a value that is no object comes out of what it was wrapped in", () => {
  const event = step(COMPLETED, `{"coppice:value":9}`);

  assert.equal(event, { kind: "completed", ...told, output: 9 });
});

test("an index that is none, or that a number cannot hold, is left out", () => {
  assert.equal(step(STREAM, "a", { eventIndex: -1n }), { kind: "chunk", ...told, text: "a" });
  assert.equal(step(STREAM, "a", { eventIndex: 2n ** 60n }), { kind: "chunk", ...told, text: "a" });
});

test("an event of a kind that this version does not know is none", () => {
  assert.is(step(99 as ResourceEventType), undefined); // What a newer engine may send.
  assert.is(convert({ resourceType: WORKFLOW_RUN, eventType: STARTED }), undefined);
});

test("an event is as large as its payload", () => {
  const sizes = [step(STREAM, "abc"), step(COMPLETED, `{"n":1}`), step(STARTED)].map((event) => event && sizeOf(event));

  assert.equal(sizes, [3, 7, 0]);
});

test.run();
