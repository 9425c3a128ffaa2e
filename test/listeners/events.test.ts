import { Code } from "@connectrpc/connect";
import { ResourceEventType, ResourceType } from "../../gen/dispatcher/dispatcher_pb.ts";
import { RunStatus } from "../../gen/v1/workflows_pb.ts";
import { channelOf } from "../../src/channel.ts";
import { Client } from "../../src/client.ts";
import type { ClientOptions } from "../../src/config.ts";
import { resolveConfig } from "../../src/config.ts";
import { RunCancelledError, RunFailedError } from "../../src/errors.ts";
import type { RunEvent } from "../../src/mod.ts";
import { Root } from "../../src/root.ts";
import type { StreamError } from "../../src/streams/mod.ts";
import { assert, rejects, suite } from "../harness.ts";
import { id, said } from "../remote.ts";
import type { Wire } from "../wires.ts";
import { Fate, finished, Loop, Rig, secret } from "../rig.ts";

const test = suite("events");
const method = "subscribeToWorkflowEvents";
const run = id(1);
const { STEP_RUN, WORKFLOW_RUN } = ResourceType;
const { COMPLETED, FAILED, STARTED, STREAM } = ResourceEventType;

/** A chunk as the engine sends it. */
function chunk(text: string, eventIndex?: number): object {
  const index = eventIndex === undefined ? {} : { eventIndex: BigInt(eventIndex) };
  return {
    workflowRunId: run,
    resourceType: STEP_RUN,
    resourceId: id(2),
    eventType: STREAM,
    eventPayload: text,
    ...index,
  };
}

/** Something else that happened to the task. */
function step(eventType: ResourceEventType, eventPayload = ""): object {
  return { workflowRunId: run, resourceType: STEP_RUN, resourceId: id(2), eventType, eventPayload, retryCount: 0 };
}

/** The end of the run. */
function end(eventType: ResourceEventType, hangup = true): object {
  return { workflowRunId: run, resourceType: WORKFLOW_RUN, resourceId: run, eventType, hangup };
}

/** What the run's details say. */
function details(status: RunStatus, error = "", done = true): Record<string, unknown> {
  return { done, status, taskRuns: { talk: { externalId: id(2), status, error } } };
}

const goesOn = details(RunStatus.RUNNING, "", false);

/** An event in short. */
function short(event: RunEvent): string {
  if (event.kind === "gap") return event.taskId === undefined ? `(${event.why})` : `(${event.why} of the task)`;
  return event.kind === "chunk" ? event.text : event.kind;
}

/** A loop over one run's events that was sent and let in, and what it heard. */
async function listening(options: ClientOptions = {}) {
  const rig = new Rig(options);
  const loop = new Loop(rig.client.runs.events(run));
  await rig.pass(500);
  return { rig, loop, heard: () => loop.heard.map(short) };
}

/** The newest stream says something, which is heard at once. */
function say(rig: Rig, ...messages: object[]): Promise<void> {
  rig.remote.wire(method).say(...messages);
  return rig.pass(0);
}

/** The engine says that all is told, and ends. */
function hangUp(rig: Rig, eventType: ResourceEventType = COMPLETED): Promise<void> {
  const wire = rig.remote.wire(method);
  wire.say(end(eventType));
  wire.hangUp();
  return rig.pass(0);
}

/** What a stream was opened with. */
function asks(wire: Wire | undefined): object {
  return Object.fromEntries(Object.entries(wire?.sent[0] ?? {}).filter(([key]) => !key.startsWith("$")));
}

function opens(rig: Rig): number[] {
  return rig.remote.opened(method).map(({ at }) => at - 1_000_000);
}

test("tells what happens in a run, and ends when it has completed", async () => {
  const { heard, loop, rig } = await listening();
  rig.remote.next("getRunDetails", details(RunStatus.COMPLETED));

  await say(rig, step(STARTED), chunk("a", 0), chunk("b", 1), step(COMPLETED, "{}"));
  await hangUp(rig);

  assert.equal(heard(), ["started", "a", "b", "completed"]);
  assert.is(loop.fate.text, "ok 4");
  assert.equal(asks(rig.remote.wires[0]), { workflowRunId: run });
  assert.equal(rig.remote.asked("getRunDetails").map(({ request }) => request), [{
    $typeName: "v1.GetRunDetailsRequest",
    externalId: run,
  }]);
  await rig.done();
});

