import { Code, ConnectError } from "@connectrpc/connect";
import * as fc from "fast-check";
import type { ActionType } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { StartAction } from "../../src/listeners/action.ts";
import { task } from "../../src/worker/task.ts";
import { assert, suite } from "../harness.ts";
import { id } from "../remote.ts";
import { Loop, Rig, start } from "../rig.ts";
import { assertQuiet, ended, holds, token } from "./cases.ts";
import { code, json, text } from "./wrong.ts";

const test = suite("fuzz actions");

const int = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 2 ** 31 - 1, -(2 ** 31)));
const whole = text.map((one) => one.toWellFormed()); // What is not, no peer can send.
const message = fc.record({
  actionType: fc.oneof(fc.constantFrom(0, 0, 0, 1, 2), int).map((kind) => kind as ActionType), // Any number travels.
  actionPayload: json.map((one) => one.toWellFormed()),
  additionalMetadata: json.map((one) => one.toWellFormed()),
  retryCount: int,
  durableTaskInvocationCount: int,
  actionId: whole,
  taskName: whole,
  taskId: whole,
  jobId: whole,
  jobRunId: whole,
  taskRunExternalId: whole,
  workflowRunId: whole,
  workflowId: whole,
}, { requiredKeys: [] });

function isRecord(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.getPrototypeOf(value) === Object.prototype;
}

/** What no text may do to all objects. */
function assertClean(): void {
  assert.not.ok("polluted" in {}, "every object was changed");
}

test("whatever an action carries, it arrives in its shape, and the stream goes on", { limitMs: 20_000 }, async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(300);

  await holds(1000, message, async (odd) => {
    loop.heard.length = 0;
    rig.remote.wire("listenV2").say(start(7, odd), start(8));
    await rig.pass(0);

    assert.is(loop.fate.text, "pending");
    const [action, next = action] = loop.heard;
    assert.is(next?.taskId, id(8));
    if (action?.kind === "start" && action !== next) {
      const { attempt, input, metadata, parents, taskId, triggers } = action;
      for (const record of [metadata, parents, triggers]) assert.ok(isRecord(record));
      assert.is.not(input, undefined);
      assert.equal([taskId, attempt], [odd.taskRunExternalId ?? id(7), odd.retryCount ?? 0]);
    }
    assertClean();
  });

  assert.is(rig.remote.opened("listenV2").length, 1);
  await rig.done();
});

test("a report of whatever kind is sent as JSON, or refused saying where", { limitMs: 20_000 }, async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(300);
  rig.remote.wire("listenV2").say(start(1));
  await rig.pass(0);
  const action = loop.heard[0] as StartAction;

  await holds(300, fc.tuple(fc.anything({ withBigInt: true, withDate: true }), text), async ([output, why]) => {
    rig.remote.calls.length = 0;
    const { error } = await rig.clock.drive(ended(action.completed(output)));
    await rig.clock.drive(action.failed(why));

    if (error !== undefined) assert.ok(error instanceof TypeError && error.message.startsWith("output"));
    for (const call of rig.remote.asked("sendStepActionEvent")) {
      const { eventPayload } = call.request as { eventPayload: string };
      assert.type(JSON.parse(eventPayload), "object");
      assert.not(eventPayload.includes("\\u0000"), "the engine would refuse it");
    }
  });

  await rig.done();
});

test("a worker that is sent anything runs what is its own, and only that", { limitMs: 20_000 }, async () => {
  const rig = new Rig();
  let ran = 0;
  const double = task({ name: "double", run: () => ({ ran: ++ran }) });
  const worker = rig.client.worker("w", { tasks: [double] });
  const running = worker.run();
  await rig.pass(300);

  await holds(300, message, async (odd) => {
    rig.remote.calls.length = 0;
    const before = ran;
    rig.remote.wire("listenV2").say(start(7, { ...odd, retryCount: 0 }), start(8 + before, { retryCount: 0 }));
    await rig.pass(0);

    assert.ok(ran > before && ran <= before + 2, `ran ${ran - before}`);
    assert.is(worker.health().active, 0);
    assertQuiet(...rig.lines.splice(0).map((line) => JSON.stringify(line)));
    assertClean();
  });

  await rig.done();
  await running;
});

test("an engine that tells the token back in its refusals does not bring it to the logger", async () => {
  const rig = new Rig();
  const double = task({ name: "double", run: () => 1 });
  const running = rig.client.worker("w", { tasks: [double] }).run();
  await rig.pass(300);
  let n = 0;

  await holds(50, fc.tuple(fc.oneof(fc.constant(Code.InvalidArgument), code), text), async ([said, why]) => {
    const metadata = { "grpc-status": String(said), "x-told": `Bearer ${token}` };
    const refusal = new ConnectError(`${why} Bearer ${token}`, said, metadata, undefined, new Error(token));
    rig.remote.next("sendStepActionEvent", refusal, refusal);
    rig.remote.wire("listenV2").say(start(++n));
    await rig.pass(30_000);
  });

  const told = rig.lines.filter(([line]) => line.includes("would not take a report"));
  assert.ok(told.length > 0);
  assertQuiet(...rig.lines.flat());
  await rig.done();
  await running;
});

test.run();
