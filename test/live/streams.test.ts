import type { Action, Client, RunEvent } from "../../src/mod.ts";
import { RunFailedError, task } from "../../src/mod.ts";
import { AdminService } from "../../src/proto.ts";
import { assert, rejects } from "../harness.ts";
import { live, mark, pause, quickPings, Stage, until } from "./live.ts";

const test = live("live streams");

/** A run is told of two seconds and more after it was triggered. */
const limit = { limitMs: 60_000 };
const name = (text: string) => `${mark}-${text}`;

/** Streams its chunks as they come, and slowly enough that whoever asks for them is there in time. */
const talk = task({
  name: name("talk"),
  retries: 5,
  run: async ({ texts, everyMs, firstMs }: { texts: string[]; everyMs: number; firstMs: number }, context) => {
    await pause(firstMs);
    for (const text of texts) {
      await context.putStream(text);
      await pause(everyMs);
    }
    return { said: texts.length };
  },
});
const broken = task({
  name: name("broken-later"),
  run: async () => {
    await pause(6000);
    throw new Error("broken on purpose");
  },
});
const count = task({ name: name("count"), run: (_: unknown, { attempt }) => ({ attempt }) });
const triggered: string[] = [];
const onEvent = task({
  name: name("on-event"),
  onEvents: [name("happened")],
  run: (input: unknown, { runId }) => {
    triggered.push(runId);
    return { got: input };
  },
});
const effects = task({
  name: name("effects"),
  timeoutMs: 10_000,
  run: async (_: unknown, { log, refreshTimeout, releaseSlot }) => {
    await log("a line");
    await log("a warning", "WARN");
    const deadline = await refreshTimeout(30_000);
    await releaseSlot();
    return { inMs: (deadline?.getTime() ?? 0) - Date.now() };
  },
});

let stage: Stage;
let client: Client;

test.before(async () => {
  stage = await Stage.open();
  client = stage.client({ keepAlive: quickPings, retry: { firstDelayMs: 500, capMs: 2000 } });
  await stage.worker(client, [talk, broken, count, onEvent, effects]);
});
test.after(() => stage.close());

async function all<T>(loop: AsyncIterable<T>): Promise<T[]> {
  const heard: T[] = [];
  for await (const one of loop) heard.push(one);
  return heard;
}

test("a run's events are told until it has completed, and its chunks among them", limit, async () => {
  const texts = ["one", "two", "🌲"];
  const run = await client.runs.trigger(talk, { texts, everyMs: 100, firstMs: 5000 });

  const events = await all(run.events());

  assert.equal(events.flatMap((event) => event.kind === "chunk" ? [event.text] : []), texts);
  assert.ok(events.some(({ kind }) => kind === "completed"), events.map(({ kind }) => kind).join());
});

test("chunks come in their order, and end with the run", limit, async () => {
  const texts = Array.from({ length: 50 }, (_, n) => `chunk ${n} ${"x".repeat(n)}`);
  const run = await client.runs.trigger(talk, { texts, everyMs: 10, firstMs: 5000 });

  const heard = await all(run.chunks());

  assert.equal(heard, texts);
});

test("chunks survive a cut, and say where some may be missing", { limitMs: 90_000 }, async () => {
  const texts = Array.from({ length: 60 }, (_, n) => `${n}`);
  const run = await client.runs.trigger(talk, { texts, everyMs: 200, firstMs: 5000 });
  let gaps = 0;
  const heard: string[] = [];
  const reading = (async () => {
    for await (const text of run.chunks({ onGap: () => gaps++ })) heard.push(text);
  })();

  await until(() => heard.length > 10);
  stage.proxy.cut("rst");
  await reading;

  assert.ok(gaps > 0);
  assert.equal(heard, texts.filter((text) => heard.includes(text)));
  assert.is(heard.at(-1), texts.at(-1));
});

test("the events of a run that fails end with its error", limit, async () => {
  const run = await client.runs.trigger(broken, {});
  const events: RunEvent[] = [];

  const error = await rejects(async () => {
    for await (const event of run.events()) events.push(event);
  }, RunFailedError);

  assert.is(error.failures[0]?.message, "broken on purpose");
  // A busy engine hangs up before it has told everything.
  assert.ok(events.some((event) => event.kind === "failed" || event.kind === "gap"));
});

test("events by metadata tell of every run that has it", limit, async () => {
  const value = name("value");
  const stream = client.runs.eventsByMetadata("who", value);
  const heard: RunEvent[] = [];
  const reading = (async () => {
    for await (const event of stream) heard.push(event);
  })();
  await pause(2000);

  // At the same time: the engine hangs up whenever none of them is left, and tells nothing until it is asked again.
  const input = { texts: [], everyMs: 0, firstMs: 4000 };
  const runs = await Promise.all([1, 2].map(() => client.runs.trigger(talk, input, { metadata: { who: value } })));
  await client.runs.run(count, {}, { metadata: { who: "somebody else" } });
  const ended = () => heard.flatMap((event) => event.kind === "run completed" ? [event.runId] : []);
  await until(() => ended().length >= 2);
  await stream.close();
  await reading;

  assert.equal(ended().toSorted(), runs.map(({ id }) => id).toSorted());
});

