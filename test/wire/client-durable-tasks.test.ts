import { seeded } from "../../src/testing/mod.ts";
import type { DurableRun, DurableSession, Invocation } from "../../src/mod.ts";
import { DurableError, NonDeterminismError, RunFailedError } from "../../src/mod.ts";
import { assert, rejects, suite } from "../harness.ts";
import { Stage, until } from "./client.ts";
import { type Plain, plain, report, trigger, type Worker } from "./engine-client.ts";
import { finish, workDurably } from "./engine-durable-client.ts";
import { StepActionEventType } from "../../src/proto.ts";

const test = suite("client durable tasks");

let stage: Stage;
let direct: Plain;
let worker: Worker;
let tasks: DurableSession;
test.before.each(async () => {
  stage = await Stage.open({ seed: 1 });
  direct = plain(stage.engine);
  for (const name of ["long", "child"]) {
    const isDurable = name === "long";
    const slots = isDurable ? { slotRequests: { durable: 1 } } : {};
    await direct.admin.putWorkflow({
      name,
      tasks: [{ readableId: name, action: `${name}:${name}`, isDurable, ...slots }],
    });
  }
  worker = await workDurably(direct, stage.engine);
  tasks = stage.client().durable.tasks({ workerId: worker.workerId });
});
test.after.each(() => stage.close());

/** Triggers a durable task, and waits until it is assigned. */
async function begin(): Promise<Invocation> {
  const taskId = await trigger(direct, "long");
  await until(() => assigned(taskId) === 1);
  return { taskId, invocation: 1 };
}

/** The newest invocation of a task that was assigned. */
function assigned(taskId: string): number | undefined {
  return worker.messages.findLast((action) => action.taskRunExternalId === taskId)?.durableTaskInvocationCount;
}

/** Has a child completed, once it was started. */
async function complete(run: DurableRun | undefined, output: unknown): Promise<void> {
  await until(() => worker.messages.some((action) => action.taskRunExternalId === run?.id));
  await finish(direct, worker, run?.id ?? "", output);
}

test("a memo is remembered, and a later invocation does not make it again", { limitMs: 10_000 }, async () => {
  const task = await begin();
  let made = 0;
  const make = () => ({ made: ++made });

  const first = [
    await tasks.memo(task, "a", make),
    await tasks.memo(task, "b", 7),
    await tasks.memo(task, "c", () => {}),
  ];
  await tasks.evict(task);
  const again = await restored(task);
  const second = [
    await tasks.memo(again, "a", make),
    await tasks.memo(again, "b", 8),
    await tasks.memo(again, "c", () => 9),
  ];

  assert.equal(first, [{ made: 1 }, 7, null]);
  assert.equal(second, first);
  assert.is(made, 1);
});

/** Brings an evicted task back. */
async function restored({ invocation, taskId }: Invocation): Promise<Invocation> {
  await direct.dispatcher.restoreEvictedTask({ taskRunExternalId: taskId });
  await until(() => assigned(taskId) === invocation + 1);
  return { taskId, invocation: invocation + 1 };
}

test("children are triggered together, and each tells its own outcome", { limitMs: 10_000 }, async () => {
  const task = await begin();

  const runs = await tasks.triggerRuns(task, [1, 2, 3].map((number) => ({ task: "child", input: { number } })));
  await complete(runs[2], { third: true });
  await complete(runs[0], { "coppice:value": 42 });
  const action = worker.messages.find(({ taskRunExternalId }) => taskRunExternalId === runs[1]?.id);
  await report(
    direct,
    { taskRunExternalId: action!.taskRunExternalId, retryCount: 0 },
    StepActionEventType.STEP_EVENT_TYPE_FAILED,
    `{"message":"no space"}`,
  );

  assert.equal([await runs[2]?.result(), await runs[0]?.result()], [{ third: true }, 42]);
  const error = await rejects(runs[1]?.result() ?? Promise.resolve(), RunFailedError);
  assert.equal([error.runId, error.failures[0]?.message], [runs[1]?.id, "no space"]);
});

