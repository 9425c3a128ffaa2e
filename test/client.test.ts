import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { Dispatcher } from "../gen/dispatcher/dispatcher_pb.ts";
import { Client, createClient } from "../src/client.ts";
import { resolveConfig } from "../src/config.ts";
import { channelOf } from "../src/channel.ts";
import { StreamError } from "../src/mod.ts";
import { Root } from "../src/root.ts";
import { VirtualClock } from "../src/testing/mod.ts";
import { task } from "../src/worker/task.ts";
import { assert, suite } from "./harness.ts";
import { id, Remote, said } from "./remote.ts";
import { Fate, finished, Loop, Rig, secret, start } from "./rig.ts";

const test = suite("client");
const register = { name: "worker", actions: ["double:double"] };
const double = task({ name: "double", run: () => new Promise(() => {}) });

/** A client with everything under way that it can have. */
async function busy(): Promise<{ readonly rig: Rig; readonly fates: Readonly<Record<string, Fate>> }> {
  const rig = new Rig();
  const { client, remote } = rig;
  const hangs = () => new Promise(() => {});
  remote.next("getRunDetails", hangs);
  remote.next("triggerWorkflow", hangs);
  const worker = client.worker("worker", { tasks: [double] });
  const fates = {
    run: new Fate(worker.run()),
    ready: new Fate(worker.ready()),
    actions: new Loop(client.actions({ workerId: id(9) })).fate,
    status: new Loop(client.status()).fate,
    result: new Fate(client.runs.result(id(7))),
    results: new Loop(client.runs.results([id(7), id(8)])).fate,
    details: new Fate(client.runs.details(id(7))),
    trigger: new Fate(client.runs.trigger("report")),
  };
  await rig.pass(15_000);
  remote.wire("listenV2").say(start(3));
  await rig.pass(100);
  return { rig, fates };
}

test("makes a client without any I/O, and closes it", async () => {
  const client = createClient({ token: secret, tls: false, hostPort: "192.0.2.1:1" });

  assert.instance(client, Client);
  assert.equal(client.health(), { ready: true, streams: [] });
  await client.close();
});

test("after close everything has settled, and nothing is alive", async () => {
  const { rig, fates } = await busy();

  await rig.clock.drive(rig.client.close({ graceMs: 0 }));
  await rig.pass(0);

  const texts = Object.fromEntries(Object.entries(fates).map(([name, { text }]) => [name, text.split(" ")[0]]));
  assert.equal(texts, {
    run: "ok",
    ready: "ok",
    actions: "ok",
    status: "ok",
    result: "closed",
    results: "closed",
    details: "closed",
    trigger: "closed",
  });
  assert.equal([rig.remote.underWay, rig.clock.asleep], [[], 0]);
  await rig.done();
});

test("close settles everything while the engine is away, too", async () => {
  const { rig, fates } = await busy();
  rig.remote.listening = false;
  rig.remote.kill();
  await rig.pass(20_000);

  await rig.clock.drive(rig.client.close({ graceMs: 0 }));
  await rig.pass(0);

  assert.equal(Object.values(fates).filter(({ text }) => text === "pending"), []);
  assert.equal([rig.remote.underWay, rig.clock.asleep], [[], 0]);
});

test("close is one close, however often and in whatever way it is called", async () => {
  const rig = new Rig();
  const { client } = rig;

  const closes = [client.close(), client.close({ graceMs: 1 }), client[Symbol.asyncDispose]()];
  await rig.clock.drive(Promise.all(closes));

  assert.is(closes[0], closes[1]);
  await rig.done();
});

test("the client's own signal closes it, also one that aborted before", async () => {
  const life = new AbortController();
  const rig = new Rig({ signal: life.signal });
  const early = new Rig({ signal: AbortSignal.abort() });
  const fate = new Fate(rig.client.runs.result(id(7)));
  const late = new Fate(early.client.runs.result(id(7)));
  await rig.pass(1000);

  life.abort(new Error("whatever"));
  await rig.pass(0);
  await early.pass(0);

  assert.equal([fate.text, late.text], ["closed", "closed"]);
  assert.equal([rig.remote.underWay, rig.clock.asleep, early.clock.asleep], [[], 0, 0]);
  await rig.done();
  await early.done();
});

