import { readFileSync } from "node:fs";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip, createGrpcTransport } from "@connectrpc/connect-node";
import { ActionType, AdminService, Dispatcher, EventsService } from "../../src/proto.ts";
import { startEngine } from "../../src/testing/engine/mod.ts";
import { assert, suite } from "../harness.ts";
import {
  complete,
  eventually,
  failure,
  listen,
  pause,
  plain,
  put,
  results,
  start,
  stopAll,
  trigger,
  work,
} from "./engine-client.ts";

const test = suite("engine: faults");
test.after.each(stopAll);

test("F14: a dropped heartbeat is answered and does not count", async () => {
  const engine = await start({ timing: { heartbeatWindowMs: 50 } });
  const client = plain(engine);
  await put(client, "beat");
  const worker = await work(client, engine, "beat:beat");
  await pause(70);

  engine.faults.dropBeats(1);
  await client.dispatcher.heartbeat({ workerId: worker.workerId });
  await trigger(client, "beat");
  await pause(30);
  const before = worker.messages.length;
  await client.dispatcher.heartbeat({ workerId: worker.workerId });
  await eventually(() => worker.messages.length === 1);

  assert.is(before, 0);
  assert.is(engine.seen.beats.length, 2);
});

test("F14: refuses so many heartbeats, and not one more", async () => {
  const engine = await start();
  const client = plain(engine);
  const { workerId } = await work(client, engine);

  engine.faults.refuseBeats(Code.FailedPrecondition, 2);
  const beat = () => client.dispatcher.heartbeat({ workerId }).then(() => undefined, (error) => error.code);
  const answers = [await beat(), await beat(), await beat()];

  assert.equal(answers, [Code.FailedPrecondition, Code.FailedPrecondition, undefined]);
});

test("F14: a swallowed result is gone for this asking, and comes after the next", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "gone");
  const worker = await work(client, engine, "gone:gone");
  const stream = results(client);
  const runId = await trigger(client, "gone");
  stream.ask(runId);
  await eventually(() => worker.messages.length === 1);

  engine.faults.swallowFinished();
  await complete(client, worker.messages[0]!);
  await pause(120);
  const before = stream.messages.length;
  stream.ask(runId);
  await eventually(() => stream.messages.length === 1);

  assert.is(before, 0);
});

test("F14: a result can come without its list", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "empty");
  const worker = await work(client, engine, "empty:empty");
  const stream = results(client);
  stream.ask(await trigger(client, "empty"));
  await eventually(() => worker.messages.length === 1);

  engine.faults.emptyResults();
  await complete(client, worker.messages[0]!);
  await eventually(() => stream.messages.length === 1);

  assert.equal(stream.messages[0]?.results, []);
});

test("F14: a lost start counts as delivered and is not repeated while the worker beats", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "void");
  const worker = await work(client, engine, "void:void");

  engine.faults.lostStarts();
  const lost = await trigger(client, "void");
  await eventually(() => engine.seen.starts.length === 1);
  const heard = await trigger(client, "void");
  await eventually(() => worker.messages.length === 1);
  await pause(60);

  assert.equal(worker.messages.map((action) => action.workflowRunId), [heard]);
  assert.equal(engine.seen.starts.map((it) => [it.runId, it.lost]), [[lost, true], [heard, false]]);
});

test("F14: a cancel can come twice", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "double");
  const worker = await work(client, engine, "double:double");
  const runId = await trigger(client, "double");
  await eventually(() => worker.messages.length === 1);

  engine.faults.duplicateCancel();
  await client.admin.cancelTasks({ externalIds: [runId] });
  await eventually(() => worker.messages.length === 3);

  const { CANCEL_STEP_RUN } = ActionType;
  assert.equal(worker.messages.slice(1).map((action) => action.actionType), [CANCEL_STEP_RUN, CANCEL_STEP_RUN]);
});

test("F14: delays what streams send", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "late");
  const worker = await work(client, engine, "late:late");

  engine.faults.delaySends(150);
  await trigger(client, "late");
  const triggered = performance.now();
  await eventually(() => worker.messages.length === 1);

  assert.ok(performance.now() - triggered > 120);
});

