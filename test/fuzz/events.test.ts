import * as fc from "fast-check";
import { RunCancelledError, RunFailedError } from "../../src/errors.ts";
import { StreamError } from "../../src/streams/errors.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { Loop, Rig } from "../rig.ts";
import { assertQuiet, holds } from "./cases.ts";
import { code, json, text } from "./wrong.ts";

const test = suite("fuzz events");
const method = "subscribeToWorkflowEvents";

const whole = text.map((one) => one.toWellFormed());
const int = fc.oneof(fc.nat(7), fc.integer());
const timestamp = fc.record({
  seconds: fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.constant(1_700_000_000n)),
  nanos: fc.integer(),
});
const event = fc.record({
  workflowRunId: fc.oneof(whole, fc.constant(id(1))),
  resourceType: int,
  eventType: int,
  resourceId: whole,
  eventTimestamp: timestamp,
  eventPayload: json.map((one) => one.toWellFormed()),
  hangup: fc.boolean(),
  stepRetries: fc.integer(),
  retryCount: fc.integer(),
  eventIndex: fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: 0n, max: 5n })),
}, { requiredKeys: [] });
const details = fc.oneof(
  fc.record({ done: fc.boolean(), status: int }, { requiredKeys: [] }),
  code.map((one) => said(one)),
);
const kinds = /^(started|completed|failed|cancelled|chunk|gap|run completed|run failed|run cancelled)$/;

test("whatever an event of many runs carries, it is told in its shape, and the stream goes on", {
  limitMs: 20_000,
}, async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.eventsByMetadata("tenant", "a"));
  await rig.pass(300);

  await holds(500, event, async (odd) => {
    loop.heard.length = 0;
    rig.remote.wire(method).say(odd, { eventPayload: "last", eventType: 6, resourceType: 1, workflowRunId: id(9) });
    await rig.pass(0);

    assert.is(loop.fate.text, "pending");
    for (const one of loop.heard) assert.match(one.kind, kinds);
    const last = loop.heard.at(-1);
    assert.ok(last?.kind === "chunk" && last.text === "last");
  });

  assert.is(rig.remote.opened(method).length, 1);
  await rig.done();
});

test("whatever the events of a run and its details say, their loop goes on or ends in something clear", {
  limitMs: 20_000,
}, async () => {
  const rig = new Rig();
  let n = 0;

  await holds(200, fc.tuple(fc.array(event, { minLength: 1, maxLength: 5 }), details, fc.boolean()), async (odd) => {
    const [events, net, hangsUp] = odd;
    rig.remote.always("getRunDetails", net);
    const leave = new AbortController();
    const { signal } = leave;
    const run = id(1000 + ++n);
    const loops = [
      new Loop<unknown>(rig.client.runs.events(run, { signal })),
      new Loop<unknown>(rig.client.runs.chunks(run, { signal })),
    ];
    await rig.pass(600);
    for (const wire of rig.remote.opened(method).filter((one) => !one.over)) {
      wire.say(...events);
      if (hangsUp) wire.hangUp();
    }
    await rig.pass(20_000);
    leave.abort(new Error("left"));
    await rig.pass(0);

    for (const { fate } of loops) {
      const { error, text: end } = fate;
      const isRun = error instanceof RunFailedError || error instanceof RunCancelledError;
      assert.ok(/^ok \d+$/.test(end) || end === "Error: left" || isRun || error instanceof StreamError, end);
      assertQuiet(error);
    }
    assert.not.ok("polluted" in {}, "every object was changed");
  });

  await rig.done();
});

test.run();