test("throws when the run failed or was cancelled, as its details say", async () => {
  for (
    const [status, kind] of [[RunStatus.FAILED, RunFailedError], [RunStatus.CANCELLED, RunCancelledError]] as const
  ) {
    const { loop, rig } = await listening();
    rig.remote.next("getRunDetails", details(status, "it broke"));

    await hangUp(rig, FAILED);

    assert.instance(loop.fate.error, kind);
    assert.match(String(loop.fate.error), "it broke");
    await rig.done();
  }
});

test("a failed run with an output that nobody can read is a failed run, a completed one has completed", async () => {
  const unreadable = { externalId: id(3), status: RunStatus.COMPLETED, output: new TextEncoder().encode("{broken") };
  const failed = { externalId: id(2), status: RunStatus.FAILED, error: "it broke" };
  const texts: string[] = [];
  for (
    const [end, answer] of [
      [FAILED, { done: true, status: RunStatus.FAILED, taskRuns: { one: unreadable, two: failed } }],
      [COMPLETED, { done: true, status: RunStatus.COMPLETED, taskRuns: { one: unreadable } }],
    ] as const
  ) {
    const { loop, rig } = await listening();
    rig.remote.next("getRunDetails", answer);

    await say(rig, step(end));
    await hangUp(rig, end);

    texts.push(loop.fate.text.replace(run, "ID"));
    await rig.done();
  }

  assert.equal(texts, ["RunFailedError: Run ID failed: task two: it broke", "ok 1"]);
});

test("a hangup that details deny is not told: the stream is opened again, and that is a gap", async () => {
  const { heard, rig } = await listening();
  rig.remote.next("getRunDetails", goesOn);

  await say(rig, chunk("a", 0), step(FAILED, "it broke"));
  await hangUp(rig, FAILED);
  await rig.pass(500);
  await say(rig, chunk("A", 0), chunk("B", 1));

  assert.equal(heard(), ["a", "failed", "(reconnect)", "A", "B"]);
  assert.equal(opens(rig), [0, 750]);
  assert.is(rig.root.gate.failures, 0);
  await rig.done();
});

test("a run that failed when the engine hung up and has completed since may have told more", async () => {
  const { heard, loop, rig } = await listening();
  rig.remote.next("getRunDetails", details(RunStatus.COMPLETED));

  await say(rig, chunk("a", 0), step(FAILED, "it broke"));
  await hangUp(rig, FAILED);

  assert.equal([heard(), loop.fate.text], [["a", "failed", "(missing)"], "ok 3"]);
  await rig.done();
});

test("a hangup that overtook the end of a task leaves a gap, as one that nobody explains", async () => {
  const untold: readonly (readonly [before: object[], heard: string[]])[] = [
    [[], ["(missing)"]],
    [[chunk("a", 0)], ["a", "(missing)"]],
    [[step(STARTED)], ["started", "(missing)"]],
    [[step(FAILED), step(STARTED), chunk("b", 0)], ["failed", "started", "b", "(missing)"]],
    [[step(FAILED), chunk("late", 0)], ["failed", "late"]],
  ];
  for (const [before, expected] of untold) {
    const { heard, rig } = await listening();
    rig.remote.next("getRunDetails", details(RunStatus.COMPLETED));

    await say(rig, ...before);
    await hangUp(rig);

    assert.equal(heard(), expected);
    await rig.done();
  }
});

test("a run that is cancelled tells of no ends, and leaves no gap", async () => {
  const { heard, rig } = await listening();
  rig.remote.next("getRunDetails", details(RunStatus.CANCELLED));

  await say(rig, chunk("a", 0));
  await hangUp(rig, ResourceEventType.CANCELLED);

  assert.equal(heard(), ["a"]);
  await rig.done();
});

test("what was lost with a stream is told once, and what is lost after it again", async () => {
  const { heard, rig } = await listening();
  rig.remote.next("getRunDetails", details(RunStatus.COMPLETED));

  await say(rig, chunk("a", 0));
  rig.remote.kill();
  await rig.pass(3000);
  await say(rig, { ...step(COMPLETED), resourceId: id(7) });
  await hangUp(rig);

  assert.equal(heard(), ["a", "(reconnect)", "completed"]);
  await rig.done();
});