test("F14: delays the answers of one method", async () => {
  const engine = await start();
  const client = plain(engine);
  engine.faults.delayAnswers("Register", 120);

  const asked = performance.now();
  await client.dispatcher.getVersion({});
  const versionMs = performance.now() - asked;
  await client.dispatcher.register({ workerName: "w" });

  assert.ok(versionMs < 100);
  assert.ok(performance.now() - asked > 110);
});

test("F14: resets the streams of one method alone, without a status", async () => {
  const engine = await start();
  const client = plain(engine);
  const worker = await work(client, engine);
  const stream = results(client);
  stream.ask(engine.tenantId);
  await eventually(() => engine.seen.subscriptions.length === 1);

  const count = engine.faults.resetStreams("Dispatcher/ListenV2");
  const error = ConnectError.from(await worker.ended);

  assert.is(count, 1);
  assert.is(error.code, Code.Canceled);
  assert.not(error.metadata.has("grpc-status"));
  assert.is(engine.seen.open("SubscribeToWorkflowRuns"), 1);
  stream.abort.abort();
});

test("F14: ends streams OK or with a status", async () => {
  const engine = await start();
  const client = plain(engine);
  const first = await work(client, engine);
  engine.faults.endStreams("ListenV2");
  const ok = await first.ended;
  const second = await work(client, engine);

  engine.faults.endStreams("ListenV2", Code.Unavailable, "away");
  const error = ConnectError.from(await second.ended);

  assert.is(ok, undefined);
  assert.is(error.code, Code.Unavailable);
  assert.is(error.rawMessage, "away");
});

test("F14: accepts and drops streams while it is on", async () => {
  const engine = await start();
  const client = plain(engine);
  const { workerId } = await client.dispatcher.register({ workerName: "w" });

  engine.faults.acceptAndDrop();
  const ends = [await listen(client, workerId).ended, await listen(client, workerId).ended];
  engine.faults.acceptAndDrop(false);
  const third = listen(client, workerId);
  await eventually(() => engine.seen.open("ListenV2") === 1);

  assert.equal(ends, [undefined, undefined]);
  assert.is(engine.seen.count("ListenV2"), 3);
  third.abort.abort();
});

test("F14: refuses every call as unauthenticated while it is on", async () => {
  const engine = await start();
  const client = plain(engine);
  const open = await work(client, engine);

  engine.faults.refuseAuth();
  const error = ConnectError.from(await failure(client.dispatcher.getVersion({})));
  engine.faults.refuseAuth(false);
  const { version } = await client.dispatcher.getVersion({});

  assert.is(error.code, Code.Unauthenticated);
  assert.ok(version);
  assert.is(engine.seen.open("ListenV2"), 1);
  open.abort.abort();
});

test("F14: fails the next calls of a method with code, text and metadata", async () => {
  const engine = await start();
  const client = plain(engine);

  engine.faults.failCalls("GetVersion", Code.ResourceExhausted, 1, "slow down", { "grpc-retry-pushback-ms": "70" });
  const error = ConnectError.from(await failure(client.dispatcher.getVersion({})));
  const { version } = await client.dispatcher.getVersion({});

  assert.is(error.code, Code.ResourceExhausted);
  assert.is(error.rawMessage, "slow down");
  assert.is(error.metadata.get("grpc-retry-pushback-ms"), "70");
  assert.ok(version);
});

test("F14: a lost answer has taken effect", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "effect");

  engine.faults.loseAnswers("TriggerWorkflow");
  const error = ConnectError.from(await failure(trigger(client, "effect")));

  assert.not(error.metadata.has("grpc-status"));
  assert.is(engine.seen.triggers, 1);
});

test("F14: frozen, it neither answers nor sends, and goes on where it stood", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "ice");
  const worker = await work(client, engine, "ice:ice");
  engine.faults.delaySends(40);
  await trigger(client, "ice");
  engine.faults.freeze();

  let answered = false;
  const call = client.dispatcher.getVersion({}).then(() => answered = true);
  await pause(80);
  const frozen = { answered, heard: worker.messages.length };
  engine.faults.freeze(false);
  await call;
  await eventually(() => worker.messages.length === 1);

  assert.equal(frozen, { answered: false, heard: 0 });
});

