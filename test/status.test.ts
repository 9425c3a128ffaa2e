import { Code, ConnectError } from "@connectrpc/connect";
import type { StreamReport } from "../src/mod.ts";
import { assert, suite } from "./harness.ts";
import { id, said } from "./remote.ts";
import { Fate, finished, Loop, Rig, startMs } from "./rig.ts";

const test = suite("status");

/** A report in short, its times counted from the test's beginning. */
function short(report: StreamReport): string {
  const { stream, state } = report;
  switch (report.state) {
    case "connecting":
      return `${stream} ${state} ${report.attempt}`;
    case "live":
      return `${stream} ${state} ${report.sinceMs - startMs}`;
    case "waiting":
      return `${stream} ${state} ${report.failures} ${report.delayMs}`;
    case "ended":
      return `${stream} ${state}`;
  }
}

test("tells every move of every stream, with its data", async () => {
  const rig = new Rig();
  const status = new Loop(rig.client.status());
  void new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(1000);
  void new Fate(rig.client.runs.result(id(7)));
  await rig.pass(20_000);

  rig.remote.kill();
  await rig.pass(20_000);

  const told = (stream: string) => status.heard.filter((report) => report.stream === stream).map(short);
  assert.equal(told("actions"), [
    "actions connecting 1",
    "actions live 0",
    "actions waiting 1 2000",
    "actions connecting 2",
    "actions live 23000",
  ]);
  assert.equal(told("results"), [
    "results connecting 1",
    "results live 11000",
    "results waiting 1 2000",
    "results connecting 2",
    "results live 33000",
  ]);
  const cut = status.heard.find(({ state }) => state === "waiting");
  assert.instance(cut?.state === "waiting" && cut.error, ConnectError);
  await rig.done();
  assert.is(status.fate.text.startsWith("ok"), true, "it ends with the client");
});

test("a snapshot comes first, for whoever comes late", async () => {
  const rig = new Rig();
  void new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(1000);

  const status = new Loop(rig.client.status());
  await rig.pass(0);

  assert.equal(status.heard.map(short), ["actions live 0"]);
  assert.equal(status.heard.map(({ stream, id }) => [stream, id]), [["actions", id(1)]]);
  await rig.done();
});

test("a slow reader gets the newest, and the streams do not wait for it", async () => {
  const rig = new Rig();
  void new Loop(rig.client.actions({ workerId: id(1) }));
  const status = new Loop(rig.client.status(), () => rig.clock.sleep(100_000));
  for (let n = 0; n < 5; n++) {
    await rig.pass(15_000);
    rig.remote.kill();
  }

  await rig.pass(130_000);

  assert.equal(status.heard.map(short), ["actions connecting 1", "actions live 77000"]);
  assert.is(rig.remote.wires.length, 6);
  await rig.pass(100_000);
  await rig.done();
});

test("a watcher keeps nothing alive, and one that breaks off leaves nothing behind", async () => {
  const rig = new Rig();

  const status = new Loop(rig.client.status(), () => false);
  await rig.pass(0);
  assert.is(rig.clock.asleep, 0);
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(0);

  assert.is(status.fate.text, "ok 1");
  assert.is(loop.fate.text, "pending");
  await rig.done();
});

test("doubt shows in the status: the refused beat, and each refused attempt with its cap of a minute", async () => {
  const rig = new Rig();
  void new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(11_000);
  const status = new Loop(rig.client.status());
  rig.remote.always("heartbeat", said(Code.Unauthenticated));
  await rig.pass(2000);
  for (let n = 0; n < 8; n++) {
    rig.remote.wire("listenV2").fail(said(Code.Unauthenticated));
    await rig.pass(60_000);
  }

  const reports = status.heard.map((report) => [
    short(report).split(" ", 2)[1],
    report.state === "waiting" ? Math.round(report.delayMs) : undefined,
    "trouble" in report && (report.trouble as ConnectError).code,
  ]);
  assert.equal(reports.slice(0, 2), [["live", undefined, false], ["live", undefined, Code.Unauthenticated]]);
  const delays = reports.filter(([state]) => state === "waiting").map(([, delayMs]) => delayMs);
  assert.equal(delays.slice(0, 3), [2000, 2000, 2000], "each lived for long: no failure in a row");
  assert.is(rig.client.health().ready, false);
  await rig.done();
});

test("the stream of results leaves the status when nobody needs it", async () => {
  const rig = new Rig();
  const status = new Loop(rig.client.status());
  const result = new Fate(rig.client.runs.result(id(7)));
  await rig.pass(500);
  rig.remote.wire("subscribeToWorkflowRuns").say(finished(7, { output: "{}" }));

  await rig.pass(60_000);

  assert.equal(status.heard.map(short), ["results connecting 1", "results live 500", "results ended"]);
  assert.match(result.text, "ok");
  await rig.done();
});

test("a stream that ends for good is told with its error", async () => {
  const rig = new Rig();
  const status = new Loop(rig.client.status());
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);

  rig.remote.wire("listenV2").fail(said(Code.NotFound));
  await rig.pass(0);

  const last = status.heard.at(-1);
  assert.is(last?.state === "ended" && last.error, loop.fate.error);
  await rig.done();
});

test("no token is in any status", async () => {
  const rig = new Rig();
  const status = new Loop(rig.client.status());
  void new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(500);
  rig.remote.wire("listenV2").fail(said(Code.Unauthenticated));
  await rig.pass(5000);

  const texts = status.heard.map((report) => "error" in report ? `${JSON.stringify(report)}${report.error}` : "");
  assert.not.match(texts.join(), /eyJ|Bearer/);
  await rig.done();
});

test.run();
