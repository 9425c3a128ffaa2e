import { Code } from "@connectrpc/connect";
import * as fc from "fast-check";
import { RunCancelledError, RunFailedError } from "../../src/errors.ts";
import { StreamError } from "../../src/streams/errors.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { Fate, finished, Rig } from "../rig.ts";
import { assertQuiet, ended, holds } from "./cases.ts";
import { bytes, code, json, text } from "./wrong.ts";

const test = suite("fuzz results");
const method = "subscribeToWorkflowRuns";

const whole = text.map((one) => one.toWellFormed());
const status = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.integer());
const result = fc.record({
  taskName: fc.oneof(whole, fc.constantFrom("__proto__", "constructor", "double")),
  taskRunExternalId: whole,
  jobRunId: whole,
  output: json.map((one) => one.toWellFormed()),
  error: json.map((one) => one.toWellFormed()),
}, { requiredKeys: [] });
const event = fc.record({
  results: fc.array(result, { maxLength: 4 }),
  eventType: fc.integer(),
}, { requiredKeys: [] });
const details = fc.record({
  done: fc.boolean(),
  status,
  input: bytes,
  additionalMetadata: bytes,
  taskRuns: fc.dictionary(
    fc.oneof(whole, fc.constantFrom("__proto__", "constructor")),
    fc.record({ externalId: whole, readableId: whole, status, output: bytes, error: whole }, { requiredKeys: [] }),
    { maxKeys: 3 },
  ),
}, { requiredKeys: [] });
const answer = fc.oneof(
  { weight: 3, arbitrary: details },
  code.map((one) => said(one)),
);

/** What a run may come to, whatever the engine says. */
function assertClear(error: unknown): void {
  const isRun = error instanceof RunFailedError || error instanceof RunCancelledError;
  const isClear = isRun || error instanceof StreamError || error instanceof SyntaxError;
  assert.ok(isClear, `rejected with ${fc.stringify(error)}`);
  const { message } = error as Error;
  assert.ok(message.length < 600, `${message.length} characters`);
  assertQuiet(error);
}

test("whatever a result says, its waiter is told something clear, and the stream goes on", {
  limitMs: 30_000,
}, async () => {
  const rig = new Rig();
  rig.remote.always("getRunDetails", { done: false });
  let n = 0;

  await holds(1000, fc.tuple(event, answer), async ([odd, net]) => {
    const runId = id(++n);
    rig.remote.always("getRunDetails", net);
    const waiting = ended(rig.client.runs.result(runId));
    await rig.pass(n === 1 ? 300 : 0);
    rig.remote.wire(method).say({ ...odd, workflowRunId: runId });
    await rig.pass(0);
    rig.remote.always("getRunDetails", { done: false });
    rig.remote.wire(method).say(finished(n, { output: "{}" }));
    await rig.pass(0);

    const { error, ...rest } = await rig.clock.drive(waiting);
    if (!("value" in rest)) assertClear(error);
    else assert.is(Object.getPrototypeOf(rest.value), Object.prototype, "an output became the prototype of all");
    assert.not.ok("polluted" in {}, "every object was changed");
  });

  assert.is(rig.remote.opened(method).length, 1);
  await rig.done();
});

test("events that nobody waits for cost no call and keep nothing", { limitMs: 20_000 }, async () => {
  const rig = new Rig();
  const waiting = new Fate(rig.client.runs.result(id(1)));
  await rig.pass(300);

  await holds(300, fc.tuple(fc.oneof(fc.uuid(), whole), event), async ([workflowRunId, odd]) => {
    rig.remote.wire(method).say({ ...odd, workflowRunId });
    await rig.pass(0);

    assert.is(waiting.text, "pending");
    assert.is(rig.remote.asked("getRunDetails").length, 0);
  });

  rig.remote.wire(method).say(finished(1, { output: "{}" }));
  await rig.pass(0);
  assert.is(waiting.text, `ok {"double":{}}`);
  await rig.done();
});

test("whatever details say, they are told in their shape or not at all", { limitMs: 20_000 }, async () => {
  const rig = new Rig();

  await holds(700, details, async (odd) => {
    rig.remote.next("getRunDetails", odd);

    const { error, ...rest } = await ended(rig.clock.drive(rig.client.runs.details(id(1))));

    assert.not.ok("polluted" in {}, "every object was changed");
    if (!("value" in rest)) {
      assert.match(String(error), /^SyntaxError: What should be .* is no JSON$/);
      return assertQuiet(error);
    }
    const { done, status: word, tasks } = rest.value;
    assert.is(done, odd.done ?? false);
    for (const one of [word, ...Object.values(tasks).map(({ status: own }) => own)]) {
      assert.match(one, /^(queued|running|completed|failed|cancelled|evicted)$/);
    }
  });

  await rig.done();
});

test("whatever id a trigger is answered with, its run is refused or waited for", async () => {
  const rig = new Rig();
  rig.remote.always("getRunDetails", said(Code.NotFound));

  await holds(100, whole, async (workflowRunId) => {
    rig.remote.next("triggerWorkflow", { workflowRunId });
    const run = await rig.clock.drive(rig.client.runs.trigger("double", {}));

    const { error } = await ended(rig.clock.drive(run.result()));

    assert.match(String(error), /^TypeError: run id must be a UUID/);
  });

  await rig.done();
});

test.run();
