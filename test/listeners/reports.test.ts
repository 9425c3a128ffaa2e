import { Code, ConnectError } from "@connectrpc/connect";
import type { StepActionEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import { StepActionEventType } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { StartAction } from "../../src/listeners/action.ts";
import { markUnsent } from "../../src/streams/errors.ts";
import { StreamError } from "../../src/streams/mod.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { Fate, Loop, Rig, start, startMs } from "../rig.ts";

const test = suite("reports");

/** A rig on which an action has come. */
async function started(init = {}): Promise<{ readonly rig: Rig; readonly action: StartAction }> {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);
  rig.remote.wire("listenV2").say(start(3, init));
  await rig.pass(0);
  const [action] = loop.heard;
  if (action?.kind !== "start") throw new Error("no start came");
  return { rig, action };
}

/** What the engine was told, in order. */
function told(rig: Rig): StepActionEvent[] {
  return rig.remote.asked("sendStepActionEvent").map(({ request }) => request as StepActionEvent); // The rig's own type.
}

function times(rig: Rig): number[] {
  return rig.remote.asked("sendStepActionEvent").map(({ at }) => at - startMs);
}

test("a start has everything that the engine sent, and what is missing is empty", async () => {
  const { rig, action } = await started({
    retryCount: 2,
    durableTaskInvocationCount: 3,
    additionalMetadata: `{"who":"me"}`,
    actionPayload: `{"input":{"n":1},"parents":{"first":{"coppice:value":[1]}},"triggers":{"key":{"a":1}}}`,
  });
  const bare = await started({ actionPayload: "" });
  const broken = await started({ actionPayload: `{"input":null,"parents":[1],"triggers":7}`, additionalMetadata: "{" });

  const { completed: _, failed: __, started: ___, ...data } = action;
  assert.equal(data, {
    kind: "start",
    workerId: id(1),
    runId: id(3),
    taskId: id(3),
    attempt: 2,
    invocation: 3,
    name: "double",
    actionId: "double:double",
    input: { n: 1 },
    parents: { first: [1] },
    triggers: { key: { a: 1 } },
    metadata: { who: "me" },
  });
  for (const one of [bare, broken]) {
    const { input, parents, triggers, metadata } = one.action;
    assert.equal([input, parents, triggers, metadata], [{}, {}, {}, {}]);
    assert.is("invocation" in one.action, false);
    await one.rig.done();
  }
  await rig.done();
});

test("rule R46: each report carries what tells the attempt, its try among it", async () => {
  const { rig, action } = await started({ retryCount: 2 });

  await rig.clock.drive(action.started());
  await rig.clock.drive(action.completed({ total: 3 }));

  const [first, second] = told(rig);
  assert.equal([first?.eventType, first?.eventPayload], [StepActionEventType.STEP_EVENT_TYPE_STARTED, ""]);
  assert.equal([second?.eventType, second?.eventPayload], [
    StepActionEventType.STEP_EVENT_TYPE_COMPLETED,
    `{"total":3}`,
  ]);
  for (const event of told(rig)) {
    assert.equal([event.workerId, event.taskRunExternalId, event.retryCount], [id(1), id(3), 2]);
    assert.is(Number(event.eventTimestamp?.seconds), startMs / 1000);
    assert.is(event.shouldNotRetry, undefined);
  }
  await rig.done();
});

test("rule R20: what is no object is reported as one, and nothing as an empty one", async () => {
  const { rig, action } = await started();

  for (const output of [undefined, [1, 2], "text", 7, null]) await rig.clock.drive(action.completed(output));

  assert.equal(told(rig).map(({ eventPayload }) => eventPayload), [
    "{}",
    `{"coppice:value":[1,2]}`,
    `{"coppice:value":"text"}`,
    `{"coppice:value":7}`,
    `{"coppice:value":null}`,
  ]);
  await rig.done();
});

