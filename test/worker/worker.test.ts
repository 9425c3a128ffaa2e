import { Code, ConnectError } from "@connectrpc/connect";
import type { StepActionEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { CreateWorkflowVersionRequest } from "../../gen/v1/workflows_pb.ts";
import type { StreamError } from "../../src/streams/mod.ts";
import type { Context } from "../../src/worker/context.ts";
import type { Task } from "../../src/worker/task.ts";
import { task } from "../../src/worker/task.ts";
import type { Worker, WorkerOptions } from "../../src/worker/worker.ts";
import { assert, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import { cancel, Fate, Rig, start } from "../rig.ts";

const test = suite("worker");

/** A task whose attempts are ended by the test. */
class Work {
  readonly contexts: Context[] = [];
  readonly #ends: ((output: unknown) => void)[] = [];
  readonly task: Task = task({
    name: "double",
    run: (_, context) => {
      this.contexts.push(context);
      return new Promise((resolve) => this.#ends.push(resolve));
    },
  });

  end(n: number, output: unknown = {}): void {
    this.#ends[n]?.(output);
  }

  /** Why the nth attempt was aborted. */
  because(n: number): unknown {
    const reason: unknown = this.contexts[n]?.signal.reason;
    return reason instanceof Error && "because" in reason ? reason.because : reason;
  }
}

/** A worker that runs and receives. */
async function working(
  options: Partial<WorkerOptions> = {},
): Promise<{ readonly rig: Rig; readonly work: Work; readonly worker: Worker; readonly fate: Fate }> {
  const rig = new Rig();
  const work = new Work();
  const worker = rig.client.worker("worker", { tasks: [work.task], ...options });
  const fate = new Fate(worker.run());
  await rig.clock.drive(worker.ready());
  return { rig, work, worker, fate };
}

function say(rig: Rig, ...actions: Parameters<ReturnType<Rig["remote"]["wire"]>["say"]>): Promise<void> {
  rig.remote.wire("listenV2").say(...actions);
  return rig.pass(0);
}

/** What was reported, as `type task attempt payload`. */
function told(rig: Rig): string[] {
  const names = ["UNKNOWN", "STARTED", "COMPLETED", "FAILED"];
  return rig.remote.asked("sendStepActionEvent").map(({ request }) => {
    const { eventType, eventPayload, retryCount, taskRunExternalId } = request as StepActionEvent; // The rig's own type.
    const payload = eventPayload.startsWith(`{"message"`) ? `${JSON.parse(eventPayload).message}` : eventPayload;
    return `${names[eventType]} ${Number(taskRunExternalId.slice(-12))}.${retryCount ?? 0} ${payload}`.trim();
  });
}

test("rule R9: puts its workflows, awaits that, registers, listens, beats", async () => {
  const { rig, worker } = await working({ slots: 7, labels: { gpu: "a100", cores: 8 } });

  assert.equal(rig.remote.calls.map(({ method }) => method), ["putWorkflow", "register", "heartbeat"]);
  const { actions, labels, slotConfig, workerName } = Object(rig.remote.asked("register")[0]?.request);
  assert.equal([workerName, actions, slotConfig], ["worker", ["double:double"], { default: 7 }]);
  assert.equal([labels.gpu.strValue, labels.cores.intValue], ["a100", 8]);
  assert.equal(worker.health(), { ready: true, workerId: id(1), active: 0 });
  await rig.done();
});

test("has a hundred slots unless told, and the labels that the environment presets", async () => {
  const rig = new Rig({ namespace: "Prod" }, {
    HATCHET_CLIENT_WORKER_PRESET_LABELS: `{"zone":"eu","gpu":"none"}`,
    HATCHET_CLIENT_AUTOSCALING_TARGET: "fleet",
  });
  const worker = rig.client.worker("worker", { tasks: [new Work().task], labels: { gpu: "a100" } });
  void worker.run();
  await rig.clock.drive(worker.ready());

  const { actions, labels, slotConfig } = Object(rig.remote.asked("register")[0]?.request);
  const workflow = rig.remote.asked("putWorkflow")[0]?.request as CreateWorkflowVersionRequest; // The rig's own type.
  assert.equal([actions, slotConfig], [["prod_double:double"], { default: 100 }]);
  assert.equal(
    Object.entries(Object(labels)).map(([key, value]) => `${key}=${Object(value).strValue}`),
    ["zone=eu", "gpu=a100", "hatchet-autoscaling-target=fleet"],
  );
  assert.equal([workflow.name, workflow.tasks[0]?.action], ["prod_double", "prod_double:double"]);
  await rig.done();
});

test("runs what comes, and reports its start and its output", async () => {
  const { rig, work, worker } = await working();

  await say(rig, start(3, { additionalMetadata: `{"who":"me"}` }));
  assert.is(worker.health().active, 1);
  work.end(0, { total: 6 });
  await rig.pass(0);

  const { log, putStream, refreshTimeout, releaseSlot, signal: _, ...context } = work.contexts[0]!;
  assert.equal([log, putStream, refreshTimeout, releaseSlot].map((effect) => typeof effect), Array(4).fill("function"));
  assert.equal(context, {
    runId: id(3),
    taskId: id(3),
    name: "double",
    attempt: 0,
    workerId: id(1),
    metadata: { who: "me" },
    parents: {},
    triggers: {},
  });
  assert.equal(told(rig), ["STARTED 3.0", `COMPLETED 3.0 {"total":6}`]);
  assert.is(worker.health().active, 0);
  await rig.done();
});

test("what a task throws, at once or later, is its failure", async () => {
  const rig = new Rig();
  const worker = rig.client.worker("worker", {
    tasks: [
      task({
        name: "now",
        run: () => {
          throw new Error("now");
        },
      }),
      task({ name: "later", run: () => Promise.reject(new Error("later")) }),
      task({ name: "odd", run: () => Promise.reject("odd") }),
      task({ name: "bigint", run: () => ({ n: 1n }) }),
    ],
  });
  void worker.run();
  await rig.clock.drive(worker.ready());

  await say(
    rig,
    start(1, { actionId: "now:now" }),
    start(2, { actionId: "later:later" }),
    start(3, { actionId: "odd:odd" }),
    start(4, { actionId: "bigint:bigint" }),
    start(5, { actionId: "unknown:unknown" }),
  );

  assert.equal(told(rig).filter((report) => report.startsWith("FAILED")).toSorted(), [
    "FAILED 1.0 now",
    "FAILED 2.0 later",
    "FAILED 3.0 odd",
    "FAILED 4.0 output.n is 1n, which JSON cannot carry",
    "FAILED 5.0 This worker does not run unknown:unknown",
  ]);
  assert.is(worker.health().active, 0);
  await rig.done();
});

test("runs no more at once than it has slots, and the rest in order", async () => {
  const { rig, work, worker } = await working({ slots: 2 });

  await say(rig, start(1), start(2), start(3), start(4));
  assert.equal([work.contexts.length, worker.health().active], [2, 2]);
  work.end(1);
  await rig.pass(0);
  work.end(0);
  await rig.pass(0);

  assert.equal(work.contexts.map(({ taskId }) => taskId), [id(1), id(2), id(3), id(4)]);
  await rig.done();
});

test("a slot is taken until the report is taken", async () => {
  const { rig, work } = await working({ slots: 1 });
  await say(rig, start(1), start(2));
  rig.remote.next("sendStepActionEvent", said(Code.Unavailable));

  work.end(0);
  await rig.pass(0);
  assert.is(work.contexts.length, 1);
  await rig.pass(1000);

  assert.is(work.contexts.length, 2);
  await rig.done();
});

test("rule R19: an attempt that comes twice runs once, whether it runs or waits", async () => {
  const { rig, work } = await working({ slots: 1 });

  await say(rig, start(1), start(1), start(2), start(2));
  work.end(0);
  await rig.pass(0);
  work.end(1);
  await rig.pass(0);

  assert.equal(work.contexts.map(({ taskId }) => taskId), [id(1), id(2)]);
  await rig.done();
});

test("rule R19: a newer attempt aborts the older one without a word, an older one is left", async () => {
  const { rig, work } = await working();

  await say(rig, start(1));
  await say(rig, start(1, { retryCount: 1 }), start(1));
  work.end(0, { old: true });
  work.end(1, { new: true });
  await rig.pass(0);

  assert.is(work.because(0), "superseded");
  assert.is(work.contexts[1]?.signal.aborted, false);
  assert.equal(work.contexts.map(({ attempt }) => attempt), [0, 1]);
  assert.equal(told(rig), ["STARTED 1.0", "STARTED 1.1", `COMPLETED 1.1 {"new":true}`]);
  await rig.done();
});

test("rule R19: of a durable task the later invocation is the newer, within one attempt", async () => {
  const { rig, work } = await working();

  await say(rig, start(1, { durableTaskInvocationCount: 1 }));
  await say(rig, start(1, { durableTaskInvocationCount: 2 }));

  assert.is(work.because(0), "superseded");
  assert.is(work.contexts.length, 2);
  await rig.done();
});

test("rule R19: of a task that waits for a slot only the newest attempt is kept", async () => {
  const { rig, work } = await working({ slots: 1 });

  await say(rig, start(9), start(1, { retryCount: 1 }), start(1), start(2), start(2, { retryCount: 1 }));
  for (const n of [0, 1, 2, 3]) {
    work.end(n);
    await rig.pass(0);
  }

  assert.equal(work.contexts.map(({ taskId, attempt }) => `${Number(taskId.slice(-12))}.${attempt}`), [
    "9.0",
    "1.1",
    "2.1",
  ]);
  await rig.done();
});

test("rule R21: a cancel aborts the attempt, and nothing is reported for it after that", async () => {
  const { rig, work } = await working();
  await say(rig, start(1));

  await say(rig, cancel(1), cancel(1));
  work.end(0);
  await rig.pass(60_000);

  assert.is(work.because(0), "cancelled");
  assert.equal(told(rig), ["STARTED 1.0"]);
  await rig.done();
});

test("rule R21: what a task throws because of its cancel is reported to nobody", async () => {
  const { rig, work, worker } = await working();
  await say(rig, start(1));

  await say(rig, cancel(1));
  work.end(0, Promise.reject(work.contexts[0]?.signal.reason));
  await rig.pass(60_000);

  assert.equal(told(rig), ["STARTED 1.0"]);
  assert.equal([worker.health().active, rig.lines], [0, []]);
  await rig.done();
});

test("rule R21: a report that the engine has not taken is sent no more after a cancel", async () => {
  const { rig, work, worker } = await working();
  await say(rig, start(1));
  rig.remote.always("sendStepActionEvent", said(Code.Unavailable));
  work.end(0);
  await rig.pass(1000);
  const before = told(rig).length;

  await say(rig, cancel(1));
  rig.remote.always("sendStepActionEvent");
  await rig.pass(60_000);

  assert.is(told(rig).length, before);
  assert.equal([worker.health().active, rig.lines], [0, []]);
  await rig.done();
});

test("rule R21: an attempt that was cancelled before it came does not run, a later one does", async () => {
  const { rig, work } = await working();

  await say(rig, cancel(1), cancel(1), start(1), start(1, { retryCount: 1 }));

  assert.equal(work.contexts.map(({ attempt }) => attempt), [1]);
  await rig.done();
});

test("rule R21: an attempt that waits for a slot is taken out by its cancel", async () => {
  const { rig, work } = await working({ slots: 1 });
  await say(rig, start(1), start(2), start(3));

  await say(rig, cancel(2));
  work.end(0);
  await rig.pass(0);

  assert.equal(work.contexts.map(({ taskId }) => taskId), [id(1), id(3)]);
  await rig.done();
});

test("a cancel of an older attempt leaves the newer one alone", async () => {
  const { rig, work } = await working();
  await say(rig, start(1, { retryCount: 1 }));

  await say(rig, cancel(1, 0));

  assert.is(work.contexts[0]?.signal.aborted, false);
  await rig.done();
});

test("a report that the engine will never take is logged, and the worker goes on", async () => {
  const { rig, work, fate } = await working();
  await say(rig, start(1));
  rig.remote.always("sendStepActionEvent", said(Code.InvalidArgument));

  work.end(0);
  await rig.pass(0);

  const [line] = rig.lines;
  assert.is(line?.[0], "error The engine would not take a report");
  assert.equal([line?.[1]["actionId"], line?.[1]["taskId"], line?.[1]["attempt"]], ["double:double", id(1), 0]);
  assert.is(rig.lines.length, 1);
  assert.is(fate.text, "pending");
  await rig.done();
});

test("rule R12: stop lets work finish and report, then unsubscribes, then closes the stream, and beats until then", async () => {
  const { rig, work, worker, fate } = await working();
  await say(rig, start(1));

  const stopping = new Fate(worker.stop({ graceMs: 30_000 }));
  await rig.pass(9000);
  await say(rig, start(2));
  assert.equal([worker.health().ready, stopping.text], [false, "pending"]);
  assert.is(rig.remote.asked("heartbeat").length, 3);
  let wasOpen = false;
  rig.remote.next("unsubscribe", async () => {
    await rig.clock.sleep(1000);
    wasOpen = !rig.remote.wire("listenV2").over;
  });
  work.end(0, { late: true });
  await rig.pass(0);
  assert.is(rig.remote.asked("unsubscribe").length, 1);
  await rig.pass(1000);

  assert.equal([stopping.text, fate.text, wasOpen], ["ok undefined", "ok undefined", true]);
  assert.equal(told(rig), ["STARTED 1.0", `COMPLETED 1.0 {"late":true}`]);
  assert.equal(Object(rig.remote.asked("unsubscribe")[0]?.request).workerId, id(1));
  assert.equal([rig.remote.underWay, rig.clock.asleep], [[], 0]);
  await rig.done();
});

test("rule R12: what waits for a slot when the worker stops is not started any more", async () => {
  const { rig, work, worker } = await working({ slots: 1 });
  await say(rig, start(1), start(2));

  const stopping = new Fate(worker.stop());
  await rig.pass(100);
  work.end(0);
  await rig.pass(100);

  assert.equal([work.contexts.length, stopping.text], [1, "ok undefined"]);
  await rig.done();
});

test("stop keeps to its grace: then it aborts what runs, and reports nothing for it", async () => {
  const { rig, work, worker, fate } = await working();
  await say(rig, start(1));

  const stopping = new Fate(worker.stop({ graceMs: 3000 }));
  await rig.pass(2999);
  assert.equal([stopping.text, work.contexts[0]?.signal.aborted], ["pending", false]);
  await rig.pass(1);
  work.end(0);
  await rig.pass(10_000);

  assert.equal([stopping.text, fate.text], ["ok undefined", "ok undefined"]);
  assert.is(work.because(0), "stopped");
  assert.equal(told(rig), ["STARTED 1.0"]);
  assert.is(rig.remote.asked("unsubscribe").length, 1);
  await rig.done();
});

test("stop waits ten seconds unless told, and is one stop however often it is called", async () => {
  const { rig, worker } = await working();
  await say(rig, start(1));

  const fates = [worker.stop(), worker.stop({ graceMs: 0 }), worker[Symbol.asyncDispose]()].map((one) => new Fate(one));
  await rig.pass(9999);
  assert.equal(fates.map(({ text }) => text), ["pending", "pending", "pending"]);
  await rig.pass(1);

  assert.equal(fates.map(({ text }) => text), ["ok undefined", "ok undefined", "ok undefined"]);
  assert.is(rig.remote.asked("unsubscribe").length, 1);
  await rig.done();
});

test("the signal of run stops the worker gently", async () => {
  const rig = new Rig();
  const work = new Work();
  const worker = rig.client.worker("worker", { tasks: [work.task] });
  const caller = new AbortController();
  const fate = new Fate(worker.run({ signal: caller.signal }));
  await rig.clock.drive(worker.ready());
  await say(rig, start(1));

  caller.abort();
  await rig.pass(1000);
  work.end(0, { done: true });
  await rig.pass(0);

  assert.is(fate.text, "ok undefined");
  assert.equal(told(rig), ["STARTED 1.0", `COMPLETED 1.0 {"done":true}`]);
  await rig.done();
});

test("a signal that has aborted already runs nothing", async () => {
  const rig = new Rig();
  const worker = rig.client.worker("worker", { tasks: [new Work().task] });

  const fate = new Fate(worker.run({ signal: AbortSignal.abort() }));
  await rig.pass(60_000);

  assert.is(fate.text, "ok undefined");
  assert.equal([rig.remote.calls, rig.remote.wires, rig.clock.asleep], [[], [], 0]);
  await rig.done();
});

test("stop while the engine is away takes no longer than grace and farewell", async () => {
  const { rig, worker, fate } = await working();
  rig.remote.listening = false;
  rig.remote.kill();
  await rig.pass(5000);

  const stopping = new Fate(worker.stop({ graceMs: 1000 }));
  await rig.pass(2000);

  assert.equal([stopping.text, fate.text], ["ok undefined", "ok undefined"]);
  assert.is(rig.clock.asleep, 0);
  await rig.done();
});

test("stop while the worker is being set up ends the set-up", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  const worker = rig.client.worker("worker", { tasks: [new Work().task] });
  const fate = new Fate(worker.run());
  const ready = new Fate(worker.ready());
  await rig.pass(100);

  await rig.clock.drive(worker.stop());
  await rig.pass(0);

  assert.equal([fate.text, ready.text], ["ok undefined", "closed"]);
  assert.is(rig.clock.asleep, 0);
  await rig.done();
});

test("an engine that is not there at the start rejects run and ready with the cause", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  const worker = rig.client.worker("worker", { tasks: [new Work().task] });
  const early = new Fate(worker.ready());
  const fate = new Fate(worker.run());
  const ready = new Fate(worker.ready());

  await rig.pass(60_000);

  for (const { error } of [fate, early, ready]) {
    assert.is((error as StreamError).code, "unreachable");
    assert.is((error as StreamError).attempts, 5);
    assert.match(((error as StreamError).cause as Error).message, /ECONNREFUSED/);
  }
  assert.is(rig.clock.asleep, 0);
  await rig.done();
});

test("W2: a worker that gives up rejects run with why, aborts what runs, and is not ready", async () => {
  const { rig, work, worker, fate } = await working();
  await say(rig, start(1));

  rig.remote.wire("listenV2").fail(said(Code.FailedPrecondition));
  await rig.pass(0);

  assert.is((fate.error as StreamError).code, "refused");
  assert.is((fate.cause as ConnectError).code, Code.FailedPrecondition);
  assert.is(work.because(0), "stopped");
  assert.is(worker.health().ready, false);
  assert.is(new Fate(worker.ready()).text, "pending");
  await rig.pass(0);
  assert.is(rig.lines.at(-1)?.[0], "error A stream has ended");
  await rig.done();
});

test("rule R3: a bad token is one clear error, without a second try", async () => {
  const rig = new Rig();
  rig.remote.always("putWorkflow", said(Code.Unauthenticated));
  const worker = rig.client.worker("worker", { tasks: [new Work().task] });

  const fate = new Fate(worker.run());
  await rig.pass(60_000);

  assert.is((fate.error as StreamError).code, "refused");
  assert.is((fate.error as Error).message, "The engine refused the token");
  assert.is((fate.cause as ConnectError).code, Code.Unauthenticated);
  assert.is(rig.remote.calls.length, 1);
  await rig.done();
});

test("a workflow that the engine would not take is told in Connect's own words", async () => {
  const rig = new Rig();
  rig.remote.always("putWorkflow", said(Code.InvalidArgument));
  const worker = rig.client.worker("worker", { tasks: [new Work().task] });

  const fate = new Fate(worker.run());
  await rig.pass(60_000);

  assert.instance(fate.error, ConnectError);
  assert.is((fate.error as ConnectError).code, Code.InvalidArgument);
  await rig.done();
});

test("ready waits for the first beat to be taken, also when the stream went live before", async () => {
  const rig = new Rig();
  rig.remote.always("heartbeat", said(Code.Unavailable));
  const worker = rig.client.worker("worker", { tasks: [new Work().task] });
  void worker.run();
  const ready = new Fate(worker.ready());

  await rig.pass(30_000);
  assert.equal([ready.text, rig.client.health().streams[0]?.state], ["pending", "live"]);
  rig.remote.always("heartbeat");
  await rig.pass(4000);

  assert.is(ready.text, "ok undefined");
  assert.is(worker.health().ready, true);
  await rig.done();
});

test("ready rejects with its signal's own reason, and disturbs nothing", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  const worker = rig.client.worker("worker", { tasks: [new Work().task] });
  const caller = new AbortController();
  const fate = new Fate(worker.run());
  const ready = [caller.signal, AbortSignal.abort("before")].map((signal) => new Fate(worker.ready({ signal })));
  await rig.pass(1000);

  caller.abort("enough");
  await rig.pass(0);

  assert.equal(ready.map(({ error }) => error), ["enough", "before"]);
  assert.is(fate.text, "pending");
  await rig.done();
});