test("a hangup that the engine does not follow is followed by us", async () => {
  const { loop, rig } = await listening();
  rig.remote.next("getRunDetails", details(RunStatus.COMPLETED));

  await say(rig, step(COMPLETED), end(COMPLETED));
  await rig.pass(999);
  const before = loop.fate.text;
  await rig.pass(1);

  assert.equal([before, loop.fate.text], ["pending", "ok 1"]);
  await rig.done();
});

test("rule R18: an end without a word is believed when details say done, and a gap where more was to come", async () => {
  const { heard, loop, rig } = await listening();
  rig.remote.always("getRunDetails", details(RunStatus.COMPLETED));
  await say(rig, chunk("a", 0));

  rig.remote.wire(method).hangUp();
  await rig.pass(0);
  const late = new Loop(rig.client.runs.events(run));
  await rig.pass(0);
  rig.remote.wire(method).hangUp();
  await rig.pass(0);

  assert.equal([heard(), loop.fate.text], [["a", "(missing)"], "ok 2"]);
  assert.equal([late.heard, late.fate.text], [[], "ok 0"]);
  await rig.done();
});

test("a silent stream that ends after it must have been subscribed may have missed something", async () => {
  const { heard, rig } = await listening();
  rig.remote.always("getRunDetails", details(RunStatus.COMPLETED));
  await rig.pass(10_000);

  rig.remote.wire(method).hangUp();
  await rig.pass(0);

  assert.equal(heard(), ["(missing)"]);
  await rig.done();
});