test("F14: says goodbye on every connection, and streams go on", async () => {
  const engine = await start();
  const client = plain(engine);
  await put(client, "bye");
  const worker = await work(client, engine, "bye:bye");

  engine.faults.goAway();
  await pause(20);
  await trigger(plain(engine), "bye");
  await eventually(() => worker.messages.length === 1);

  assert.is(engine.seen.open("ListenV2"), 1);
});

test("F13: hides what is no status, and knows methods from services", async () => {
  const engine = await start();
  const { token, hostPort } = engine;
  const transport = createGrpcTransport({ baseUrl: `http://${hostPort}` });
  const headers = { authorization: `Bearer ${token}` };
  const request = { workerName: "w", runtimeInfo: { language: 0 as const } };

  const hiddenError = ConnectError.from(
    await failure(createClient(Dispatcher, transport).register(request, { headers })),
  );
  const missing = ConnectError.from(
    await failure(createClient(AdminService, transport).branchDurableTask({}, { headers })),
  );
  const replay = ConnectError.from(
    await failure(createClient(EventsService, transport).replaySingleEvent({}, { headers })),
  );

  assert.is(hiddenError.code, Code.Internal);
  assert.is(hiddenError.rawMessage, "An internal error occurred.");
  assert.is(missing.code, Code.Unimplemented);
  assert.is(replay.code, Code.Unimplemented);
});

test("answers gzip with gzip, and refuses other encodings as grpc-go does", async () => {
  const engine = await start();
  const baseUrl = `http://${engine.hostPort}`;
  const headers = { authorization: `Bearer ${engine.token}` };
  const gzip = createGrpcTransport({ baseUrl, sendCompression: compressionGzip, compressMinBytes: 0 });
  const brotli = createGrpcTransport({ baseUrl, sendCompression: compressionBrotli, compressMinBytes: 0 });
  const encodings: (string | null)[] = [];
  const onHeader = (answer: Headers) => encodings.push(answer.get("grpc-encoding"));

  await createClient(Dispatcher, gzip).getVersion({}, { headers, onHeader });
  await plain(engine).dispatcher.getVersion({}, { onHeader });
  const error = ConnectError.from(await failure(createClient(Dispatcher, brotli).getVersion({}, { headers })));

  assert.equal(encodings, ["gzip", null]);
  assert.is(error.code, Code.Unimplemented);
  assert.is(error.rawMessage, 'grpc: Decompressor is not installed for grpc-encoding "br"');
});

test("serves TLS, and with an authority only clients that show a certificate", async () => {
  const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), "utf8");
  const tls = { key: pem("server.key"), cert: pem("server.crt"), ca: pem("ca.crt") };
  const engine = await start({ tls });
  const client = (nodeOptions: Record<string, string>) =>
    createClient(Dispatcher, createGrpcTransport({ baseUrl: `https://${engine.hostPort}`, nodeOptions }));
  const headers = { authorization: `Bearer ${engine.token}` };

  const known = client({ ca: pem("ca.crt"), key: pem("client.key"), cert: pem("client.crt") });
  const { version } = await known.getVersion({}, { headers });
  const refused = await failure(client({ ca: pem("ca.crt") }).getVersion({}, { headers }));

  assert.ok(version);
  assert.instance(refused, ConnectError);
});

test("pings that come too often end the connection after the fourth", async () => {
  const engine = await startEngine({ timing: { minPingMs: 1000 } });
  const transport = createGrpcTransport({
    baseUrl: `http://${engine.hostPort}`,
    pingIntervalMs: 30,
    pingTimeoutMs: 1000,
  });
  const headers = { authorization: `Bearer ${engine.token}` };
  const client = createClient(Dispatcher, transport);
  const { workerId } = await client.register({ workerName: "w" }, { headers });

  const opened = performance.now();
  const read = async () => {
    for await (const _ of client.listenV2({ workerId }, { headers }));
  };
  await failure(read());

  assert.ok(performance.now() - opened < 1000);
  await engine.close();
});

test.run();
