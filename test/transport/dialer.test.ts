import type { ConnectError } from "@connectrpc/connect";
import { isUnsent } from "../../src/streams/errors.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import type { Address } from "../../src/transport/address.ts";
import { Dialer } from "../../src/transport/dialer.ts";
import { DialError } from "../../src/transport/failure.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("dialer");

function dialing(address: () => Promise<Address>) {
  const clock = new VirtualClock();
  const life = new AbortController();
  const dialer = new Dialer({ address, clock, tls: undefined, windowBytes: 2 ** 20 });
  return { clock, life, dial: () => dialer.dial(5000, life.signal) };
}

test("a dial that is over before its time leaves no timer", async () => {
  const none = new Error("no address");
  const { clock, dial } = dialing(() => Promise.reject(none));

  const thrown = await rejects(dial());
  await clock.pass(0);

  assert.is(thrown, none);
  assert.is(clock.asleep, 0);
});

test("a dial ends when its time is up, and nothing was sent", async () => {
  const { clock, dial } = dialing(() => new Promise(() => {}));

  const thrown = await rejects<ConnectError>(clock.drive(dial()));

  assert.is((thrown.cause as DialError).code, "ETIMEDOUT");
  assert.instance(thrown.cause, DialError);
  assert.equal([isUnsent(thrown), clock.now(), clock.asleep], [true, 5000, 0]);
});

test("a dial that nobody wants any more ends with the reason, and leaves no timer", async () => {
  const { clock, dial, life } = dialing(() => new Promise(() => {}));
  const work = dial();

  await clock.pass(100);
  life.abort("enough");

  await rejects(work, (reason) => reason === "enough");
  await clock.pass(0);
  assert.is(clock.asleep, 0);
});

test.run();
