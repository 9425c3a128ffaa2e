import { ConnectError } from "@connectrpc/connect";
import { AdminService, Dispatcher } from "../../src/proto.ts";
import type { Action, Client, Context, SettledRun, StreamReport } from "../../src/mod.ts";
import { createClient, RunCancelledError, RunFailedError, StreamError, task, TaskAborted } from "../../src/mod.ts";
import { assert, rejects } from "../harness.ts";
import { jwt } from "../jwt.ts";
import { live, mark, pause, Stage, until } from "./live.ts";

const test = live("live calls");

/** A fresh worker's first work may take a few seconds to come. */
const limit = { limitMs: 30_000 };
const nobody = "00000000-0000-4000-8000-000000000000";
const name = (text: string) => `${mark}-${text}`;

const double = task({
  name: name("double"),
  retries: 3,
  run: async ({ afterMs = 0, number }: { number: number; afterMs?: number }) => {
    await pause(afterMs);
    return { doubled: 2 * number };
  },
});
const echo = task({ name: name("echo"), run: (input: unknown) => input });
const broken = task({
  name: name("broken"),
  run: () => {
    throw new Error("broken on purpose");
  },
});
const flaky = task({
  name: name("flaky"),
  retries: 2,
  run: (_: unknown, { attempt }) => {
    if (attempt < 2) throw new Error(`attempt ${attempt} fails`);
    return { attempt };
  },
});
const aborted: unknown[] = [];
const endless = task({
  name: name("endless"),
  run: (_: unknown, { signal }) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => {
        aborted.push(signal.reason);
        reject(signal.reason);
      });
    }),
});
const tooSlow = task({ name: name("too-slow"), timeoutMs: 1000, run: () => pause(20_000) });
const contexts: Context[] = [];
const witness = task({
  name: name("witness"),
  run: (_: unknown, context) => {
    contexts.push(context);
    return {};
  },
});
const parent = task({
  name: name("parent"),
  run: async (_: unknown, { runId, taskId }) => {
    const one = await client.runs.trigger(double, { number: 4 }, { parent: { runId, taskId }, childKey: "only" });
    const two = await client.runs.trigger(double, { number: 5 }, { parent: { runId, taskId }, childKey: "only" });
    return { ids: [one.id, two.id], result: await one.result() };
  },
});
const decked = task({
  name: name("decked"),
  description: "with everything that a task can have",
  backoff: { factor: 2, maxMs: 5000 },
  scheduleTimeoutMs: 60_000,
  slots: 2,
  onEvents: [name("happened")],
  onCron: ["0 5 1 1 *"],
  priority: 2,
  run: () => ({ ran: true }),
});

let stage: Stage;
let client: Client;

test.before(async () => {
  stage = await Stage.open();
  client = stage.client();
  await stage.worker(client, [double, echo, broken, flaky, endless, tooSlow, witness, parent, decked]);
});
test.after(() => stage.close());

test("runs a task and returns what it returned", limit, async () => {
  const output = await client.runs.run(double, { number: 21 });

  assert.equal(output, { doubled: 42 });
});

test("runs a workflow by its name, and tells the outputs by task", limit, async () => {
  const outputs = await client.runs.run(double.name, { number: 1 });

  assert.equal(outputs, { [double.name]: { doubled: 2 } });
});

test("a run that was triggered has a result, as often as it is asked for, and details", limit, async () => {
  const run = await client.runs.trigger(double, { number: 2 });

  const results = [await run.result(), await run.result(), await client.runs.result(run.id)];
  const details = await run.details();

  assert.equal(results, [{ doubled: 4 }, { doubled: 4 }, { [double.name]: { doubled: 4 } }]);
  assert.is(details.status, "completed");
  assert.is(details.done, true);
  assert.equal(details.input, { number: 2 });
  assert.equal(details.tasks, {
    [double.name]: { taskId: run.id, status: "completed", output: { doubled: 4 } },
  });
});

test("values that are no objects go there and back", limit, async () => {
  const values = [7, "text", null, [1, [2]], true, { "coppice:value": 1 }, { "<&>": "\u2028 ü 🌲" }, {}];

  const back = await Promise.all(values.map((value) => client.runs.run(echo, value)));

  assert.equal(back, values);
});

test("an output just under the engine's limit arrives, and one above it fails the task", limit, async () => {
  const [fits, over] = [3_000_000, 4_300_000].map((length) =>
    task({ name: name(`size-${length}`), run: () => ({ text: "x".repeat(length) }) })
  );
  await stage.worker(client, [fits!, over!]);

  const output = await client.runs.run(fits!, {});
  const error = await rejects(client.runs.run(over!, {}), RunFailedError);

  assert.is(output.text.length, 3_000_000);
  assert.match(error.failures[0]?.message ?? "", /size|larger|bytes/i);
});