test("rule R20: an output that JSON cannot carry is the caller's mistake, and nothing is sent", async () => {
  const { rig, action } = await started();

  const fates = [new Fate(action.completed({ n: 1n })), new Fate(action.completed({ text: "\0" }))];
  await rig.pass(0);

  assert.match(fates[0]?.text ?? "", "TypeError: output.n");
  assert.match(fates[1]?.text ?? "", "TypeError: output.text");
  assert.equal(told(rig), []);
  await rig.done();
});

test("a failure is reported with message and stack, and says when it is for good", async () => {
  const { rig, action } = await started();

  await rig.clock.drive(action.failed(new TypeError("no\0space")));
  await rig.clock.drive(action.failed("just text", { retry: false }));

  const [first, second] = told(rig);
  const payload: unknown = JSON.parse(first?.eventPayload ?? "");
  assert.is((payload as Error).message, "no\ufffdspace");
  assert.match((payload as Error).stack ?? "", "TypeError");
  assert.equal([first?.shouldNotRetry, second?.shouldNotRetry], [undefined, true]);
  assert.is(second?.eventPayload, `{"message":"just text"}`);
  await rig.done();
});

test("rule R46: a report is sent again until the engine has it, whatever comes between", async () => {
  const { rig, action } = await started();
  rig.remote.next(
    "sendStepActionEvent",
    said(Code.Unavailable),
    said(Code.Internal),
    said(Code.ResourceExhausted),
    said(Code.NotFound),
    said(Code.Unimplemented),
    said(Code.Unauthenticated),
    (call) => call.cut(),
  );

  const fate = new Fate(action.completed({}));
  await rig.pass(60_000);

  assert.is(fate.text, "ok undefined");
  assert.equal(times(rig).map((at) => at - 500), [0, 500, 1500, 3500, 7500, 15_500, 25_500, 37_500]);
  assert.is(new Set(told(rig).map(({ eventPayload }) => eventPayload)).size, 1);
  await rig.done();
});

test("rule R46: a report that hangs is given up after half a minute, and sent again", async () => {
  const { rig, action } = await started();
  rig.remote.next("sendStepActionEvent", () => new Promise(() => {}));

  const fate = new Fate(action.completed({}));
  await rig.pass(33_000);

  assert.equal(times(rig), [500, 33_000]);
  assert.is(fate.text, "ok undefined");
  await rig.done();
});

test("rule R46: what may have reached the engine waits until it has taken that in, what was never sent does not", async () => {
  const { rig, action } = await started();
  const unsent = markUnsent(new ConnectError("gone", Code.Unavailable));
  rig.remote.next("sendStepActionEvent", () => new Promise(() => {}), (call) => call.cut(unsent));

  const fate = new Fate(action.completed({}));
  await rig.pass(0);
  rig.remote.listening = false;
  rig.remote.kill();
  await rig.pass(10_000);
  rig.remote.listening = true;
  await rig.pass(20_000);

  const [first, again = NaN, last = NaN] = times(rig);
  assert.is(first, 500);
  assert.is(again - (rig.remote.dialedAt.at(-1)! - startMs), 2000);
  assert.is(last - again, 1000);
  assert.is(fate.text, "ok undefined");
  await rig.done();
});

test("a report waits for the connection and never dials by itself", async () => {
  const { rig, action } = await started();
  rig.remote.listening = false;
  rig.remote.kill();

  const fate = new Fate(action.completed({}));
  await rig.pass(3_600_000);
  const dialed = rig.remote.dialedAt.length;
  assert.is(fate.text, "pending");
  rig.remote.listening = true;
  await rig.pass(10_000);

  assert.is(fate.text, "ok undefined");
  assert.is(rig.remote.dialedAt.length, dialed + 1);
  await rig.done();
});

test("rule R46: INVALID_ARGUMENT is the engine's last word", async () => {
  const { rig, action } = await started();
  rig.remote.next("sendStepActionEvent", said(Code.InvalidArgument));

  const fate = new Fate(action.completed({}));
  await rig.pass(60_000);

  assert.is((fate.error as ConnectError).code, Code.InvalidArgument);
  assert.is(told(rig).length, 1);
  await rig.done();
});

