import { Code } from "@connectrpc/connect";
import * as fc from "fast-check";
import { StreamError } from "../../src/streams/errors.ts";
import { assert, suite } from "../harness.ts";
import { bytes } from "../listeners/durable.ts";
import { id, said } from "../remote.ts";
import { Fate, Rig } from "../rig.ts";
import { assertQuiet, ended, holds } from "./cases.ts";
import { payload } from "./durable.ts";
import { anything, code, text, wrongId } from "./wrong.ts";

const test = suite("fuzz durable events");
const method = "listenForDurableEvent";

const whole = text.map((one) => one.toWellFormed()); // What is not, no peer can send.
const key = whole.filter((one) => one !== "" && one.length < 1000);
const event = fc.record({
  taskId: fc.oneof(whole, fc.constantFrom(id(1), id(2), id(424_242))),
  signalKey: fc.oneof(whole, fc.constantFrom("paid", "")),
  data: payload,
}, { requiredKeys: [] });

test("whatever a signal says, its waiter is told something clear, and the stream goes on", {
  limitMs: 30_000,
}, async () => {
  const rig = new Rig();
  let n = 0;

  await holds(700, fc.tuple(key, fc.array(event, { maxLength: 4 }), payload), async ([signalKey, events, data]) => {
    const taskId = id(1000 + ++n);
    const waiting = new Fate(rig.client.durable.event(taskId, signalKey));
    await rig.pass(n === 1 ? 300 : 0);
    rig.remote.wire(method).say(...events);
    await rig.pass(0);
    assert.is(waiting.text, "pending");
    rig.remote.wire(method).say({ taskId, signalKey, data });
    await rig.pass(0);

    const { error, text: end } = waiting;
    if (!end.startsWith("ok ")) {
      assert.instance(error, SyntaxError);
      assertQuiet(error);
    } else {
      const { matches, ...rest } = waiting.value!;
      assert.equal(rest, { taskId, signalKey });
      assert.is(Object.getPrototypeOf(matches), Object.prototype, "a match became the prototype of all");
      for (const found of Object.values(matches)) assert.ok(Array.isArray(found));
    }
    assert.not.ok("polluted" in {}, "every object was changed");
  });

  assert.is(rig.remote.opened(method).length, 1);
  await rig.done();
});

test("whatever becomes of the stream, a waiter is told in the end, or why not", { limitMs: 30_000 }, async () => {
  const turn = fc.tuple(fc.array(event, { maxLength: 3 }), fc.oneof(fc.constantFrom("hang up", "kill", "none"), code));

  await holds(120, fc.array(turn, { minLength: 1, maxLength: 5 }), async (turns) => {
    const rig = new Rig();
    const waiting = new Fate(rig.client.durable.event(id(7), "paid"));
    for (const [events, ending] of turns) {
      await rig.pass(70_000); // The longest wait that there is: a doubted refusal's.
      if (waiting.text !== "pending") break;
      const wire = rig.remote.wire(method);
      wire.say(...events);
      await rig.pass(0);
      if (ending === "hang up") wire.hangUp();
      else if (ending === "kill") rig.remote.kill();
      else if (typeof ending === "number") wire.fail(said(ending));
      await rig.pass(0);
    }
    await rig.pass(70_000);
    if (waiting.text === "pending") {
      rig.remote.wire(method).say({ taskId: id(7), signalKey: "paid", data: bytes("{}") });
    }
    await rig.pass(0);

    const { error, text: end } = waiting;
    const isTold = end === `ok ${JSON.stringify({ taskId: id(7), signalKey: "paid", matches: {} })}`;
    assert.ok(isTold || (error instanceof StreamError && error.code === "refused"), end);
    assertQuiet(error);
    await rig.done();
  });
});

test("signals that nobody waits for keep nothing, and disturb nobody", { limitMs: 20_000 }, async () => {
  const rig = new Rig();
  const waiting = new Fate(rig.client.durable.event(id(1), "paid"));
  await rig.pass(300);

  await holds(300, event, async (odd) => {
    rig.remote.wire(method).say({ ...odd, signalKey: `not ${odd.signalKey}` });
    await rig.pass(0);

    assert.is(waiting.text, "pending");
  });

  rig.remote.wire(method).say({ taskId: id(1), signalKey: "paid", data: bytes({ CREATE: { paid: [{ n: 1 }] } }) });
  await rig.pass(0);
  assert.equal(waiting.value?.matches, { paid: [{ n: 1 }] });
  await rig.done();
});

test("whatever is asked for that makes no sense is refused before anybody is dialed", { limitMs: 20_000 }, async () => {
  const rig = new Rig();
  const noKey = anything.filter((value) => typeof value !== "string" || value === "");
  const noCondition = anything.filter((value) => typeof value !== "object" || value === null);

  await holds(300, fc.tuple(wrongId, noKey, noCondition), async ([odd, odder, oddest]) => {
    const calls = [
      rig.client.durable.event(odd as string, "paid"),
      rig.client.durable.event(id(1), odder as string),
      rig.client.durable.register(odd as string, "paid", { sleepMs: 1 }),
      rig.client.durable.register(id(1), odder as string, { sleepMs: 1 }),
      rig.client.durable.register(id(1), "paid", oddest as []),
    ];
    for (const call of calls) {
      const { error } = await ended<unknown>(call);
      assert.ok(error instanceof TypeError || error instanceof RangeError, fc.stringify(error));
      assert.ok(error.message.length < 400);
      assertQuiet(error);
    }
  });

  assert.equal(rig.remote.dialedAt, []);
  await rig.done();
});

test("whatever registering a signal is answered with is thrown as what it is", { limitMs: 20_000 }, async () => {
  const rig = new Rig();

  await holds(60, code, async (one) => {
    rig.remote.always("registerDurableEvent", said(one));

    const call = rig.client.durable.register(id(1), "paid", { event: "paid" });

    const { error } = await rig.clock.drive(ended(call));
    const isRefusal = one === Code.Unauthenticated || one === Code.PermissionDenied;
    assert.ok(
      isRefusal ? error instanceof StreamError && error.code === "refused" : (error as { code: Code }).code === one,
    );
  });

  await rig.done();
});

test.run();