test("ends that come too early are no failure: they wait by themselves, ever longer, whatever was let in", async () => {
  const rig = new Rig({ retry: { setupAttempts: 2 } });
  rig.remote.always("getRunDetails", goesOn);
  rig.remote.always(method);
  const loop = new Loop(rig.client.runs.events(run));
  for (let ends = 0; ends < 8; ends++) {
    await rig.pass(0);
    rig.remote.wire(method).hangUp();
    await rig.pass(Math.min(10_000, 250 * 2 ** ends));
  }

  assert.equal(opens(rig), [0, 250, 750, 1750, 3750, 7750, 15_750, 25_750, 35_750]);
  assert.is(rig.root.gate.failures, 0);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("a hundred runs are listened to as soon as one is, and again after a cut once the client has proven itself", async () => {
  const rig = new Rig();
  const loops = Array.from({ length: 100 }, (_, n) => new Loop(rig.client.runs.events(id(100 + n))));
  await rig.pass(300);
  const first = rig.remote.opened(method).length;
  await rig.pass(60_000);

  rig.remote.kill();
  await rig.pass(13_000);

  assert.equal([first, rig.remote.opened(method).length], [100, 200]);
  assert.is(loops.every(({ fate }) => fate.text === "pending"), true);
  await rig.done();
});

test("an end that nobody can ask about is a passing trouble", async () => {
  const { heard, rig } = await listening();
  rig.remote.next("getRunDetails", said(Code.Unavailable));
  await say(rig, chunk("a", 0));

  rig.remote.wire(method).hangUp();
  await rig.pass(500);
  await say(rig, chunk("b", 1));

  assert.equal(heard(), ["a", "(reconnect)", "b"]);
  await rig.done();
});

test("nobody waits for details on a connection that is gone, nor long for an engine that does not answer", async () => {
  const { rig } = await listening();
  rig.remote.always("getRunDetails", () => new Promise(() => {}));

  await say(rig, end(FAILED));
  rig.remote.kill();
  await rig.pass(2500);
  const asked = rig.remote.asked("getRunDetails").length;
  rig.remote.wire(method).hangUp();
  await rig.pass(5250);

  assert.is(asked, 0);
  assert.is(rig.remote.asked("getRunDetails").length, 1);
  assert.equal(opens(rig), [0, 2500, 8250]);
  await rig.done();
});

test("a stream cut alone comes back within 250 ms; cut again at once, it waits as all others do", async () => {
  const { heard, rig } = await listening();
  await say(rig, chunk("a", 0));

  rig.remote.wire(method).cut();
  await rig.pass(250);
  rig.remote.wire(method).cut();
  await rig.pass(2250);
  await say(rig, chunk("b", 1));
  await rig.pass(1000);
  rig.remote.wire(method).cut();
  await rig.pass(250);

  assert.equal(opens(rig), [0, 750, 2750, 4250]);
  assert.equal(heard(), ["a", "(reconnect)", "b"]);
  await rig.done();
});

test("what the engine refuses for a while is not asked for at once, even by a stream that ended alone", async () => {
  const { rig } = await listening();
  await say(rig, chunk("a", 0));

  rig.remote.wire(method).fail(said(Code.ResourceExhausted, { "grpc-retry-pushback-ms": "3000" }));
  await rig.pass(4000);

  assert.equal(opens(rig), [0, 3500]);
  await rig.done();
});

test("a stream that is opened again drops nothing that another attempt may have sent meanwhile", async () => {
  const { heard, rig } = await listening();
  await say(rig, chunk("a", 0), chunk("b", 1));

  rig.remote.wire(method).cut();
  await rig.pass(250);
  await say(rig, chunk("A", 0), chunk("B", 1));

  assert.equal(heard(), ["a", "b", "(reconnect)", "A", "B"]);
  await rig.done();
});

test("a refused token is doubted, and waits as everywhere else", async () => {
  const { loop, rig } = await listening();
  await say(rig, chunk("a", 0));

  rig.remote.wire(method).fail(said(Code.Unauthenticated));
  await rig.pass(1999);
  const before = opens(rig).length;
  await rig.pass(1);

  assert.equal([before, opens(rig).length], [1, 2]);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("over a transport of the caller's, a stream that lived in silence may have missed something", async () => {
  const { clock, remote } = new Rig();
  const transport = remote.channel().transport;
  const config = resolveConfig({ token: secret, tls: false, clock, random: () => 1, logger: false, transport }, {});
  const root = new Root(config, (authorization) => channelOf(config, authorization));
  const client = new Client(root);
  const loop = new Loop(client.runs.events(run));
  await clock.pass(300);

  remote.wire(method).cut();
  await clock.pass(2000);
  remote.wire(method).say(chunk("b"));
  await clock.pass(0);
  remote.always("getRunDetails", details(RunStatus.COMPLETED));
  remote.wire(method).hangUp();
  await clock.pass(0);

  assert.equal(loop.heard.map(short), ["(reconnect)", "b", "(missing)"]);
  assert.is(loop.fate.text, "ok 3");
  await clock.drive(client.close());
});

test("a lost connection is a gap, told as soon as the stream is open again, once for all attempts", async () => {
  const { heard, rig } = await listening();
  await say(rig, chunk("a", 0));

  rig.remote.kill();
  rig.remote.listening = false;
  await rig.pass(5000);
  const meanwhile = heard();
  rig.remote.listening = true;
  await rig.pass(10_000);

  assert.equal(meanwhile, ["a"]);
  assert.equal(heard(), ["a", "(reconnect)"]);
  await rig.done();
});

test("a run that ended while the connection was lost is a gap, and then its end", async () => {
  const { heard, loop, rig } = await listening();
  await say(rig, chunk("a", 0));
  rig.remote.always("getRunDetails", details(RunStatus.FAILED, "it broke"));

  rig.remote.kill();
  await rig.pass(2000);
  rig.remote.wire(method).hangUp();
  await rig.pass(0);

  assert.equal(heard(), ["a", "(reconnect)"]);
  assert.instance(loop.fate.error, RunFailedError);
  await rig.done();
});

test("a stream that was never let in has no gap", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.events(run));
  await rig.pass(0);

  rig.remote.wire(method).cut();
  await rig.pass(250);
  await say(rig, chunk("a", 0));

  assert.equal(loop.heard.map(short), ["a"]);
  await rig.done();
});

test("a text that is none ends the engine's stream and not ours", async () => {
  const { heard, rig } = await listening();
  await say(rig, chunk("a", 0));

  rig.remote.wire(method).fail(said(Code.Internal));
  await rig.pass(250);
  await say(rig, chunk("c", 2));

  assert.equal(heard(), ["a", "(reconnect)", "(missing of the task)", "c"]);
  await rig.done();
});

test("chunks that come twice are told once, and what is missing among them is a gap", async () => {
  const { heard, rig } = await listening();

  await say(rig, chunk("b", 1), chunk("b", 1), chunk("c", 2), chunk("e", 4), chunk("-"), chunk("-"));

  assert.equal(heard(), ["(start of the task)", "b", "c", "(missing of the task)", "e", "-", "-"]);
  await rig.done();
});

test("a run that the engine does not know is refused, with what the engine said", async () => {
  const { loop, rig } = await listening();

  rig.remote.wire(method).fail(said(Code.NotFound));
  await rig.pass(0);

  assert.is(loop.fate.text, "refused");
  assert.is((loop.fate.cause as { code: Code }).code, Code.NotFound); // As the engine said.
  await rig.done();
});

test("a run whose end the engine lost is found by asking every half minute", async () => {
  const { heard, loop, rig } = await listening();
  rig.remote.next("getRunDetails", goesOn, details(RunStatus.COMPLETED));
  await say(rig, chunk("a", 0));

  await rig.pass(35_500);
  const asked = rig.remote.asked("getRunDetails").map(({ at }) => at - 1_000_000);
  await rig.pass(36_000);
  await say(rig, chunk("b", 1));
  await rig.pass(1000);

  assert.equal(asked, [36_000]);
  assert.equal(heard(), ["a", "b", "(missing)"]);
  assert.is(loop.fate.text, "ok 3");
  await rig.done();
});

test("a hangup that follows the probe leaves no gap", async () => {
  const { heard, loop, rig } = await listening();
  rig.remote.next("getRunDetails", details(RunStatus.COMPLETED));
  await say(rig, chunk("a", 0), step(COMPLETED));

  await rig.pass(36_000);
  await hangUp(rig);

  assert.equal([heard(), loop.fate.text], [["a", "completed"], "ok 2"]);
  assert.is(rig.remote.asked("getRunDetails").length, 1);
  await rig.done();
});

test("who is not let in gives up after as many attempts as the set-up has; once one was live, nobody does", async () => {
  const rig = new Rig({ retry: { setupAttempts: 3 } });
  rig.remote.listening = false;

  const first = new Loop(rig.client.runs.events(run));
  await rig.pass(60_000);
  rig.remote.listening = true;
  const second = new Loop(rig.client.runs.events(run));
  await rig.pass(60_000);
  await say(rig, chunk("a", 0));
  rig.remote.kill();
  rig.remote.listening = false;
  const third = new Loop(rig.client.runs.events(run));
  await rig.pass(600_000);

  assert.is(first.fate.text, "unreachable");
  assert.match(String(first.fate.error), "Not let in after 3 attempts");
  assert.is((first.fate.error as StreamError).attempts, 3); // As its text says.
  assert.equal([second.fate.text, third.fate.text], ["pending", "pending"]);
  await rig.done();
});

test("break, close, the caller's signal and the client's close each end it in their own way", async () => {
  const rig = new Rig();
  const life = new AbortController();
  const closed = rig.client.runs.events(run);
  const loops = [
    new Loop(rig.client.runs.events(run), () => false),
    new Loop(closed),
    new Loop(rig.client.runs.events(run, { signal: life.signal })),
    new Loop(rig.client.runs.events(run)),
  ];
  await rig.pass(1500);

  for (const wire of rig.remote.opened(method)) wire.say(chunk("a", 0));
  await rig.pass(0);
  await closed.close();
  life.abort(new Error("enough"));
  await rig.pass(0);
  const open = rig.remote.underWay.length;
  await rig.clock.drive(rig.client.close());
  const after = new Loop(rig.client.runs.events(run));
  await rig.pass(0);

  assert.equal(loops.map(({ fate }) => fate.text), ["ok 1", "ok 1", "Error: enough", "closed"]);
  assert.is(after.fate.text, "closed");
  assert.is(open, 1);
  assert.equal(rig.client.health().streams, []);
  await rig.done();
});

/** Reads a stream one by one, when it is told to. */
function reading<T>(source: AsyncIterable<T>): () => Promise<IteratorResult<T, undefined>> {
  const iterator = source[Symbol.asyncIterator]();
  return () => iterator.next();
}

for (const [bound, most, size] of [["1,000 messages", 1000, 1], ["4 MiB", 64, 65_536]] as const) {
  test(`${bound} may wait; then reading pauses, the status says so, and nothing is lost`, async () => {
    const rig = new Rig();
    const next = reading(rig.client.runs.events(run));
    const first = new Fate(next());
    await rig.pass(500);
    const total = most + 200;
    const text = (n: number) => String(n).padStart(size, ".");

    await say(rig, ...Array.from({ length: total }, (_, n) => chunk(text(n), n)));
    const paused = await status(rig);
    const texts = [first.value];
    while (texts.length < total) texts.push(await next());
    const resumed = await status(rig);

    assert.equal([paused, resumed], [{ state: "live", paused: true }, { state: "live", paused: false }]);
    assert.equal(
      texts.map((read) => read?.value && short(read.value)),
      Array.from({ length: total }, (_, n) => text(n)),
    );
    await rig.done();
  });
}

/** What the board shows of the first stream. */
async function status(rig: Rig): Promise<unknown> {
  const { value } = await rig.client.status().next();
  return value?.state === "live" ? { state: value.state, paused: value.paused } : value;
}

test("a stream that pauses stays paused on the board when it is steady, and is closed all the same", async () => {
  const rig = new Rig();
  const events = rig.client.runs.events(run);
  const first = new Fate(reading(events)());
  await rig.pass(500);

  // Every one of them is two events.
  await say(rig, ...Array.from({ length: 1100 }, (_, n) => chunk("a", 2 * n)));
  await rig.pass(20_000);
  const shown = await status(rig);
  await rig.clock.drive(events.close());

  assert.equal(shown, { state: "live", paused: true });
  assert.is(first.text.slice(0, 2), "ok");
  assert.equal(rig.client.health().streams, []);
  await rig.done();
});

test("a run that is over is not cut off while the loop is behind", async () => {
  const rig = new Rig();
  rig.remote.always("getRunDetails", details(RunStatus.COMPLETED));
  const next = reading(rig.client.runs.events(run));
  const first = new Fate(next());
  await rig.pass(500);
  const total = 1500;

  await say(rig, ...Array.from({ length: total - 1 }, (_, n) => chunk("a", n)), step(COMPLETED), end(COMPLETED));
  await rig.pass(120_000);
  let reads = first.text === "pending" ? 0 : 1;
  await rig.clock.drive(async () => {
    while (!(await next()).done) reads++;
  });

  assert.is(reads, total);
  await rig.done();
});

test("the end of a run may come in behind the probe that found it", async () => {
  const { heard, loop, rig } = await listening();
  rig.remote.next("getRunDetails", details(RunStatus.COMPLETED));
  await rig.pass(35_500);

  for (let n = 0; n < 5; n++) {
    await rig.pass(900);
    await say(rig, chunk("a", n));
  }
  await rig.pass(999);
  const before = loop.fate.text;
  await rig.pass(1000);

  assert.equal(heard(), ["a", "a", "a", "a", "a", "(missing)"]);
  assert.equal([before, loop.fate.text], ["pending", "ok 6"]);
  await rig.done();
});

test("the board knows the run, and metadata by key and value, without a token in it", async () => {
  const rig = new Rig();
  const loops = [
    new Loop(rig.client.runs.events(run.toUpperCase())),
    new Loop(rig.client.runs.eventsByMetadata("token", secret)),
  ];
  await rig.pass(1000);

  const { streams } = rig.client.health();

  assert.equal(streams.map(({ id, stream }) => [stream, id]), [["events", run], ["metadata", "token=[token]"]]);
  assert.is(loops.length, 2);
  await rig.done();
});

test("after an outage results come first, then events, then metadata", async () => {
  const rig = new Rig();
  const loops = [
    new Loop(rig.client.runs.eventsByMetadata("user", "ann")),
    new Loop(rig.client.runs.events(run)),
    new Fate(rig.client.runs.result(run)),
  ];
  await rig.pass(20_000);
  const wires = rig.remote.wires.length;

  rig.remote.kill();
  await rig.pass(4000);

  const reopened = rig.remote.wires.slice(wires).map(asks);
  assert.equal(reopened, [{ workflowRunId: run }, { workflowRunId: run }, {
    additionalMetaKey: "user",
    additionalMetaValue: "ann",
  }]);
  assert.is(rig.remote.wires[wires]?.method, "subscribeToWorkflowRuns");
  assert.is(loops.length, 3);
  await rig.done();
});

test("details that results and events want at the same time are asked for once", async () => {
  const { loop, rig } = await listening();
  const result = new Fate(rig.client.runs.result(run));
  await rig.pass(500);
  rig.remote.next("getRunDetails", async () => {
    await rig.clock.sleep(100);
    return details(RunStatus.COMPLETED);
  });

  rig.remote.wire("subscribeToWorkflowRuns").say(finished(1));
  await say(rig, step(COMPLETED));
  await hangUp(rig);
  await rig.pass(100);

  assert.equal([loop.fate.text, result.text], ["ok 1", `ok {"talk":{}}`]);
  assert.is(rig.remote.asked("getRunDetails").length, 1);
  await rig.done();
});

test("what makes no sense is refused at once, before any I/O", () => {
  const { client: { runs } } = new Rig();
  const texts = [
    () => runs.events("abc"),
    () => runs.chunks("abc"),
    () => runs.eventsByMetadata("", "ann"),
    () => runs.eventsByMetadata("user", ""),
    () => runs.eventsByMetadata("user", 7 as unknown as string), // As somebody without types would.
  ].map((call) => {
    try {
      call();
      return "nothing";
    } catch (error) {
      return String(error);
    }
  });

  assert.equal(texts, [
    `TypeError: run id must be a UUID, got "abc"`,
    `TypeError: run id must be a UUID, got "abc"`,
    `TypeError: metadata key must be a text that is not empty, got ""`,
    `TypeError: metadata value must be a text that is not empty, got ""`,
    `TypeError: metadata value must be a text that is not empty, got 7`,
  ]);
});

test("chunks are the texts alone, and end as the run does", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.chunks(run));
  await rig.pass(500);
  rig.remote.next("getRunDetails", details(RunStatus.FAILED, "it broke"));

  await say(rig, step(STARTED), chunk("a", 0), chunk("b", 1), step(FAILED, "it broke"));
  await hangUp(rig, FAILED);

  assert.equal(loop.heard, ["a", "b"]);
  assert.instance(loop.fate.error, RunFailedError);
  await rig.done();
});

