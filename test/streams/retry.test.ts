import { Code, ConnectError } from "@connectrpc/connect";
import type { RetryOptions } from "../../src/streams/retry.ts";
import { isRetryable, retry } from "../../src/streams/retry.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("retry");

/** A call that fails as told and then succeeds, and when it was made. */
function failing(clock: VirtualClock, ...errors: readonly unknown[]) {
  const madeAt: number[] = [];
  const call = (attempt: number) => {
    madeAt.push(clock.now());
    assert.is(attempt, madeAt.length);
    return madeAt.length <= errors.length ? Promise.reject(errors[madeAt.length - 1]) : Promise.resolve("done");
  };
  return { call, madeAt };
}

function unavailable(metadata: Record<string, string> = {}): ConnectError {
  return new ConnectError("busy", Code.Unavailable, metadata);
}

const second = () => 1000;

test("G1: exactly four codes are worth another try, and FailedPrecondition is none of them", () => {
  const codes = Object.values(Code).filter((code) => typeof code === "number");

  const retryable = codes.filter((code) => isRetryable(new ConnectError("", code)));

  assert.equal(
    new Set(retryable),
    new Set([Code.ResourceExhausted, Code.DeadlineExceeded, Code.Internal, Code.Unavailable]),
  );
  assert.not.ok(isRetryable(new ConnectError("", Code.FailedPrecondition)));
});

test("what is no ConnectError is not worth another try", () => {
  assert.equal([isRetryable(new Error()), isRetryable(undefined), isRetryable({ code: 14 })], [false, false, false]);
});

test("a call that succeeds is made once", async () => {
  const clock = new VirtualClock();
  const { call, madeAt } = failing(clock);

  const answer = await clock.drive(retry(call, { clock }));

  assert.is(answer, "done");
  assert.equal(madeAt, [0]);
  assert.is(clock.asleep, 0);
});

test("a call that fails is made again after its back-off", async () => {
  const clock = new VirtualClock();
  const { call, madeAt } = failing(clock, unavailable(), unavailable());

  const answer = await clock.drive(retry(call, { clock, backoff: (failures) => failures * 1000 }));

  assert.is(answer, "done");
  assert.equal(madeAt, [0, 1000, 3000]);
});

test("after the last try the last error is thrown as it is", async () => {
  const clock = new VirtualClock();
  const errors = [1, 2, 3, 4, 5].map(() => unavailable());
  const { call, madeAt } = failing(clock, ...errors);

  const error = await clock.drive(rejects(retry(call, { clock, backoff: second }), (reason) => reason === errors[4]));

  assert.is(error, errors[4]);
  assert.is(madeAt.length, 5);
});

test("an error that no try mends is thrown at once", async () => {
  const clock = new VirtualClock();
  const refused = new ConnectError("no", Code.PermissionDenied);
  const { call, madeAt } = failing(clock, refused);

  const error = await rejects(retry(call, { clock }), (reason) => reason === refused);

  assert.is(error, refused);
  assert.equal(madeAt, [0]);
});

test("the caller decides what is worth another try", async () => {
  const clock = new VirtualClock();
  const { call, madeAt } = failing(clock, new Error("plain"));

  await clock.drive(retry(call, { clock, backoff: second, retryable: (error) => error instanceof Error }));

  assert.equal(madeAt, [0, 1000]);
});

test("the peer's pushback beats the back-off, up to the cap", async () => {
  const clock = new VirtualClock();
  const asking = [unavailable({ "grpc-retry-pushback-ms": "50" }), unavailable({ "retry-after": "3600" })];
  const { call, madeAt } = failing(clock, ...asking);

  await clock.drive(retry(call, { clock, backoff: second }));

  assert.equal(madeAt, [0, 50, 60_050]);
});

test("a signal that has aborted lets no call begin", async () => {
  const clock = new VirtualClock();
  const { call, madeAt } = failing(clock);
  const reason = new Error("mine");

  await rejects(retry(call, { clock, signal: AbortSignal.abort(reason) }), (thrown) => thrown === reason);

  assert.equal(madeAt, []);
});

test("an abort during the back-off rejects with the signal's own reason, and no call follows", async () => {
  const clock = new VirtualClock();
  const { call, madeAt } = failing(clock, unavailable());
  const life = new AbortController();
  const reason = new Error("mine");
  const work = rejects(retry(call, { clock, backoff: second, signal: life.signal }), (thrown) => thrown === reason);
  await clock.pass(500);

  life.abort(reason);
  await clock.drive(work);

  assert.equal(madeAt, [0]);
  assert.is(clock.now(), 500);
  assert.is(clock.asleep, 0);
});

test("an abort during the call rejects with the signal's own reason, whatever the call throws", async () => {
  const clock = new VirtualClock();
  const life = new AbortController();
  const reason = new Error("mine");
  const call = () => {
    life.abort(reason);
    return Promise.reject(new ConnectError("", Code.Canceled));
  };

  const thrown = await rejects(retry(call, { clock, signal: life.signal }), (error) => error === reason);

  assert.is(thrown, reason);
});

test("attempts below one are refused before any call", async () => {
  for (const attempts of [0, -1, NaN]) {
    const { call, madeAt } = failing(new VirtualClock());

    const error = await rejects(retry(call, { attempts } satisfies RetryOptions), RangeError);

    assert.is(error.message, `attempts must be above 0, got ${attempts}`);
    assert.equal(madeAt, []);
  }
});

test.run();