test("a wait is over when its conditions are met", { limitMs: 10_000 }, async () => {
  const task = await begin();

  const slept = await tasks.waitFor(task, { sleepMs: 50 });
  const paid = tasks.waitFor(task, [{ event: "paid", expression: "input.amount > 5" }, { sleepMs: 10 }]);
  await until(() => tasks.awaited === 1);
  for (const amount of [1, 7]) await stage.client().events.push("paid", { amount });

  assert.equal(slept, { "sleep:50ms": [{ sleep_duration: "50ms" }] });
  assert.equal((await paid)["paid"], [{ amount: 7 }]);
});

test(
  "rule R33: an event that came before the wait counts with its scope and a date before it",
  { limitMs: 10_000 },
  async () => {
    const task = await begin();
    const since = new Date(Date.now() - 1000);
    await stage.client().events.push("paid", { amount: 7 }, { scope: "eu" });

    const matches = await tasks.waitFor(task, { event: "paid", scope: "eu", since });

    assert.equal(matches, { paid: [{ amount: 7 }] });
  },
);

const blows: Readonly<Record<string, () => void | Promise<void>>> = {
  "an RST": () => stage.proxy.cut("rst"),
  "a FIN": () => stage.proxy.cut("fin"),
  "an OK end": () => void stage.engine.faults.endStreams("DurableTask"),
  "an RST_STREAM": () => void stage.engine.faults.resetStreams("DurableTask"),
};

for (const [name, fall] of Object.entries(blows)) {
  test(`T9, T10: what is waited for arrives through ${name}, and in its order`, { limitMs: 10_000 }, async () => {
    const task = await begin();
    const heard: unknown[] = [];
    const runs = await tasks.triggerRuns(task, Array.from({ length: 6 }, () => ({ task: "child" })));
    const results = runs.map((run, number) => run.result().then((output) => heard.push([number, output])));
    for (const number of [3, 1]) await complete(runs[number], { number });
    await until(() => heard.length === 2);

    await fall();
    for (const number of [5, 0, 2, 4]) await complete(runs[number], { number });
    await Promise.all(results);

    assert.equal(heard, [3, 1, 5, 0, 2, 4].map((number) => [number, { number }]));
    const after = await tasks.memo({ taskId: task.taskId, invocation: 1 }, "still", "alive");
    assert.is(after, "alive");
  });
}

test(
  "rule R29: the gap that a new stream would fall into is closed by listing every step",
  { limitMs: 10_000 },
  async () => {
    const task = await begin();
    stage.engine.faults.trapCompletions();
    for (let n = 0; n < 3; n++) await tasks.waitFor(task, { sleepMs: 20 });
    const runs = await tasks.triggerRuns(task, [{ task: "child" }]);
    const evictions: unknown[] = [];
    tasks.onServerEvict((eviction) => evictions.push(eviction));

    stage.proxy.cut("rst");
    const startedMs = Date.now();
    await complete(runs[0], { done: true });
    const output = await runs[0]?.result();
    stage.proxy.cut("rst");
    await tasks.waitFor(task, { sleepMs: 20 }).catch(() => {
      // It may have been on its way.
    });

    assert.equal(output, { done: true });
    assert.equal(evictions, []);
    assert.ok(Date.now() - startedMs < 2900, "sooner than the engine would give it up");
  },
);

test("completions that come twice, and late answers, change nothing", { limitMs: 10_000 }, async () => {
  const task = await begin();
  stage.engine.faults.duplicateCompletions(1000);
  stage.engine.faults.delayAcks(30);

  const all = await Promise.all([
    tasks.waitFor(task, { sleepMs: 20 }),
    tasks.memo(task, "a", 1),
    tasks.waitFor(task, { sleepMs: 20, key: "second" }),
    tasks.memo(task, "b", () => 2),
  ]);

  assert.equal(all.map((one) => Object.keys(Object(one))[0] ?? one), ["sleep:20ms", 1, "second", 2]);
});