test("a gap among chunks ends the loop with `gap`, and the stream with it", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.chunks(run));
  await rig.pass(500);
  await say(rig, chunk("a", 0));

  rig.remote.kill();
  await rig.pass(2500);

  assert.is(loop.fate.text, "gap");
  assert.match(String(loop.fate.error), "Chunks may be missing (reconnect)");
  assert.equal(rig.remote.underWay, []);
  await rig.done();
});

test("a gap of one task's chunks names the task", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.chunks(run));
  await rig.pass(500);

  await say(rig, chunk("a", 0), chunk("c", 2));

  assert.equal([loop.heard, loop.fate.text], [["a"], "gap"]);
  assert.match(String(loop.fate.error), `Chunks of task ${id(2)} may be missing (missing)`);
  await rig.done();
});

test("what a later engine tells of many runs is left, and ends nothing", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.eventsByMetadata("user", "ann"));
  await rig.pass(500);

  await say(rig, step(99 as ResourceEventType), step(STARTED));

  assert.equal(loop.heard.map(short), ["started"]);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("onGap is told between the chunks, when the loop gets there", async () => {
  const rig = new Rig();
  const told: string[] = [];
  const onGap = ({ taskId, why }: { taskId?: string; why: string }) => told.push(`(${why} ${taskId === id(2)})`);
  const loop = new Loop(rig.client.runs.chunks(run, { onGap }), async (text) => {
    told.push(text);
    await rig.clock.sleep(10);
    told.push(`${text}.`);
  });
  await rig.pass(500);

  await say(rig, chunk("a", 0), chunk("c", 2), chunk("d", 3));
  await rig.pass(100);

  assert.equal(told, ["a", "a.", "(missing true)", "c", "c.", "d", "d."]);
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("what onGap throws comes out of the loop, and ends the stream", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.chunks(run, {
    onGap: () => {
      throw new Error("that will not do");
    },
  }));
  await rig.pass(500);

  await say(rig, chunk("c", 2));

  assert.is(loop.fate.text, "Error: that will not do");
  assert.equal(rig.remote.underWay, []);
  await rig.done();
});