test("rule R2: a report that is larger than the engine takes is not sent again", async () => {
  const { rig, action } = await started();
  const text = "grpc: received message larger than max (5000228 vs. 4194304)";
  rig.remote.next("sendStepActionEvent", new ConnectError(text, Code.ResourceExhausted, { "grpc-status": "8" }));

  const fate = new Fate(action.completed({}));
  await rig.pass(60_000);

  assert.is((fate.error as ConnectError).code, Code.ResourceExhausted);
  assert.is(told(rig).length, 1);
  await rig.done();
});

test("a report that the caller's own code breaks is not sent again", async () => {
  const { rig, action } = await started();
  rig.remote.next("sendStepActionEvent", (call) => call.cut(new TypeError("an interceptor's bug")));

  const fate = new Fate(action.completed({}));
  await rig.pass(60_000);

  assert.match(fate.text, "an interceptor's bug");
  assert.is(told(rig).length, 1);
  await rig.done();
});

test("a report that is larger than we send is not sent again, a proxy's 429 is waited for", async () => {
  const { rig, action } = await started();
  rig.remote.next(
    "sendStepActionEvent",
    new ConnectError("HTTP 429", Code.ResourceExhausted),
    new ConnectError("message size 5000228 is larger than configured writeMaxBytes", Code.ResourceExhausted),
  );

  const fate = new Fate(action.completed({}));
  await rig.pass(60_000);

  assert.is((fate.error as ConnectError).code, Code.ResourceExhausted);
  assert.is(told(rig).length, 2);
  await rig.done();
});

test("a token that is refused for ten minutes is believed by reports too", async () => {
  const { rig, action } = await started();
  rig.remote.always("sendStepActionEvent", said(Code.Unauthenticated));
  rig.remote.always("heartbeat", () => new Promise(() => {}));

  const fate = new Fate(action.completed({}));
  await rig.pass(590_000);
  assert.is(fate.text, "pending");
  await rig.pass(21_000);

  assert.is((fate.error as ConnectError).code, Code.Unauthenticated);
  await rig.done();
});

test("rule R21: a report whose signal aborts is sent no more, and rejects with the signal's own reason", async () => {
  const { rig, action } = await started();
  rig.remote.always("sendStepActionEvent", said(Code.Unavailable));
  const attempt = new AbortController();

  const fates = [new Fate(action.completed({}, { signal: attempt.signal }))];
  await rig.pass(1000);
  const sent = told(rig).length;
  attempt.abort("cancelled");
  fates.push(new Fate(action.started({ signal: attempt.signal })));
  fates.push(new Fate(action.failed(new Error("late"), { signal: attempt.signal })));
  await rig.pass(60_000);

  assert.equal(fates.map(({ error }) => error), ["cancelled", "cancelled", "cancelled"]);
  assert.is(told(rig).length, sent);
  await rig.done();
});

test("close settles a report that was never taken", async () => {
  const { rig, action } = await started();
  rig.remote.always("sendStepActionEvent", said(Code.Unavailable));

  const fate = new Fate(action.completed({}));
  await rig.pass(5000);
  await rig.done();

  assert.is(fate.text, "closed");
  assert.instance(fate.error, StreamError);
});

test("a worker that was registered anew goes on reporting the old one's work under its old id", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ register: { name: "worker", actions: ["double:double"] } }));
  await rig.pass(500);
  rig.remote.wire("listenV2").say(start(3));
  await rig.pass(0);
  rig.remote.wire("listenV2").fail(said(Code.NotFound));
  await rig.pass(5000);
  const [action] = loop.heard;

  if (action?.kind === "start") await rig.clock.drive(action.completed({}));

  assert.is(rig.remote.asked("register").length, 2);
  assert.equal(told(rig).map(({ workerId }) => workerId), [id(1)]);
  await rig.done();
});

test.run();
