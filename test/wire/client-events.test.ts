import { Code, ConnectError } from "@connectrpc/connect";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client, RunEvent, RunRef } from "../../src/mod.ts";
import { createClient, RunFailedError, StreamError, task } from "../../src/mod.ts";
import { EventsService } from "../../src/proto.ts";
import { assert, rejects, suite } from "../harness.ts";
import { nobody, Stage, until } from "./client.ts";

const test = suite("client events");

let stage: Stage;
/** Works and sends beside the proxy: only who listens is cut off. */
let straight: Client;
/** What becomes of the attempts that run, the oldest first. */
let attempts: { readonly taskId: string; readonly end: (outcome: object | Error) => void }[];

test.before.each(async () => {
  stage = await Stage.open({ seed: 1 });
  const { hostPort, token } = stage.engine;
  straight = createClient({ hostPort, token, tls: false, logger: false });
  attempts = [];
});
test.after.each(async () => {
  await straight.close({ graceMs: 0 });
  await stage.close();
});

/** On every runtime, and not yet in the types of the web. */
const readable = ReadableStream as typeof ReadableStream & {
  from<T>(items: AsyncIterable<T>): ReadableStream<T>;
};

/** Runs a task that does nothing until it is told how it ends. */
async function talk(options: { retries?: number; metadata?: Record<string, string> } = {}): Promise<RunRef<unknown>> {
  const { metadata, retries = 0 } = options;
  const talking = task({
    name: "talk",
    retries,
    run: (_: unknown, { taskId }) =>
      new Promise<object>((resolve, reject) => {
        attempts.push({ taskId, end: (outcome) => outcome instanceof Error ? reject(outcome) : resolve(outcome) });
      }),
  });
  if (attempts.length === 0) await stage.worker(straight, talking);
  const begun = attempts.length;
  const run = await straight.runs.trigger(talking, {}, { metadata });
  await until(() => attempts.length > begun);
  return run;
}

/** Sends a chunk of the newest attempt, until the engine has it. */
async function send(text: string | Uint8Array<ArrayBuffer>, index?: number): Promise<void> {
  const message = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const eventIndex = index === undefined ? {} : { eventIndex: BigInt(index) };
  const taskRunExternalId = attempts.at(-1)?.taskId ?? "";
  for (;;) {
    try {
      await straight.rpc(EventsService).putStreamEvent({ taskRunExternalId, message, ...eventIndex });
      return;
    } catch {
      await sleep(10); // The engine is away; what it did not answer for, it may have told.
    }
  }
}

/** What a loop hears. */
interface Hearing {
  readonly events: RunEvent[];
  /** Texts, gaps as `(why)`, and the kinds of all else. */
  readonly short: string[];
  readonly ended: Promise<unknown>;
}

/** Listens through the proxy, from the moment this resolves. */
async function hear(source: AsyncIterable<RunEvent>): Promise<Hearing> {
  const open = listening();
  const events: RunEvent[] = [];
  const short: string[] = [];
  const ended = (async () => {
    for await (const event of source) {
      events.push(event);
      if (event.kind === "gap") short.push(`(${event.why})`);
      else short.push(event.kind === "chunk" ? event.text : event.kind);
    }
    return "over";
  })();
  ended.catch(() => {
    // Told to whoever awaits it.
  });
  await until(() => listening() > open);
  await sleep(20);
  return { events, short, ended };
}

function listening(): number {
  return stage.engine.seen.open("SubscribeToWorkflowEvents");
}

/** The chunks that came twice, out of order, or went missing where no gap says so. */
function unexplained(events: readonly RunEvent[], total: number): string[] {
  const found: string[] = [];
  let next = 0;
  let isGap = false;
  for (const event of events) {
    if (event.kind === "gap") isGap = true;
    if (event.kind !== "chunk") continue;
    const { index = -1, text } = event;
    if (text !== `chunk ${index}`) found.push(`${index} says ${text}`);
    if (index < next) found.push(`${index} comes after ${next - 1}`);
    if (index > next && !isGap) found.push(`${next} to ${index - 1} are missing`);
    next = index + 1;
    isGap = false;
  }
  if (next < total && !isGap) found.push(`${next} to ${total - 1} are missing`);
  return found;
}

/** What can happen to a connection, or to one stream on it. */
const blows: readonly (readonly [name: string, fall: () => unknown])[] = [
  ["a FIN", () => stage.proxy.cut("fin")],
  ["an RST", () => stage.proxy.cut("rst")],
  ["a GOAWAY", () => stage.engine.faults.goAway(0)],
  ["an RST_STREAM 8", () => stage.engine.faults.resetStreams("SubscribeToWorkflowEvents", 8)],
  ["an RST_STREAM 0", () => stage.engine.faults.resetStreams("SubscribeToWorkflowEvents", 0)],
  ["an OK end", () => stage.engine.faults.endStreams("SubscribeToWorkflowEvents")],
  ["Internal", () => stage.engine.faults.endStreams("SubscribeToWorkflowEvents", Code.Internal)],
  ["a drain and a restart", () => stage.engine.drain().then(() => stage.engine.restart())],
];

