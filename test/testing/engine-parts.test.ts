import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ResourceEventType, ResourceType, type WorkflowEvent, WorkflowEventSchema } from "../../src/proto.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { Agenda } from "../../src/testing/engine/agenda.ts";
import { Bulletin } from "../../src/testing/engine/bulletin.ts";
import { stored } from "../../src/testing/engine/durable.ts";
import { evaluate, holds } from "../../src/testing/engine/expression.ts";
import { Release } from "../../src/testing/engine/release.ts";
import { Sequence } from "../../src/testing/engine/sequence.ts";
import { type Run, State } from "../../src/testing/engine/state.ts";
import { defaultTiming } from "../../src/testing/engine/timing.ts";
import { UserEvents } from "../../src/testing/engine/user-events.ts";
import { assert, suite } from "../harness.ts";

const test = suite("engine parts: order and conditions");

const run: Run = {
  id: "run",
  startedMs: 0,
  workflow: {
    id: "workflow",
    versionId: "version",
    name: "talk",
    checksum: "",
    steps: [],
    priority: 1,
    eventTriggers: [],
    idempotency: undefined,
  },
  input: "",
  metadata: {},
  priority: 1,
  parent: undefined,
  event: undefined,
  tasks: new Map(),
  finished: false,
};

function chunk(index: number | undefined, text = String(index)): WorkflowEvent {
  return create(WorkflowEventSchema, {
    resourceType: ResourceType.STEP_RUN,
    eventType: ResourceEventType.STREAM,
    resourceId: "task",
    eventPayload: text,
    ...(index === undefined ? {} : { eventIndex: BigInt(index) }),
  });
}

function end(eventType: ResourceEventType): WorkflowEvent {
  return create(WorkflowEventSchema, {
    resourceType: ResourceType.STEP_RUN,
    eventType,
    resourceId: "task",
    eventPayload: "end",
  });
}

function sequence() {
  const clock = new VirtualClock();
  const out: [string, number][] = [];
  const core = { agenda: new Agenda(clock), timing: { ...defaultTiming, gapMs: 5000, forgetMs: 2000 } };
  const inner = new Sequence(core, (event) => out.push([event.eventPayload, clock.now()]));
  return { clock, inner, out, take: (...events: WorkflowEvent[]) => events.forEach((event) => inner.take(event)) };
}

test("chunks leave by index, those without one at once", async () => {
  const { out, take } = sequence();

  take(chunk(1), chunk(undefined, "free"), chunk(0), chunk(2), chunk(4));

  assert.equal(out.map(([text]) => text), ["free", "0", "1", "2"]);
});

test("a gap lasts as long as the first of its chunks may wait, then whatever comes next is next", async () => {
  const { clock, out, take } = sequence();

  take(chunk(3));
  await clock.pass(4000);
  take(chunk(2));
  await clock.pass(2000);
  take(chunk(9), chunk(10), chunk(4));
  await clock.pass(6000);

  assert.equal(out, [["2", 5000], ["3", 5000], ["9", 6000], ["10", 6000], ["4", 11_000]]);
});

test("the timer of a gap that was filled still ends the next one", async () => {
  const { clock, out, take } = sequence();

  take(chunk(1));
  await clock.pass(3000);
  take(chunk(0), chunk(3));
  await clock.pass(3000);

  assert.equal(out, [["0", 3000], ["1", 3000], ["3", 5000]]);
});

test("a duplicate is late rather than dropped", async () => {
  const { clock, out, take } = sequence();

  take(chunk(0), chunk(1), chunk(0, "again"));
  await clock.pass(5000);

  assert.equal(out, [["0", 0], ["1", 0], ["again", 5000]]);
});

test("an end lets out what is held, and a quick retry's chunks are lost to the clean-up", async () => {
  const { clock, out, take } = sequence();

  take(chunk(0), chunk(2), end(ResourceEventType.FAILED));
  await clock.pass(1000);
  take(chunk(0, "lost"));
  await clock.pass(1500);
  take(chunk(0, "anew"));
  await clock.pass(10_000);

  assert.equal(out, [["0", 0], ["2", 0], ["end", 0], ["anew", 2500]]);
});