test("replay runs a run again", limit, async () => {
  const run = await client.runs.trigger(count, {});
  const first = await run.result();

  const replayed = await client.runs.replay(run.id);
  await until(async () => {
    const { done, tasks } = await run.details();
    return done && JSON.stringify(tasks[count.name]?.output) === `{"attempt":1}`;
  });
  const second = await run.result();

  assert.equal([first, second], [{ attempt: 0 }, { attempt: 1 }]);
  assert.equal(replayed, [run.id]);
});

test("an event that is pushed triggers who waits for it", limit, async () => {
  const before = triggered.length;

  const { id, key } = await client.events.push(name("happened"), { n: 1 }, { metadata: { by: "push" } });
  const more = await client.events.pushAll([2, 3].map((n) => ({ key: name("happened"), payload: { n } })));
  await until(() => triggered.length >= before + 3);
  const outputs = await Promise.all(triggered.slice(before).map((runId) => client.runs.result(runId)));

  assert.match(id, /^[\da-f-]{36}$/);
  assert.is(key, name("happened"));
  assert.is(more.length, 2);
  assert.equal(outputs.map((output) => JSON.stringify(output[onEvent.name])).toSorted(), [
    `{"got":{"n":1}}`,
    `{"got":{"n":2}}`,
    `{"got":{"n":3}}`,
  ]);
});

test("a task logs, asks for more time, and gives its slot back", limit, async () => {
  const { inMs } = await client.runs.run(effects, {});

  assert.ok(inMs > 30_000 && inMs < 45_000, `${inMs} ms`);
});

/** A durable task that a worker of ours holds, its worker's id, and its first start. */
async function durable(label: string) {
  const [long, child] = [name(label), name(`${label}-child`)];
  const put = (own: string, isDurable: boolean) =>
    client.rpc(AdminService).putWorkflow({
      name: own,
      tasks: [{
        readableId: own,
        action: `${own}:${own}`,
        isDurable,
        slotRequests: isDurable ? { durable: 1 } : { default: 1 },
      }],
    });
  await put(long, true);
  await put(child, false);
  const starts: Extract<Action, { kind: "start" }>[] = [];
  const registered: string[] = [];
  const actions = client.actions({
    register: {
      name: name(label),
      actions: [`${long}:${long}`, `${child}:${child}`],
      slots: { default: 10, durable: 10 },
    },
    onRegistered: ({ workerId }) => registered.push(workerId),
  });
  const reading = (async () => {
    for await (const action of actions) {
      if (action.kind !== "start") continue;
      if (action.name === long) starts.push(action);
      else void action.completed({ child: action.input });
    }
  })();
  const run = await client.runs.trigger(long, {});
  await until(() => starts.length === 1);
  const close = async () => {
    await actions.close();
    await reading;
  };
  return { child, close, run, starts, workerId: registered[0]! };
}

test("a durable task remembers, sleeps, waits for events and runs children, through a cut", limit, async () => {
  const { child, close, run, starts, workerId } = await durable("durable");
  const [start] = starts;
  const task = { taskId: start!.taskId, invocation: start!.invocation! };
  const session = client.durable.tasks({ workerId });

  const memo = await session.memo(task, "once", () => ({ made: 1 }));
  const slept = session.waitFor(task, { sleepMs: 3000 });
  await pause(500);
  stage.proxy.cut("rst");
  await slept;
  const [one] = await session.triggerRuns(task, [{ task: child, input: { n: 7 } }]);
  const output = await one?.result();
  const paid = session.waitFor(task, { event: name("paid"), expression: "input.amount > 10" });
  await pause(1000);
  await client.events.push(name("paid"), { amount: 5 });
  await client.events.push(name("paid"), { amount: 11 });
  const matches = await paid;
  await start!.completed({ done: true });
  const outputs = await run.result();
  await session.close();
  await close();

  assert.equal(memo, { made: 1 });
  assert.match(JSON.stringify(output), /"n":7/);
  assert.match(JSON.stringify(matches), /11/);
  assert.equal(Object.values(outputs as object), [{ done: true }]);
});

test("a durable task that was evicted comes back, and remembers", limit, async () => {
  const { close, run, starts, workerId } = await durable("evicted");
  const session = client.durable.tasks({ workerId });
  const first = { taskId: starts[0]!.taskId, invocation: starts[0]!.invocation! };
  await session.memo(first, "once", 1);
  const sleeping = session.waitFor(first, { sleepMs: 3000 }).catch((error: unknown) => error);

  await session.evict(first, "to see it come back");
  await until(() => starts.length === 2);
  const second = { taskId: first.taskId, invocation: starts[1]!.invocation! };
  const memo = await session.memo(second, "once", 2);
  await session.waitFor(second, { sleepMs: 3000 });
  await starts[1]!.completed({ memo });
  const outputs = await run.result();
  await session.close();
  await sleeping;
  await close();

  assert.equal([first.invocation, second.invocation, memo], [1, 2, 1]);
  assert.equal(Object.values(outputs as object), [{ memo: 1 }]);
});

test("a signal is told to whoever waits for it, through a cut, and told again", limit, async () => {
  const { close, starts } = await durable("signal");
  const { taskId } = starts[0]!;

  await client.durable.register(taskId, "soon", { sleepMs: 2000 });
  const waiting = Promise.all([client.durable.event(taskId, "soon"), client.durable.event(taskId, "soon")]);
  await pause(500);
  stage.proxy.cut("rst");
  const [one, two] = await waiting;
  const again = await client.durable.event(taskId, "soon");
  await starts[0]!.completed({});
  await close();

  assert.equal(one, two);
  assert.equal(again.matches, one.matches);
});

test.run();