test("results tells runs as they settle, failures and cancels among them", limit, async () => {
  const runs = await Promise.all([
    client.runs.trigger(double, { number: 1, afterMs: 1500 }),
    client.runs.trigger(double, { number: 2 }),
    client.runs.trigger(broken, {}),
    client.runs.trigger(endless, {}),
  ]);
  setTimeout(() => void runs[3].cancel(), 3000);

  const settled: SettledRun[] = [];
  for await (const one of client.runs.results(runs.map(({ id }) => id))) settled.push(one);

  const status = new Map(settled.map((one) => [one.runId, one.status]));
  assert.equal(runs.map(({ id }) => status.get(id)), ["completed", "completed", "failed", "cancelled"]);
  assert.is(settled.length, 4);
  assert.ok(
    settled.findIndex(({ runId }) => runId === runs[1].id) < settled.findIndex(({ runId }) => runId === runs[0].id),
  );
});

test("a failed run says which task failed, and with what", limit, async () => {
  const run = await client.runs.trigger(broken, {});

  const error = await rejects(run.result(), RunFailedError);
  const details = await run.details();

  assert.is(error.runId, run.id);
  assert.equal(error.failures, [{ task: broken.name, taskId: run.id, message: "broken on purpose" }]);
  assert.is(details.status, "failed");
  assert.is(details.tasks[broken.name]?.error, "broken on purpose");
});

test("a task with retries left is tried again", { limitMs: 60_000 }, async () => {
  const output = await client.runs.run(flaky, {});

  assert.equal(output, { attempt: 2 });
});

test("a cancel aborts the task and rejects the result", limit, async () => {
  const before = aborted.length;
  const run = await client.runs.trigger(endless, {});
  await until(async () => (await run.details()).status === "running");

  await run.cancel();
  const error = await rejects(run.result(), RunCancelledError);
  await until(() => aborted.length > before);

  assert.is(error.runId, run.id);
  assert.ok(aborted.at(-1) instanceof TaskAborted);
  assert.is((await run.details()).status, "cancelled");
});

test("runs.cancel takes many ids at once", limit, async () => {
  const runs = await Promise.all([1, 2, 3].map(() => client.runs.trigger(endless, {})));

  await client.runs.cancel(runs.map(({ id }) => id));
  const errors = await Promise.all(runs.map((run) => rejects(run.result(), RunCancelledError)));

  assert.equal(errors.map(({ runId }) => runId), runs.map(({ id }) => id));
});

test("a task that runs too long fails with the engine's words", { limitMs: 60_000 }, async () => {
  const error = await rejects(client.runs.run(tooSlow, {}), RunFailedError);

  assert.is(error.failures[0]?.message, "Task exceeded timeout of 1s");
});

test("a task knows its run, its attempt, its worker and its metadata", limit, async () => {
  const run = await client.runs.trigger(witness, {}, { metadata: { who: "live" }, priority: 3 });

  await run.result();
  const context = contexts.find(({ runId }) => runId === run.id);

  assert.is(context?.taskId, run.id);
  assert.is(context?.name, witness.name);
  assert.is(context?.attempt, 0);
  assert.is(context?.metadata["who"], "live");
  assert.match(context?.workerId ?? "", /^[\da-f-]{36}$/);
});

test("a child is triggered once per key", limit, async () => {
  const { ids, result } = await client.runs.run(parent, {});

  assert.is(ids[0], ids[1]);
  assert.equal(result, { doubled: 8 });
});

test("the engine takes a task with everything that a task can have", limit, async () => {
  const output = await client.runs.run(decked, {});

  assert.equal(output, { ran: true });
});

test("details of a run that nobody knows are NotFound, and bad ids are refused before any I/O", limit, async () => {
  const unknown = await rejects(client.runs.details(nobody), ConnectError);
  const bad = await rejects(client.runs.result("nonsense"), TypeError);

  assert.match(unknown.message, /not_found/);
  assert.match(bad.message, /run id/);
});

test("actions registers a worker, and its actions are reported by hand", limit, async () => {
  const own = name("by-hand");
  const register = { name: name("hand"), actions: [`${own}:${own}`], slots: 5, labels: { where: "here", size: 3 } };
  const registered: string[] = [];
  const actions = client.actions({ register, onRegistered: ({ workerId }) => registered.push(workerId) });
  await define(own);
  const heard: Action[] = [];
  const reading = (async () => {
    for await (const action of actions) {
      heard.push(action);
      if (action.kind !== "start") continue;
      await action.started();
      if (heard.length === 1) await action.completed({ by: action.workerId });
      else await action.failed(new Error("no"), { retry: false });
    }
  })();

  const outputs = await client.runs.run(own, { a: 1 });
  const error = await rejects(client.runs.run(own, {}), RunFailedError);
  await actions.close();
  await reading;

  assert.equal(outputs, { [own]: { by: registered[0] } });
  assert.is(error.failures[0]?.message, "no");
  assert.equal(heard.map(({ kind, attempt }) => [kind, attempt]), [["start", 0], ["start", 0]]);
  assert.equal(heard[0]?.kind === "start" && heard[0].input, { a: 1 });
});