test("chunks may be missing behind an end without a word, though nothing but a step was told", async () => {
  const rig = new Rig();
  rig.remote.always("getRunDetails", details(RunStatus.COMPLETED));
  const gaps: string[] = [];
  const loop = new Loop(rig.client.runs.chunks(run, { onGap: ({ why }) => gaps.push(why) }));
  await rig.pass(500);

  await say(rig, step(STARTED));
  rig.remote.wire(method).hangUp();
  await rig.pass(0);

  assert.equal([gaps, loop.fate.text], [["missing"], "ok 0"]);
  await rig.done();
});

test("chunks are looped over once, closed by break and from outside, and aborted with the caller's own reason", async () => {
  const rig = new Rig();
  const life = new AbortController();
  const closed = rig.client.runs.chunks(run);
  const loops = [
    new Loop(rig.client.runs.chunks(run), () => false),
    new Loop(closed),
    new Loop(rig.client.runs.chunks(run, { signal: life.signal })),
  ];
  const again = await rejects(async () => closed[Symbol.asyncIterator]());
  await rig.pass(1500);

  for (const wire of rig.remote.opened(method)) wire.say(chunk("a", 0));
  await rig.pass(0);
  await closed[Symbol.asyncDispose]();
  life.abort(new Error("enough"));
  await rig.pass(0);

  assert.equal(loops.map(({ fate }) => fate.text), ["ok 1", "ok 1", "Error: enough"]);
  assert.match(again.message, "looped over once");
  assert.equal(rig.remote.underWay, []);
  await rig.done();
});

