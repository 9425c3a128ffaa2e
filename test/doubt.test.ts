import { Code, ConnectError } from "@connectrpc/connect";
import { Doubt, isRefusal } from "../src/doubt.ts";
import { markCaller } from "../src/streams/errors.ts";
import type { Ending } from "../src/streams/verdict.ts";
import { VirtualClock } from "../src/testing/mod.ts";
import { assert, suite } from "./harness.ts";
import { said } from "./remote.ts";

const test = suite("doubt");
const refusal = said(Code.Unauthenticated);

function ending(error: unknown, origin: Ending["origin"]): Ending {
  return { error, origin, alone: false, heard: false, sent: true, wasLive: false };
}

test("a refusal is believed before the engine ever let us in", () => {
  const doubt = new Doubt(new VirtualClock(), () => undefined);

  assert.is(doubt.judge("fatal", refusal), "fatal");
  assert.is(doubt.judge("fatal", said(Code.PermissionDenied)), "fatal");
});

test("a refusal is doubted for ten minutes after that", async () => {
  const clock = new VirtualClock();
  const doubt = new Doubt(clock, () => undefined);
  doubt.accepted();

  const verdicts = [];
  for (const ms of [0, 300_000, 299_999, 1]) {
    await clock.pass(ms);
    verdicts.push(doubt.judge("fatal", refusal));
  }

  assert.equal(verdicts, ["doubt", "doubt", "doubt", "fatal"]);
});

test("tells once when we are let in again, whatever else was answered meanwhile", () => {
  let over = 0;
  const doubt = new Doubt(new VirtualClock(), () => undefined, () => over++);
  doubt.accepted();
  const before = over;

  doubt.judge("fatal", refusal);
  doubt.judge("transient", said(Code.Unavailable));
  const during = over;
  doubt.accepted();
  doubt.accepted();

  assert.equal([before, during, over], [0, 0, 1]);
});

test("being let in starts the ten minutes anew, and so does any other answer", async () => {
  for (
    const breaks of [
      (doubt: Doubt) => doubt.accepted(),
      (doubt: Doubt) => doubt.judge("transient", said(Code.Unavailable)),
    ]
  ) {
    const clock = new VirtualClock();
    const doubt = new Doubt(clock, () => undefined);
    doubt.accepted();
    doubt.judge("fatal", refusal);
    await clock.pass(599_999);

    breaks(doubt);
    const verdicts = [doubt.judge("fatal", refusal)];
    await clock.pass(599_999);
    verdicts.push(doubt.judge("fatal", refusal));
    await clock.pass(1);
    verdicts.push(doubt.judge("fatal", refusal));

    assert.equal(verdicts, ["doubt", "doubt", "fatal"]);
  }
});

test("a refusal of a token that has run out is believed at once", async () => {
  const clock = new VirtualClock();
  const doubt = new Doubt(clock, () => 60_000);
  doubt.accepted();

  await clock.pass(59_999);
  const before = doubt.judge("fatal", refusal);
  await clock.pass(1);

  assert.equal([before, doubt.judge("fatal", refusal)], ["doubt", "fatal"]);
});

test("all other verdicts are left as they are", () => {
  const doubt = new Doubt(new VirtualClock(), () => undefined);
  doubt.accepted();

  for (const verdict of ["transient", "suspect", "end", "fatal", "bug"] as const) {
    assert.is(doubt.decorate(verdict, ending(said(Code.NotFound), "engine")), verdict);
  }
});

test("a certificate, and a token function of the caller's, are excused once any stream was live", () => {
  const doubt = new Doubt(new VirtualClock(), () => undefined);
  const certificate = ending(new ConnectError("self-signed certificate", Code.Unavailable), "wire");
  const caller = ending(markCaller(new Error("the vault is away")), "caller");

  assert.equal([doubt.decorate("fatal", certificate), doubt.decorate("bug", caller)], ["fatal", "bug"]);
  doubt.accepted();
  assert.equal([doubt.decorate("fatal", certificate), doubt.decorate("bug", caller)], ["transient", "transient"]);
  assert.is(doubt.decorate("bug", ending(new TypeError("mine"), "caller")), "bug");
});

test("only the engine itself refuses us: a proxy's 401 or 403 is the wire's", () => {
  const proxy = new ConnectError("HTTP 401", Code.Unauthenticated);

  assert.equal([refusal, said(Code.PermissionDenied), said(Code.NotFound), proxy, new Error("no")].map(isRefusal), [
    true,
    true,
    false,
    false,
    false,
  ]);
});

test.run();