test("of 1,000 chunks none is lost outside a gap, whatever falls on the wire", { limitMs: 40_000 }, async () => {
  const run = await talk();
  const { ended, events } = await hear(stage.client().runs.events(run.id));
  const total = 1000;

  const falls: unknown[] = [];
  for (let index = 0; index < total; index++) {
    await send(`chunk ${index}`, index);
    if (index % 110 === 50) falls.push(blows[(index - 50) / 110]?.[1]());
    if (index % 10 === 0) await sleep(10);
  }
  await Promise.all(falls);
  await until(() => listening() > 0);
  attempts[0]?.end({});
  const end = await ended;

  assert.is(end, "over");
  assert.equal(unexplained(events, total), []);
  const heard = events.filter(({ kind }) => kind === "chunk").length;
  const gaps = events.filter(({ kind }) => kind === "gap").length;
  assert.ok(heard > 100 && heard <= total, `${heard} chunks heard`);
  assert.ok(gaps >= 4, `${gaps} gaps`);
});

for (const [name, fall] of blows.filter(([name]) => name !== "a GOAWAY")) {
  test(`a run goes on behind ${name}, with a gap and to its end`, { limitMs: 10_000 }, async () => {
    const run = await talk();
    const { ended, short } = await hear(stage.client().runs.events(run.id));
    await send("a", 0);
    await until(() => short.length === 1);

    await fall();
    await until(() => short.length === 2);
    await sleep(50);
    await send("b", 1);
    await until(() => short.length === 3);
    attempts[0]?.end({ total: 2 });
    const end = await ended;

    assert.equal(short, ["a", "(reconnect)", "b", "completed"]);
    assert.is(end, "over");
  });
}

for (const outcome of [{ total: 1 }, new Error("it broke")]) {
  test(`a run that ${outcome instanceof Error ? "fails" : "completes"} while the wire is cut`, async () => {
    const run = await talk();
    const { ended, short } = await hear(stage.client().runs.events(run.id));
    await send("a", 0);
    await until(() => short.length === 1);

    await stage.proxy.refuse(true);
    stage.proxy.cut("rst");
    await send("lost", 1);
    attempts[0]?.end(outcome);
    await run.result().catch(() => {});
    await stage.proxy.refuse(false);
    const end = await ended.catch((error: unknown) => error);

    assert.equal(short, ["a", "(reconnect)"]);
    if (outcome instanceof Error) assert.instance(end, RunFailedError);
    else assert.is(end, "over");
  });
}

test("a failed attempt that is tried again ends no loop, though the engine hangs up", { limitMs: 10_000 }, async () => {
  const run = await talk({ retries: 1 });
  const { ended, short } = await hear(stage.client().runs.events(run.id));
  await send("a", 0);
  await until(() => short.length === 1);

  attempts[0]?.end(new Error("it broke"));
  await until(() => attempts.length === 2 && short.includes("(reconnect)"));
  await sleep(120);
  await send("A", 0);
  await send("B", 1);
  await until(() => short.length === 5);
  attempts[1]?.end({});
  const end = await ended;

  assert.equal(short, ["a", "failed", "(reconnect)", "A", "B", "completed"]);
  assert.is(end, "over");
});

test("a slow loop pauses the reading and nothing else, and loses nothing", { limitMs: 30_000 }, async () => {
  const run = await talk();
  const client = stage.client();
  const events: RunEvent[] = [];
  let goOn = () => {};
  const resumed = new Promise<void>((resolve) => goOn = resolve);
  const ended = (async () => {
    for await (const event of client.runs.events(run.id)) {
      events.push(event);
      if (events.length === 1) await resumed;
    }
  })();
  await until(() => listening() === 1);
  await sleep(20);
  // More than the queue holds, and more than HTTP/2 keeps on its way.
  const total = 1400;
  const long = "x".repeat(4000);
  const reports: unknown[] = [];
  void (async () => {
    for await (const report of client.status()) if (report.state === "live") reports.push(report.paused);
  })();

  for (let index = 0; index < total; index += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, n) => send(`${index + n} ${long}`, index + n)));
  }
  await until(() => reports.at(-1) === true);
  const meanwhile = await client.runs.details(run.id);
  goOn();
  await until(() => events.length === total, 20_000);
  attempts[0]?.end({});
  await ended;

  assert.is(meanwhile.done, false);
  assert.equal(events.slice(0, total).map((event) => event.kind === "chunk" && event.index), [...Array(total).keys()]);
  assert.is(reports.at(-1), false);
});