test("ready comes again after a reconnect, and health tells the way there", async () => {
  const { rig, worker } = await working();
  rig.remote.kill();
  await rig.pass(1000);
  assert.is(worker.health().ready, false);

  const ready = new Fate(worker.ready());
  await rig.pass(1500);

  assert.is(ready.text, "ok undefined");
  assert.is(worker.health().ready, true);
  await rig.done();
});

test("a worker that the engine forgot is registered again, and health tells its new id", async () => {
  const { rig, worker, work } = await working();
  rig.remote.next("heartbeat", said(Code.NotFound));
  await rig.pass(10_000);

  await say(rig, start(1));

  assert.equal([worker.health().workerId, worker.health().ready], [id(2), true]);
  assert.is(work.contexts[0]?.workerId, id(2));
  assert.is(rig.remote.asked("putWorkflow").length, 1);
  await rig.done();
});

test("runs once", async () => {
  const { rig, worker } = await working();

  assert.throws(() => worker.run(), /runs once/);
  await rig.done();
});

test("makes no sense of options at once", () => {
  const rig = new Rig();
  const { task: double } = new Work();

  assert.throws(() => rig.client.worker("worker", { tasks: [] }), /at least one task/);
  assert.throws(() => rig.client.worker("worker", { tasks: [double, double] }), /names of their own/);
  assert.throws(() => rig.client.worker("a worker", { tasks: [double] }), /worker name/);
  for (const slots of [0, -1, 1.5, NaN]) {
    assert.throws(() => rig.client.worker("worker", { tasks: [double], slots }), /slots must be whole and above 0/);
  }
});

test("close of the client stops its workers first, gently", async () => {
  const { rig, work, fate } = await working();
  await say(rig, start(1));

  const closing = new Fate(rig.client.close({ graceMs: 5000 }));
  await rig.pass(1000);
  assert.equal([closing.text, rig.remote.wire("listenV2").over], ["pending", false]);
  work.end(0);
  await rig.pass(0);

  assert.equal([closing.text, fate.text], ["ok undefined", "ok undefined"]);
  assert.is(told(rig).length, 2);
  await rig.done();
});

test.run();