test("an answer that is lost with its stream fails the request, and the next invocation finds what it did", {
  limitMs: 10_000,
}, async () => {
  const task = await begin();
  stage.engine.faults.loseAcks(1);
  const lost = tasks.triggerRuns(task, [{ task: "child", input: { b: 1, a: 2 } }]);
  await until(() => stage.engine.seen.triggers === 2);

  stage.proxy.cut("rst");
  const error = await rejects(lost, DurableError);
  await tasks.evict(task, "its answer was lost");
  const again = await restored(task);
  const runs = await tasks.triggerRuns(again, [{ task: "child", input: { a: 2, b: 1 } }]);
  await complete(runs[0], { found: true });

  assert.is(error.code, "lost");
  assert.equal(await runs[0]?.result(), { found: true });
  assert.is(stage.engine.seen.triggers, 2, "no child twice");
});

test("T14: a task that does something else the second time is told so", { limitMs: 10_000 }, async () => {
  const task = await begin();
  await tasks.memo(task, "a", 1);
  await tasks.evict(task);
  const again = await restored(task);

  const error = await rejects(tasks.memo(again, "b", 1), NonDeterminismError);

  assert.equal([error.taskId, error.invocation, error.node], [task.taskId, 2, 1]);
});

test("T15: who goes on with an old invocation is sent away by the engine", { limitMs: 10_000 }, async () => {
  const task = await begin();
  const waiting = rejects(tasks.waitFor(task, { event: "never" }), DurableError);
  await until(() => tasks.awaited === 1);
  const told: unknown[] = [];
  tasks.onServerEvict(({ invocation }) => told.push(invocation));
  const elsewhere = stage.client().durable.tasks({ workerId: worker.workerId });
  await elsewhere.evict(task);
  await restored(task);

  const error = await waiting;

  assert.equal([error.code, told, tasks.awaited], ["evicted", [1], 0]);
  assert.is((await rejects(tasks.memo(task, "a", 1), DurableError)).code, "evicted");
});

test("an evicted task comes back when what it waits for has come, and finds it", { limitMs: 10_000 }, async () => {
  const task = await begin();
  const waiting = rejects(tasks.waitFor(task, { sleepMs: 100 }), DurableError);
  await until(() => tasks.awaited === 1);

  await tasks.evict(task);
  await until(() => assigned(task.taskId) === 2);
  const matches = await tasks.waitFor({ ...task, invocation: 2 }, { sleepMs: 100 });

  assert.is((await waiting).code, "evicted");
  assert.equal(matches, { "sleep:100ms": [{ sleep_duration: "100ms" }] });
});

test(
  "cuts at any moment lose no completion and no order, and no request happens twice",
  { limitMs: 20_000 },
  async () => {
    const random = seeded(7);
    stage.engine.faults.trapCompletions();
    let task = await begin();
    let storming = true;
    const storm = (async () => {
      while (storming) {
        await new Promise((resolve) => setTimeout(resolve, 60 + 200 * random()));
        if (random() < 0.5) stage.proxy.cut("rst");
        else stage.engine.faults.endStreams("DurableTask");
      }
    })();
    /** What the task does; every invocation does the same from the first step on. */
    const body = async (of: Invocation): Promise<unknown[]> => {
      const heard: unknown[] = [await tasks.memo(of, "start", () => "started")];
      for (let round = 0; round < 4; round++) {
        heard.push(Object.keys(await tasks.waitFor(of, { sleepMs: 20, key: `round ${round}` }))[0]);
        const runs = await tasks.triggerRuns(of, [{ task: "child", input: { round } }]);
        void complete(runs[0], { round }).catch(() => {
          // It was completed by the invocation before.
        });
        heard.push(await runs[0]?.result());
      }
      return heard;
    };

    let heard: unknown[] | undefined;
    let invocations = 0;
    while (heard === undefined) {
      invocations++;
      try {
        heard = await body(task);
      } catch (error) {
        if (!(error instanceof DurableError) || error.code !== "lost") throw error;
        for (;;) {
          try {
            await tasks.evict(task);
            break;
          } catch (trouble) {
            if (!(trouble instanceof DurableError) || trouble.code !== "lost") throw trouble;
          }
        }
        task = await restored(task);
      }
    }
    storming = false;
    await storm;

    assert.equal(heard, ["started", ...[0, 1, 2, 3].flatMap((round) => [`round ${round}`, { round }])]);
    assert.is(stage.engine.seen.triggers, 1 + 4, `${invocations} invocations`);
  },
);

test.run();