test("actions of a worker that was registered before hear starts and cancels", limit, async () => {
  const own = name("fixed");
  await define(own);
  const { name: given, workerId } = await client.register({ name: name("worker"), actions: [`${own}:${own}`] });
  const actions = client.actions({ workerId });
  const run = await client.runs.trigger(own, {});

  const kinds: string[] = [];
  for await (const action of actions) {
    kinds.push(`${action.kind} ${action.attempt} ${action.workerId === workerId}`);
    if (action.kind === "cancel") break;
    await client.runs.cancel(run.id);
  }
  await rejects(run.result(), RunCancelledError);

  assert.is(given, name("worker"));
  assert.equal(kinds, ["start 0 true", "cancel 0 true"]);
});

test("actions of a worker that the engine does not know are refused", limit, async () => {
  const actions = client.actions({ workerId: nobody });

  const error = await rejects(actions[Symbol.asyncIterator]().next(), StreamError);

  assert.is(error.code, "refused");
});

test("a run of a sticky task goes to the worker that it is given to", { limitMs: 60_000 }, async () => {
  const where = task({ name: name("where"), sticky: "hard", run: (_: unknown, { workerId }) => ({ workerId }) });
  const workers = [await stage.worker(stage.client(), [where]), await stage.worker(stage.client(), [where])];
  const ids = workers.map((worker) => worker.health().workerId!);

  const ran = await Promise.all(
    Array.from({ length: 20 }, (_, n) => client.runs.run(where, {}, { workerId: ids[n % 2] })),
  );

  assert.equal(ran.map(({ workerId }) => workerId), ran.map((_, n) => ids[n % 2]));
});

test("rpc makes the generated client of a service, with our credentials", limit, async () => {
  const { version } = await client.rpc(Dispatcher).getVersion({});

  assert.match(version, /^v\d/);
});

test("status tells of each stream until the client is closed, and health whether it receives", limit, async () => {
  const own = stage.client();
  const reports: StreamReport[] = [];
  const watching = (async () => {
    for await (const report of own.status()) reports.push(report);
  })();
  const worker = await stage.worker(own, [task({ name: name("watched"), run: () => ({}) })]);

  const whileOpen = [own.health().ready, worker.health().ready];
  await own.close();
  await watching;

  assert.equal(whileOpen, [true, true]);
  assert.is(own.health().ready, false);
  const states = reports.filter(({ stream }) => stream === "actions").map(({ state }) => state);
  assert.ok(states.includes("live"), states.join());
  assert.is(states.at(-1), "ended");
});

test("a worker that stops finishes what it runs, and gets nothing more", limit, async () => {
  const own = stage.client();
  let began = 0;
  const slow = task({
    name: name("slow"),
    run: async () => {
      began++;
      await pause(1500);
      return { done: true };
    },
  });
  const worker = own.worker(name("leaver"), { tasks: [slow] });
  const running = worker.run();
  await worker.ready();
  const run = await client.runs.trigger(slow, {});
  await until(() => worker.health().active === 1);

  await worker.stop();
  await running;
  const output = await run.result();
  const later = await client.runs.trigger(slow, {});
  await pause(8000);
  const details = await later.details();
  await later.cancel();

  assert.equal(output, { done: true });
  assert.is(worker.health().ready, false);
  assert.is(began, 1);
  assert.is(details.done, false);
});

test("close settles whoever waits, twice as well as once", limit, async () => {
  const own = stage.client();
  const run = await own.runs.trigger(endless, {});
  const waiting = rejects(run.result(), StreamError);
  await pause(300);

  await Promise.all([own.close(), own.close()]);
  const error = await waiting;
  await client.runs.cancel(run.id);

  assert.is(error.code, "closed");
});

test("a token that the engine did not give is refused, on calls and on streams", limit, async () => {
  const own = stage.client({ token: jwt({ sub: nobody, grpc_broadcast_address: "engine:7070" }) });

  const call = await rejects(own.register({ name: name("stranger"), actions: [] }), StreamError);
  const stream = await rejects(own.runs.result(nobody), StreamError);

  assert.equal([call.code, stream.code], ["refused", "refused"]);
});

test("an engine that is not there is unreachable after the attempts that were allowed", limit, async () => {
  const own = createClient({
    hostPort: "127.0.0.1:1",
    logger: false,
    retry: { baseMs: 10, firstDelayMs: 10, setupAttempts: 2 },
  });

  const error = await rejects(own.runs.trigger(double, { number: 1 }), StreamError);
  await own.close();

  assert.is(error.code, "unreachable");
  assert.is(error.attempts, 2);
});

test("a run that never comes into being is refused in the end", { limitMs: 150_000 }, async () => {
  const run = await client.runs.trigger(name("no-such-workflow"), {});

  const error = await rejects(run.result(), StreamError);

  assert.is(error.code, "refused");
});

/** Puts a workflow of one task that no worker here runs. */
async function define(own: string): Promise<void> {
  await client.rpc(AdminService).putWorkflow({
    name: own,
    tasks: [{ readableId: own, action: `${own}:${own}`, timeout: "60s", inputs: "{}" }],
  });
}

test.run();
