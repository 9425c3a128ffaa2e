import { Code, ConnectError } from "@connectrpc/connect";
import { Dispatcher } from "../gen/dispatcher/dispatcher_pb.ts";
import type { CallPolicy } from "../src/root.ts";
import type { StreamError } from "../src/streams/mod.ts";
import { assert, suite } from "./harness.ts";
import { jwt } from "./jwt.ts";
import { id, said } from "./remote.ts";
import { Fate, Loop, Rig, secret, startMs } from "./rig.ts";

const test = suite("root");

/** Makes a user's call. */
function ask(rig: Rig, policy?: CallPolicy): Fate {
  return new Fate(rig.root.call((options) => rig.root.rpc(Dispatcher).getVersion({}, options), policy));
}

test("a call that was never sent is made five times, then it is unreachable, with the cause", async () => {
  const rig = new Rig();
  rig.remote.listening = false;

  const fate = ask(rig);
  await rig.pass(60_000);

  const error = fate.error as StreamError;
  assert.equal([error.code, error.attempts], ["unreachable", 5]);
  assert.match(error.message, "could not be reached in 5 attempts");
  assert.match((error.cause as Error).message, /ECONNREFUSED/);
  assert.equal(rig.remote.dialedAt.map((at) => at - startMs), [0, 1000, 3000, 7000, 15_000]);
  await rig.done();
});

test("a call dials, and gets through as soon as the engine is there", async () => {
  const rig = new Rig();
  rig.remote.listening = false;
  const fate = ask(rig);
  await rig.pass(2000);

  rig.remote.listening = true;
  await rig.pass(1000);

  assert.match(fate.text, "v0.90.0");
  assert.is(rig.remote.asked("getVersion").length, 1);
  await rig.done();
});

test("how often a call is made is an option, and a variable of the environment says once", async () => {
  const twice = new Rig({ retry: { setupAttempts: 2 } });
  const once = new Rig({}, { HATCHET_CLIENT_NO_GRPC_RETRY: "true" });

  for (const [rig, attempts] of [[twice, 2], [once, 1]] as const) {
    rig.remote.listening = false;
    const fate = ask(rig);
    await rig.pass(60_000);
    assert.is((fate.error as StreamError).attempts, attempts);
    assert.is(rig.remote.dialedAt.length, attempts);
    await rig.done();
  }
});

test("rule R3: a refused token is `refused`, once, with the engine's answer as the cause", async () => {
  for (const code of [Code.Unauthenticated, Code.PermissionDenied]) {
    const rig = new Rig();
    rig.remote.always("getVersion", said(code));

    const fate = ask(rig);
    await rig.pass(60_000);

    assert.equal([fate.text, (fate.cause as ConnectError).code], ["refused", code]);
    assert.is(rig.remote.calls.length, 1);
    assert.not.match((fate.error as Error).message, /eyJ/);
    await rig.done();
  }
});

for (
  const [idempotent, codes] of [
    [true, [Code.NotFound, Code.InvalidArgument, Code.ResourceExhausted, Code.AlreadyExists]],
    [false, [Code.NotFound, Code.Unavailable, Code.Internal, Code.DeadlineExceeded, Code.ResourceExhausted]],
  ] as const
) {
  const which = idempotent ? "a call that may be made twice" : "a call that may not";
  test(`rule R4: what the engine says for good of ${which} is thrown as it is, once`, async () => {
    for (const code of codes) {
      const rig = new Rig();
      rig.remote.always("getVersion", said(code));

      const fate = ask(rig, { idempotent });
      await rig.pass(200_000);

      assert.instance(fate.error, ConnectError);
      assert.is((fate.error as ConnectError).code, code);
      assert.is(rig.remote.calls.length, 1);
      await rig.done();
    }
  });
}

test("rule R4: a passing trouble of the engine is waited for, 5 s and doubling, where making the call twice does no harm", async () => {
  for (const code of [Code.Unavailable, Code.Internal, Code.DeadlineExceeded]) {
    const rig = new Rig();
    rig.remote.always("getVersion", said(code));

    const fate = ask(rig, { idempotent: true });
    await rig.pass(200_000);

    assert.is((fate.error as ConnectError).code, code);
    assert.equal(rig.remote.calls.map(({ at }) => at - startMs), [0, 5000, 15_000, 35_000, 75_000]);
    await rig.done();
  }
});

test("rule R2: too many calls are made again, whatever they do; a quota and a size are not", async () => {
  const texts = {
    "/WorkflowService/TriggerWorkflow is rejected by grpc_ratelimit middleware, please retry later": 2,
    "tenant has reached 100% of its task run limit": 1,
    "grpc: received message larger than max (5000228 vs. 4194304)": 1,
  };
  for (const [text, calls] of Object.entries(texts)) {
    const rig = new Rig();
    rig.remote.next("getVersion", new ConnectError(text, Code.ResourceExhausted, { "grpc-status": "8" }));

    const fate = ask(rig);
    await rig.pass(6000);

    assert.is(rig.remote.calls.length, calls, text);
    assert.is(fate.text === "pending", false);
    await rig.done();
  }
});

test("rule R4: a call whose answer was lost is not made again, and says that it may have taken effect", async () => {
  const rig = new Rig();
  rig.remote.always("getVersion", (call) => call.cut());

  const fate = ask(rig);
  await rig.pass(60_000);

  assert.is(fate.text, "unreachable");
  assert.match((fate.error as Error).message, "may have taken effect");
  assert.is(rig.remote.calls.length, 1);
  await rig.done();
});