test("a run that was triggered has its events and chunks", async () => {
  const rig = new Rig();
  const trigger = new Fate(rig.client.runs.trigger("talk"));
  await rig.pass(500);
  const ref = trigger.value;
  const events = new Loop(ref!.events());
  const chunks = new Loop(ref!.chunks());
  await rig.pass(500);

  for (const wire of rig.remote.opened(method)) wire.say(chunk("a", 0));
  await rig.pass(0);

  assert.equal([events.heard.map(short), chunks.heard], [["a"], ["a"]]);
  await rig.done();
});

/** A metadata stream ends, is opened again, tells what comes then, and throws the caller's own reason. */
async function outlives(fail: (wire: Wire) => void): Promise<void> {
  const rig = new Rig();
  const life = new AbortController();
  const loop = new Loop(rig.client.runs.eventsByMetadata("user", "ann", { signal: life.signal }));
  await rig.pass(500);

  fail(rig.remote.wire(method));
  await rig.pass(500);
  await say(rig, step(STARTED));
  life.abort(new Error("enough"));
  await rig.pass(0);

  assert.equal(loop.heard.map(short), ["(reconnect)", "started"]);
  assert.equal(opens(rig), [0, 750]);
  assert.is(loop.fate.text, "Error: enough");
  await rig.done();
}