test("a closed client holds on to no signal of its caller's", async () => {
  const life = new AbortController();
  let listening = 0;
  const { signal } = life;
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  Object.assign(signal, {
    addEventListener: (...args: Parameters<typeof add>) => (listening++, add(...args)),
    removeEventListener: (...args: Parameters<typeof remove>) => (listening--, remove(...args)),
  });
  const rig = new Rig({ signal });
  void new Fate(rig.client.runs.result(id(7), { signal }));
  void new Loop(rig.client.actions({ workerId: id(1), signal }));
  void new Fate(rig.client.runs.details(id(7), { signal }));
  await rig.pass(1000);
  assert.ok(listening > 0);

  await rig.done();

  assert.is(listening, 0);
});

test("L11: after the close every wait, call and loop is over at once", async () => {
  const rig = new Rig();
  const { client } = rig;
  await rig.done();

  const fates = [
    new Fate(client.runs.result(id(7))),
    new Fate(client.runs.trigger("report")),
    new Fate(client.runs.details(id(7))),
    new Fate(client.runs.cancel(id(7))),
    new Fate(client.register(register)),
    new Fate(client.worker("worker", { tasks: [double] }).run()),
    new Loop(client.actions({ register })).fate,
    new Loop(client.status()).fate,
  ];
  await rig.pass(60_000);

  assert.equal(fates.map(({ text }) => text), [
    "closed",
    "closed",
    "closed",
    "closed",
    "closed",
    "closed",
    "ok 0",
    "ok 0",
  ]);
  assert.instance(fates[0]?.error, StreamError);
  assert.equal([rig.remote.dialedAt, rig.clock.asleep], [[], 0]);
});

test("register makes a worker each time, and says how it is called", async () => {
  const rig = new Rig();
  const options = { ...register, slots: { default: 3, gpu: 1 }, labels: { zone: "eu", cores: 8 } };

  const first = await rig.clock.drive(rig.client.register(options));
  const second = await rig.clock.drive(rig.client.register(register));

  assert.equal([first, second], [{ workerId: id(1), name: "worker" }, { workerId: id(2), name: "worker" }]);
  const [one, two] = rig.remote.asked("register").map(({ request }) => Object(request));
  assert.equal([one.slotConfig, one.services, one.slots], [{ default: 3, gpu: 1 }, ["default"], undefined]);
  assert.is(two.slotConfig.default, 100);
  assert.ok(one.runtimeInfo.language > 0 && /\d/.test(one.runtimeInfo.languageVersion));
  await rig.done();
});

test("rule R47: register refuses what makes no sense before any I/O", async () => {
  const rig = new Rig();

  const fate = new Fate(rig.client.register({ ...register, name: "" }));
  await rig.pass(0);

  assert.match(fate.text, "TypeError: worker name");
  assert.equal(rig.remote.dialedAt, []);
  await rig.done();
});

test("C7: logs the first and every fifth failure in a row, the recovery, and nothing else", async () => {
  const rig = new Rig();
  void new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(11_000);
  assert.equal(rig.lines, []);

  rig.remote.listening = false;
  rig.remote.kill();
  await rig.pass(110_000);
  rig.remote.listening = true;
  await rig.pass(30_000);

  const fields = { stream: "actions", id: id(1) };
  assert.equal(rig.lines, [
    ["warn A stream was lost, and will be opened again", { ...fields, failures: 1, delayMs: 2000, code: "Canceled" }],
    ["warn A stream was lost, and will be opened again", {
      ...fields,
      failures: 5,
      delayMs: 10_000,
      code: "Unavailable",
    }],
    ["warn A stream was lost, and will be opened again", {
      ...fields,
      failures: 10,
      delayMs: 10_000,
      code: "Unavailable",
    }],
    ["info A stream is live again", { ...fields, failures: 13 }],
  ]);
  await rig.done();
});

test("C7: an hour of health, of results and of quiet ends logs nothing", { limitMs: 20_000 }, async () => {
  const rig = new Rig();
  void new Loop(rig.client.actions({ workerId: id(1) }));
  for (let n = 0; n < 20; n++) {
    const fate = new Fate(rig.client.runs.result(id(7)));
    await rig.pass(500);
    rig.remote.wire("subscribeToWorkflowRuns").say(finished(7, { output: "{}" }));
    await rig.pass(180_000);
    assert.match(fate.text, "ok");
  }

  assert.equal(rig.lines, []);
  await rig.done();
});

