import type { Interceptor, Transport } from "@connectrpc/connect";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { StreamError } from "../../src/streams/errors.ts";
import { reconnect } from "../../src/streams/reconnect.ts";
import type { StreamOptions } from "../../src/streams/options.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { seeded } from "../../src/testing/random.ts";
import type { Tick } from "../fixtures/counter/gen/counter_pb.ts";
import { Counter } from "../fixtures/counter/gen/counter_pb.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("counter");

/** How a call may end that was not ended by its caller. */
const endings: readonly (() => void)[] = [
  () => {},
  () => {
    throw new ConnectError("draining", Code.Unavailable);
  },
  () => {
    throw new ConnectError("broken", Code.Internal);
  },
  () => {
    throw new ConnectError("shutting down", Code.Canceled);
  },
  () => {
    throw new ConnectError("busy", Code.ResourceExhausted, { "retry-after": "1" });
  },
  () => {
    throw new Error("a bug of the server's");
  },
];

/** A counter in this process: each call says a few numbers behind the cursor and ends somehow. */
function counter(clock: VirtualClock, random: () => number, interceptors: Interceptor[] = []) {
  const served = { calls: 0, open: 0 };
  const transport = createRouterTransport(({ service }) => {
    service(Counter, {
      async *count({ after }, { signal }) {
        served.calls++;
        served.open++;
        // A call that is parked at a yield hears of its end by its signal alone.
        signal.addEventListener("abort", () => served.open--, { once: true });
        for (let left = Math.floor(random() * 8); left > 0; left--) {
          await clock.sleep(random() * 200, signal);
          yield { offset: ++after };
        }
        endings[Math.floor(random() * endings.length)]!();
      },
    });
  }, { transport: { interceptors } });
  return { served, transport };
}

function follow(transport: Transport, options: StreamOptions): AsyncGenerator<Tick, void> {
  const client = createClient(Counter, transport);
  return reconnect<Tick>(
    ({ signal, last, live }) => client.count({ after: last?.offset ?? 0 }, { signal, onHeader: live }),
    options,
  );
}

test("a counter is followed without a gap or a repeat, however its calls end", { limitMs: 20_000 }, async () => {
  for (let seed = 1; seed <= 15; seed++) {
    const random = seeded(seed);
    const clock = new VirtualClock();
    const { served, transport } = counter(clock, random);
    const heard: number[] = [];

    await clock.drive(async () => {
      for await (const { offset } of follow(transport, { clock, random })) if (heard.push(offset) === 100) break;
    });
    await clock.pass(1000);

    assert.equal(heard, Array.from({ length: 100 }, (_, n) => n + 1), `COPPICE_SEED=${seed}`);
    assert.ok(served.calls > 10, `COPPICE_SEED=${seed}: only ${served.calls} calls`);
    assert.is(served.open, 0, `COPPICE_SEED=${seed}: calls are still open`);
    assert.is(clock.asleep, 0, `COPPICE_SEED=${seed}`);
  }
});

test("leaving the loop ends the call at the server, although Connect takes no notice of a break", async () => {
  const clock = new VirtualClock();
  const { served, transport } = counter(clock, () => 0.99);
  const stream = follow(transport, { clock });
  await clock.drive(stream.next());
  const during = served.open;

  await stream.return();
  await clock.pass(1000);

  assert.equal([during, served.open], [1, 0]);
  assert.is(clock.asleep, 0);
});

test("the caller's signal ends the call at the server, and throws its own reason", async () => {
  const clock = new VirtualClock();
  const { served, transport } = counter(clock, () => 0.99);
  const life = new AbortController();
  const stream = follow(transport, { clock, signal: life.signal });
  await clock.drive(stream.next());
  const next = rejects(stream.next(), (reason) => reason === "mine");

  life.abort("mine");
  await clock.drive(next);
  await clock.pass(1000);

  assert.is(served.open, 0);
  assert.is(clock.asleep, 0);
});

test("a service that nobody serves is refused", async () => {
  const clock = new VirtualClock();
  const transport = createRouterTransport(({ service }) => service(Counter, {}));

  const error = await clock.drive(rejects(follow(transport, { clock }).next(), StreamError));

  assert.is(error.code, "refused");
  assert.is((error.cause as ConnectError).code, Code.Unimplemented);
});

test("what an interceptor throws comes out as it is", async () => {
  const clock = new VirtualClock();
  const mine = new TypeError("mine");
  const { transport } = counter(clock, () => 0.99, [() => () => Promise.reject(mine)]);

  await clock.drive(rejects(follow(transport, { clock }).next(), (error) => error === mine));

  assert.is(clock.asleep, 0);
});

test.run();