test("L18: a metadata stream that Unavailable ended is opened again, and ends by the caller alone", async () => {
  await outlives((wire) => wire.fail(said(Code.Unavailable)));
});

test("L19: a metadata stream that the engine ended is opened again, and ends by the caller alone", async () => {
  await outlives((wire) => wire.hangUp());
});

test("rule R31: metadata streams tell ends of runs too, and outlive every hangup without asking anybody", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.eventsByMetadata("user", "ann"));
  await rig.pass(500);

  await say(rig, step(STARTED), chunk("c", 2), chunk("c", 2), end(FAILED, false));
  await hangUp(rig);
  await rig.pass(500);
  await say(rig, step(STARTED));
  await rig.pass(120_000);

  assert.equal(loop.heard.map(short), [
    "started",
    "c",
    "c",
    "run failed",
    "run completed",
    "(reconnect)",
    "started",
  ]);
  assert.equal(asks(rig.remote.wires[0]), { additionalMetaKey: "user", additionalMetaValue: "ann" });
  assert.is(rig.remote.asked("getRunDetails").length, 0);
  assert.is(rig.root.gate.failures, 0);
  await rig.done();
});

test("a metadata stream that the engine refuses is over", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.runs.eventsByMetadata("user", "ann"));
  await rig.pass(500);

  rig.remote.wire(method).fail(said(Code.InvalidArgument));
  await rig.pass(0);

  assert.is(loop.fate.text, "refused");
  await rig.done();
});

test.run();
