import { Code, ConnectError } from "@connectrpc/connect";
import { StreamError } from "../../src/streams/errors.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { asError, Life } from "../../src/transport/life.ts";
import { assert, suite } from "../harness.ts";
import { listeners } from "../wire/grpc.ts";

const test = suite("life");

const lost = new Error("lost");
const code = (error: unknown): Code | undefined => error instanceof ConnectError ? error.code : undefined;

test("ends at its deadline, and not a moment before", async () => {
  const clock = new VirtualClock();
  const life = new Life(clock, undefined, 100);

  const before = await clock.drive(clock.sleep(99).then(() => [life.signal.aborted, life.expired()]));
  await clock.drive(clock.sleep(1));

  assert.equal(before, [false, undefined]);
  assert.ok(life.signal.aborted);
  for (const error of [life.signal.reason, life.expired(), life.failure(lost)]) {
    assert.is(code(error), Code.DeadlineExceeded);
  }
});

test("without a deadline nothing expires", async () => {
  const clock = new VirtualClock();
  const life = new Life(clock, undefined, undefined);

  await clock.drive(clock.sleep(1e6));

  assert.equal([life.signal.aborted, life.expired(), life.timeoutMs], [false, undefined, undefined]);
});

test("ends with its caller, for the caller's reason", () => {
  const caller = new AbortController();
  const life = new Life(new VirtualClock(), caller.signal, undefined);

  caller.abort(new ConnectError("left", Code.Aborted));

  assert.ok(life.signal.aborted);
  assert.equal([code(life.failure(lost)), code(life.signal.reason)], [Code.Aborted, Code.Aborted]);
});

test("an end of its own leaves its caller and its clock, and is how it ended, whatever comes later", async () => {
  const clock = new VirtualClock();
  const caller = new AbortController();
  const count = listeners(caller.signal);
  const [well, ill] = [new Life(clock, caller.signal, 100), new Life(clock, caller.signal, 100)];
  const before = count();

  well.end();
  ill.end(lost);
  await clock.drive(clock.sleep(200));
  caller.abort();
  for (const life of [well, ill]) life.end(new Error("too late"));

  assert.equal([before, count()], [1, 0]);
  assert.equal([well.signal.aborted, ill.signal.reason], [true, lost]);
  for (const life of [well, ill]) assert.is(code(life.failure(lost)), Code.Unknown);
});

test("nothing is begun in a life that is over, and whoever watches too late is told at once", () => {
  const [well, ill] = [new Life(new VirtualClock(), undefined, undefined), new Life(new VirtualClock(), undefined, 9)];
  for (const life of [well, ill]) life.assert();
  const told: unknown[] = [];

  well.end();
  ill.end(lost);
  for (const life of [well, ill]) life.watch((error) => told.push(error))();

  assert.throws(() => well.assert(), /The call is over/);
  assert.throws(() => ill.assert(), /lost/);
  assert.equal(told, [undefined, lost]);
});

test("an error of Connect's or ours is told as it is, any other as Connect would", () => {
  const [closed, refused] = [new StreamError("closed", "closed"), new ConnectError("no", Code.NotFound)];

  assert.is(asError(closed, Code.Unknown), closed);
  assert.is(asError(refused, Code.Unknown), refused);
  assert.equal([code(asError(lost, Code.Unknown)), code(asError("text", Code.Canceled))], [
    Code.Unknown,
    Code.Canceled,
  ]);
});

test.run();