test("a start is no end, and nothing is left to do for who closed", async () => {
  const { clock, inner, out, take } = sequence();

  take(chunk(1), end(ResourceEventType.STARTED));
  inner.close();
  await clock.pass(10_000);

  assert.equal(out, [["end", 0]]);
});

test("what leaves together leaves by time, then by index, and ends last; nothing is kept for who comes late", async () => {
  const clock = new VirtualClock();
  const state = new State(10);
  const faults = { take: (name: string) => name === "never" };
  const bulletin = new Bulletin({ clock, state, faults, agenda: new Agenda(clock), timing: defaultTiming });
  const heard: string[] = [];
  const told = (event: WorkflowEvent, atMs: number) =>
    bulletin.publish({ run, event: create(WorkflowEventSchema, { ...event, eventTimestamp: timestampFromMs(atMs) }) });

  told(chunk(undefined, "lost"), 0);
  bulletin.listen(({ event }) => heard.push(event.eventPayload));
  told(create(WorkflowEventSchema, { resourceType: ResourceType.WORKFLOW_RUN, eventPayload: "over" }), 1);
  told(chunk(1), 2);
  told(chunk(0), 3);
  told(end(ResourceEventType.COMPLETED), 5);
  told(chunk(undefined, "free"), 4);
  await clock.pass(20);

  assert.equal(heard, ["free", "end", "0", "1", "over"]);
});

test("completions leave in the order of their numbers, and pass again when they were let out", () => {
  const release = new Release<string>(0);

  const out = [2, 3, 1, 2, 5, 4].map((order) => release.take(order, String(order), 10 * order));
  const held = release.heldSinceMs;
  release.take(9, "9", 90);
  release.take(8, "8", 95);

  assert.equal(out, [[], [], ["1", "2", "3"], ["2"], [], ["4", "5"]]);
  assert.is(held, undefined);
  assert.is(release.heldSinceMs, 90);
  assert.is(release.last, 5);
});

test("evaluates what keys and conditions are usually written in", () => {
  const names = { input: { n: 5, who: { name: "ann" }, on: true }, list: [1] };

  const values = ["input.who.name + '-' + \"x\"", "input.n + 1.5", "input.n", "(input.n)"].map((it) =>
    evaluate(it, names)
  );
  const holding = [
    "",
    "input.n == 5",
    "input.n != 4 && input.n >= 5 && input.n <= 5",
    "input.n > 9 || input.who.name < 'b'",
    "!(input.n == 4) && input.on",
  ].map((it) => holds(it, names));
  const failing = [
    "input.n == '5'",
    "input.nothing == 1",
    "input.n < 'a'",
    "input.n ==",
    "(true",
    "true true",
    "]",
    "input",
  ]
    .map((it) => holds(it, names));

  assert.equal(values, ["ann-x", 6.5, 5, 5]);
  assert.ok(holding.every(Boolean));
  assert.ok(failing.every((it) => !it));
});

test("writes JSON as the engine's database does", () => {
  const text = stored('{"long":{"b":null},"a":[1,"x",true],"b":{}}');

  assert.is(text, '{"a": [1, "x", true], "b": {}, "long": {"b": null}}');
  assert.is(stored(""), "");
});

test("events are shown to those who wait, and kept for those who look back, but not for ever", () => {
  const events = new UserEvents();
  const seen: string[] = [];
  const event = (id: string, atMs: number) => ({ id, key: "k", payload: {}, scope: undefined, atMs });
  let alive = true;
  events.wait("k", {
    alive: () => alive,
    take({ id }) {
      seen.push(id);
      alive = id !== "b";
    },
  });

  for (const id of ["a", "b", "c"]) events.tell(event(id, 0));
  for (let index = 0; index < 1500; index++) events.keep(event(String(index), index));

  assert.equal(seen, ["a", "b"]);
  assert.is(events.since("k", 0).length, 1000);
  assert.equal(events.since("k", 1499).map(({ id }) => id), ["1499"]);
  assert.equal(events.since("other", 0), []);
});

test.run();
