import * as fc from "fast-check";
import { task } from "../../src/worker/task.ts";
import { assert, suite } from "../harness.ts";
import { id } from "../remote.ts";
import { Rig } from "../rig.ts";
import { assertQuiet, ended, holds } from "./cases.ts";
import { anything, text, wrongId } from "./wrong.ts";

const test = suite("fuzz arguments");

/** An error that says what was wrong, and no more than fits on a few lines. */
function assertClear(error: unknown, said: RegExp): void {
  assert.ok(error instanceof TypeError || error instanceof RangeError, `threw ${fc.stringify(error)}`);
  const { message } = error;
  assert.match(message, said);
  assert.ok(message.length < 400, `${message.length} characters`);
  assert.not.match(message, /[\r\n]/);
  assertQuiet(error);
}

/** What a call made of a wrong argument; whatever it made, the engine must not have heard of it. */
async function refused(
  values: fc.Arbitrary<unknown>,
  count: number,
  said: RegExp,
  call: (rig: Rig, value: never) => unknown,
): Promise<void> {
  const rig = new Rig();
  await holds(count, values, async (value) => {
    const { error } = await ended(() => call(rig, value as never)); // Wrong on purpose.

    assertClear(error, said);
    assert.is(rig.remote.calls.length + rig.remote.wires.length + rig.remote.dialedAt.length, 0, "it was sent");
  });
  await rig.done();
}

const isName = (value: unknown) => typeof value === "string" && /^[A-Za-z0-9._-]+$/.test(value);
const wrongName = fc.oneof(anything, text).filter((value) => !isName(value));
const wrongPriority = anything.filter((value) => value !== undefined && ![1, 2, 3].includes(value as number));
const wrongMs = fc.oneof(anything, fc.double(), fc.integer({ max: -1 })).filter((value) =>
  value !== undefined && !(Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 9_223_372_036_854)
);
const wrongCount = fc.oneof(anything, fc.double()).filter((value) =>
  value !== undefined && !(Number.isSafeInteger(value) && (value as number) >= 1)
);
const wrongIds = fc.array(wrongId, { minLength: 1, maxLength: 3 });

test("a wrong run id is refused before anything is sent", { limitMs: 20_000 }, async () => {
  await refused(wrongId, 300, /^run id must be a UUID/, ({ client }, value) => client.runs.result(value));
  await refused(wrongId, 200, /^run id must be a UUID/, ({ client }, value) => client.runs.details(value));
  await refused(wrongIds, 200, /^run id must be a UUID/, ({ client }, value) => client.runs.cancel(value));
  await refused(wrongIds, 200, /^run id must be a UUID/, ({ client }, value) => client.runs.results(value));
});

test("what is no list of ids at all is refused as clearly", async () => {
  const wrong = wrongId.filter((value) => value === null || typeof value !== "object" || !(Symbol.iterator in value));

  await refused(wrong, 100, /^run id/, ({ client }, value) => client.runs.cancel(value));
  await refused(wrong, 100, /^run id/, ({ client }, value) => client.runs.results(value));
});

test("a wrong worker id is refused before anything is sent", { limitMs: 20_000 }, async () => {
  await refused(wrongId, 200, /^workerId must be a UUID/, ({ client }, workerId) => client.actions({ workerId }));
});

test("a run with a wrong name, priority, parent or worker is not triggered", { limitMs: 20_000 }, async () => {
  const given = wrongId.filter((value) => value !== undefined);

  await refused(wrongName, 200, /^workflow name must be/, ({ client }, name) => {
    return client.runs.trigger(typeof name === "string" ? name : { name } as never, {});
  });
  await refused(
    wrongPriority,
    150,
    /^priority must be/,
    ({ client }, priority) => client.runs.trigger("a", {}, { priority }),
  );
  await refused(given, 100, /^workerId must be/, ({ client }, workerId) => client.runs.trigger("a", {}, { workerId }));
  await refused(given, 100, /^parent\.taskId must be/, ({ client }, taskId) => {
    return client.runs.trigger("a", {}, { parent: { runId: id(1), taskId } });
  });
});

test("an input of whatever kind is sent as an object, or refused saying where", { limitMs: 20_000 }, async () => {
  const rig = new Rig();

  await holds(300, anything, async (input) => {
    const { error } = await ended(rig.clock.drive(rig.client.runs.trigger("a", input)));

    if (error !== undefined) return assertClear(error, /^input/);
    const { input: sent } = rig.remote.asked("triggerWorkflow").at(-1)!.request as { input: string };
    assert.type(JSON.parse(sent), "object");
  });

  await rig.done();
});

test("a task with a wrong name, duration, count or priority is not defined", { limitMs: 20_000 }, async () => {
  const run = () => 1;

  await refused(wrongName, 150, /^task name must be/, (_, name) => task({ name, run }));
  await refused(wrongMs, 200, /^(timeout|duration)/, (_, timeoutMs) => task({ name: "a", run, timeoutMs }));
  await refused(wrongMs, 100, /^(scheduleTimeout|duration)/, (_, scheduleTimeoutMs) => {
    return task({ name: "a", run, scheduleTimeoutMs });
  });
  await refused(wrongCount, 100, /^slots must be/, (_, slots) => task({ name: "a", run, slots }));
  await refused(wrongPriority, 100, /^priority must be/, (_, priority) => task({ name: "a", run, priority }));
  await refused(anything.filter((value) => typeof value !== "function"), 100, /^run must be a function/, (_, wrong) => {
    return task({ name: "a", run: wrong });
  });
});

test("a worker with a wrong name, action, slot or label is not registered", { limitMs: 20_000 }, async () => {
  const tasks = [task({ name: "a", run: () => 1 })];
  const wrongAction = fc.oneof(anything, text).filter((one) =>
    typeof one !== "string" || !/^[^:\s]+(:[^:\s]+){1,2}$/.test(one)
  );
  const wrongLabel = anything.filter((one) => {
    return typeof one !== "string" && !(Number.isInteger(one) && Math.abs(one as number) < 2 ** 31);
  });

  await refused(wrongName, 150, /^worker name must be/, ({ client }, name) => client.worker(name, { tasks }));
  await refused(wrongCount, 150, /^slots must be/, ({ client }, slots) => client.worker("w", { slots, tasks }));
  await refused(wrongAction, 150, /^actions must be/, ({ client }, action) => {
    return client.actions({ register: { actions: [action], name: "w" } });
  });
  await refused(wrongLabel, 150, /^labels must be/, ({ client }, label) => {
    return client.register({ actions: ["a:a"], labels: { odd: label }, name: "w" });
  });
});

test.run();