test("a fatal end is one line, with its code", async () => {
  const rig = new Rig();
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  rig.remote.wire("listenV2").fail(said(Code.InvalidArgument));
  await rig.pass(60_000);

  assert.equal(rig.lines, [["error A stream has ended", { stream: "actions", id: id(1), code: "refused" }]]);
  assert.not.match(`${loop.fate.error} ${(loop.fate.error as Error).stack}`, /eyJ|Bearer/);
  await rig.done();
});

test("what status tells, the diagnostics channel tells as well", async () => {
  const rig = new Rig();
  const told: unknown[] = [];
  const listener = (message: unknown) => told.push(Object(message).state);
  subscribe("coppice:stream", listener);

  void new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);
  await rig.done();
  unsubscribe("coppice:stream", listener);

  assert.equal(told, ["connecting", "live", "ended"]);
});

test("a transport of the caller's carries every call and stream, with the token of the moment, and stays theirs", async () => {
  const clock = new VirtualClock();
  const remote = new Remote(clock);
  const theirs = remote.channel();
  const config = resolveConfig(
    { token: secret, transport: theirs.transport, clock, random: () => 1, logger: false },
    {},
  );
  const client = new Client(new Root(config, (authorization) => channelOf(config, authorization)));
  const loop = new Loop(client.actions({ register }));
  const result = new Fate(client.runs.result(id(7)));
  await clock.pass(1000);

  remote.wire("listenV2").say(start(3));
  await clock.pass(0);
  remote.kill();
  await clock.pass(5000);
  remote.wire("listenV2").say(start(4));
  remote.wire("subscribeToWorkflowRuns").say(finished(7, { output: "{}" }));
  await clock.pass(0);
  assert.equal(loop.heard.map(({ runId }) => runId), [id(3), id(4)]);
  assert.is(result.text, `ok {"double":{}}`);
  assert.equal(new Set([...remote.calls, ...remote.wires].map(({ authorization }) => authorization)).size, 1);
  assert.is(remote.calls[0]?.authorization, `Bearer ${secret}`);

  await clock.drive(client.close());
  await clock.pass(0);
  assert.equal([remote.underWay, clock.asleep], [[], 0]);
  assert.ok(theirs.connection?.alive, "it was not ours to close");
});

test("a token function that fails now and then costs no report over a transport of the caller's", async () => {
  let away = false;
  const clock = new VirtualClock();
  const remote = new Remote(clock);
  const token = () => {
    if (away) throw new Error("the vault is away");
    return secret;
  };
  const { transport } = remote.channel();
  const config = resolveConfig({ token, transport, hostPort: "engine:7070", clock, logger: false }, {});
  const client = new Client(new Root(config, (authorization) => channelOf(config, authorization)));
  const loop = new Loop(client.actions({ workerId: id(1) }));
  await clock.pass(1000);
  remote.wire("listenV2").say(start(3));
  await clock.pass(0);
  const [action] = loop.heard;

  away = true;
  const report = new Fate(action?.kind === "start" ? action.completed({}) : Promise.reject(new Error("no start")));
  await clock.pass(5000);
  assert.is(report.text, "pending");
  away = false;
  await clock.pass(20_000);

  assert.is(report.text, "ok undefined");
  await clock.drive(client.close());
});

test("rpc speaks any service, with our credentials", async () => {
  const rig = new Rig();

  const { version } = await rig.clock.drive(rig.client.rpc(Dispatcher).getVersion({}));

  assert.is(version, "v0.90.0");
  assert.is(rig.remote.calls[0]?.authorization, `Bearer ${secret}`);
  await rig.done();
});

test("a thousand waits that are given up leave nothing behind", { limitMs: 10_000 }, async () => {
  const rig = new Rig();
  const fates: Fate[] = [];
  for (let n = 0; n < 1000; n++) {
    const caller = new AbortController();
    fates.push(new Fate(rig.client.runs.result(id(n), { signal: caller.signal })));
    if (n % 100 === 0) await rig.pass(10);
    caller.abort("enough");
  }
  await rig.pass(60_000);

  assert.equal(fates.filter(({ error }) => error !== "enough"), []);
  assert.equal([rig.clock.asleep, rig.remote.underWay], [0, []]);
  await rig.done();
});

test("an error of the engine's keeps what the engine said, to the last detail", async () => {
  const rig = new Rig();
  rig.remote.always("triggerWorkflow", said(Code.AlreadyExists, { "x-detail": "the other run" }));

  const fate = new Fate(rig.client.runs.trigger("report"));
  await rig.pass(0);

  assert.is((fate.error as ConnectError).metadata.get("x-detail"), "the other run");
  await rig.done();
});

test.run();