test("rule R4: one that may be made twice is made again when its answer was lost", async () => {
  const rig = new Rig();
  rig.remote.next("getVersion", (call) => call.cut(), (call) => call.cut());

  const fate = ask(rig, { idempotent: true });
  await rig.pass(60_000);

  assert.match(fate.text, "v0.90.0");
  assert.is(rig.remote.calls.length, 3);
  await rig.done();
});

test("a call that hangs is given up after half a minute", async () => {
  const rig = new Rig();
  rig.remote.always("getVersion", () => new Promise(() => {}));

  const fate = ask(rig);
  await rig.pass(29_999);
  assert.is(fate.text, "pending");
  await rig.pass(1);

  assert.is(fate.text, "unreachable");
  assert.is((fate.cause as ConnectError).code, Code.DeadlineExceeded);
  await rig.done();
});

test("the caller's abort rejects with its own reason: before, during the wait and during the call", async () => {
  const rig = new Rig();
  rig.remote.always("getVersion", () => new Promise(() => {}));
  const callers = [new AbortController(), new AbortController(), new AbortController()] as const;
  callers[0].abort("before");
  const fates = [ask(rig, { signal: callers[0].signal }), ask(rig, { signal: callers[1].signal })];
  await rig.pass(100);
  callers[1].abort("during");
  await rig.pass(0);
  rig.remote.listening = false;
  rig.remote.kill();
  fates.push(ask(rig, { signal: callers[2].signal }));
  await rig.pass(100);

  callers[2].abort("waiting");
  await rig.pass(0);

  assert.equal(fates.map(({ error }) => error), ["before", "during", "waiting"]);
  assert.is(rig.clock.asleep, 0);
  await rig.done();
});

test("close settles the calls under way, and those that come later, as closed", async () => {
  const rig = new Rig();
  rig.remote.always("getVersion", () => new Promise(() => {}));
  const during = ask(rig);
  await rig.pass(100);

  await rig.done();
  const later = ask(rig);
  await rig.pass(0);

  assert.equal([during.text, later.text], ["closed", "closed"]);
});

test("the token function is asked at every call, and its token is what the call carries", async () => {
  let asked = 0;
  const rig = new Rig({ hostPort: "engine:7070", token: () => jwt({ n: ++asked }) });

  await rig.clock.drive(rig.root.rpc(Dispatcher).getVersion({}));
  await rig.clock.drive(rig.root.rpc(Dispatcher).getVersion({}));

  assert.equal(rig.remote.calls.map(({ authorization }) => authorization), [
    `Bearer ${jwt({ n: 1 })}`,
    `Bearer ${jwt({ n: 2 })}`,
  ]);
  await rig.done();
});

test("what a token function throws before anything was live comes out as it is, of calls and loops", async () => {
  const mistake = new TypeError("no vault");
  const rig = new Rig({ hostPort: "engine:7070", token: () => Promise.reject(mistake) });

  const fates = [
    ask(rig),
    new Loop(rig.client.actions({ workerId: id(1) })).fate,
    new Fate(rig.client.runs.result(id(7))),
  ];
  await rig.pass(60_000);

  assert.equal(fates.map(({ error }) => error), [mistake, mistake, mistake]);
  await rig.done();
});

test("what it throws after that is a passing trouble, for loops, beats, reports and calls", async () => {
  let away = false;
  const rig = new Rig({
    hostPort: "engine:7070",
    token: () => {
      if (away) throw new TypeError("the vault is away");
      return secret;
    },
  });
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  const result = new Fate(rig.client.runs.result(id(7)));
  await rig.pass(11_000);

  away = true;
  rig.remote.kill();
  const call = ask(rig);
  await rig.pass(12_000);
  assert.equal([loop.fate.text, result.text, call.text], ["pending", "pending", "pending"]);
  away = false;
  await rig.pass(60_000);

  assert.equal([loop.fate.text, result.text], ["pending", "pending"]);
  assert.match(call.text, "v0.90.0");
  assert.is(rig.client.health().ready, true);
  await rig.done();
});

test("hostPort as a function is asked at every dial, and its mistakes count as the token's do", async () => {
  let asked = 0;
  let away = false;
  const mistake = new TypeError("no such region");
  const hostPort = () => {
    asked++;
    if (away) throw mistake;
    return "engine:7070";
  };
  const rig = new Rig({ hostPort });
  const loop = new Loop(rig.client.actions({ workerId: id(1) }));
  await rig.pass(11_000);
  assert.is(asked, 1);

  away = true;
  rig.remote.kill();
  await rig.pass(60_000);
  assert.is(loop.fate.text, "pending");
  away = false;
  await rig.pass(20_000);
  assert.is(rig.client.health().ready, true);
  await rig.done();

  away = true;
  const early = new Rig({ hostPort });
  const fates = [ask(early), new Loop(early.client.actions({ workerId: id(1) })).fate];
  await early.pass(60_000);
  assert.equal(fates.map(({ error }) => error), [mistake, mistake]);
  await early.done();
});

test("one client of a service is made, however often it is asked for", async () => {
  const rig = new Rig();

  assert.is(rig.client.rpc(Dispatcher), rig.client.rpc(Dispatcher));
  await rig.done();
});

test("a call of our own waits for the connection, and never dials", async () => {
  const rig = new Rig();
  const fate = new Fate(
    rig.root.background((options) => rig.root.rpc(Dispatcher).getVersion({}, options), rig.root.signal),
  );
  await rig.pass(60_000);
  assert.equal([fate.text, rig.remote.dialedAt], ["pending", []]);

  await rig.clock.drive(rig.root.rpc(Dispatcher).getVersion({}));
  await rig.pass(0);

  assert.match(fate.text, "v0.90.0");
  await rig.done();
});

test.run();
