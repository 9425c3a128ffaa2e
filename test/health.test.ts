import { Code, ConnectError } from "@connectrpc/connect";
import { assert, suite } from "./harness.ts";
import { id, said } from "./remote.ts";
import { Fate, Loop, Rig } from "./rig.ts";

const test = suite("health");

test("a client that has opened nothing is ready", async () => {
  const rig = new Rig();

  assert.equal(rig.client.health(), { ready: true, streams: [] });
  await rig.done();
  assert.equal(rig.client.health(), { ready: false, streams: [] });
});

test("is not ready while a stream connects, and ready when it is live and its beat was taken", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  void new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(1000);
  const { ready, streams: [stream] } = rig.client.health();
  rig.remote.listening = true;
  await rig.pass(2000);

  assert.equal([ready, stream?.state, stream?.ready], [false, "waiting", false]);
  assert.match(`${stream?.error}`, /ECONNREFUSED/);
  assert.equal(rig.client.health(), {
    ready: true,
    streams: [{ stream: "actions", id: id(1), state: "live", ready: true }],
  });
  await rig.done();
});

test("one stream that is away makes the client not ready, whatever the others do", async () => {
  const rig = new Rig();
  void new Loop(rig.client.actions({ workerId: id(1) }));
  void new Fate(rig.client.runs.result(id(7)));
  await rig.pass(11_000);
  assert.is(rig.client.health().ready, true);

  rig.remote.wire("subscribeToWorkflowRuns").fail(said(Code.Unavailable));
  await rig.pass(100);

  const { ready, streams } = rig.client.health();
  assert.is(ready, false);
  assert.equal(streams.map((one) => [one.stream, one.ready]), [["actions", true], ["results", false]]);
  await rig.done();
});

test("no zombie: within twenty seconds a worker whose beats are refused or lost says so", async () => {
  for (const answer of [said(Code.FailedPrecondition), said(Code.Unauthenticated), () => new Promise(() => {})]) {
    const rig = new Rig();
    void new Loop(rig.client.actions({ workerId: id(1) }));
    await rig.pass(30_000);

    rig.remote.always("heartbeat", answer);
    await rig.pass(20_000);

    const { ready, streams: [stream] } = rig.client.health();
    assert.is(ready, false);
    assert.instance(stream?.error, ConnectError);
    await rig.done();
  }
});

test("a stream that the worker's loop has left is no trouble", async () => {
  const rig = new Rig();
  const stream = rig.client.actions({ workerId: id(1) });
  void new Loop(stream);
  await rig.pass(1000);

  await rig.clock.drive(stream.close());
  await rig.pass(0);

  assert.equal(rig.client.health(), { ready: true, streams: [] });
  await rig.done();
});

test.run();