test("a late listener, chunks that come twice and one that is lost", { limitMs: 10_000 }, async () => {
  const run = await talk();
  await send("0", 0);
  await sleep(50);
  const { ended, short } = await hear(stage.client().runs.events(run.id));

  stage.engine.faults.duplicateStreamEvents(2);
  await send("1", 1);
  await until(() => short.length === 2);
  await send("2", 2);
  await until(() => short.length === 3);
  stage.engine.faults.loseStreamEvents();
  await send("3", 3);
  await send("4", 4);
  await until(() => short.length === 5);
  attempts[0]?.end({});
  await ended;

  assert.equal(short, ["(start)", "1", "2", "(missing)", "4", "completed"]);
});

test("a chunk that is no text is lost in a gap, and chunks behind it are not", { limitMs: 10_000 }, async () => {
  const run = await talk();
  const { ended, short } = await hear(stage.client().runs.events(run.id));
  await send("a");
  await until(() => short.length === 1);

  await send(new Uint8Array([0xff, 0xfe]));
  await until(() => short.length === 2);
  await sleep(50);
  await send("b");
  await until(() => short.length === 3);
  attempts[0]?.end({});
  await ended;

  assert.equal(short, ["a", "(reconnect)", "b", "completed"]);
});

test("a run whose hangup the engine loses is over when its details say so", { limitMs: 10_000 }, async () => {
  const run = await talk();
  const { ended, short } = await hear(stage.client().runs.events(run.id));
  await send("a", 0);
  await until(() => short.length === 1);

  stage.engine.faults.loseHangups();
  attempts[0]?.end({});
  await until(() => short.length === 2);
  stage.engine.faults.endStreams("SubscribeToWorkflowEvents");
  const end = await ended;

  assert.equal([short, end], [["a", "completed", "(missing)"], "over"]);
});

test("a finished run is over at once, one that nobody knows is refused", { limitMs: 10_000 }, async () => {
  const run = await talk();
  const client = stage.client();
  attempts[0]?.end({});
  await run.result();

  const events: RunEvent[] = [];
  for await (const event of client.runs.events(run.id)) events.push(event);
  const error = await rejects(async () => {
    for await (const event of client.runs.events(nobody)) events.push(event);
  }, StreamError);

  assert.equal(events, []);
  assert.is(error.code, "refused");
  assert.is(ConnectError.from(error.cause).code, Code.NotFound);
});

test("chunks are a body for a web response", { limitMs: 10_000 }, async () => {
  const run = await talk();
  const chunks = stage.client().runs.chunks(run.id);
  const body = readable.from(chunks).pipeThrough(new TextEncoderStream());
  const text = new Response(body).text();
  await until(() => listening() === 1);
  await sleep(20);

  await send("Grüße, ", 0);
  await send("Welt", 1);
  await sleep(50);
  attempts[0]?.end({});

  assert.is(await text, "Grüße, Welt");
});

test("runs with the same metadata are told one after another, with gaps between", { limitMs: 10_000 }, async () => {
  const client = stage.client();
  const life = new AbortController();
  const source = client.runs.eventsByMetadata("user", "ann", { signal: life.signal });
  const { ended, events, short } = await hear(source);

  const first = await talk({ metadata: { user: "ann" } });
  await send("a", 0);
  await until(() => short.includes("a"));
  attempts[0]?.end({});
  await until(() => short.includes("(reconnect)"));
  await sleep(50);
  const second = await talk({ metadata: { user: "ann" } });
  attempts[1]?.end(new Error("it broke"));
  await until(() => short.includes("run failed"));
  life.abort(new Error("enough"));
  const end = await rejects(ended);

  assert.equal(short, [
    "started",
    "a",
    "completed",
    "run completed",
    "(reconnect)",
    "started",
    "failed",
    "run failed",
  ]);
  const ids = events.map((event) => event.kind === "gap" ? "" : event.runId);
  assert.equal(new Set(ids), new Set([first.id, "", second.id]));
  assert.is(end.message, "enough");
});

test("break ends the stream at the engine, and leaves nothing open", { limitMs: 10_000 }, async () => {
  const run = await talk();
  const client = stage.client();
  const sending = (async () => {
    await until(() => listening() === 1);
    await sleep(20);
    await send("a", 0);
  })();

  const texts: string[] = [];
  for await (const text of client.runs.chunks(run.id)) {
    texts.push(text);
    break;
  }
  await sending;
  await until(() => listening() === 0);

  assert.equal(texts, ["a"]);
  assert.equal(client.health().streams, []);
});

test.run();
