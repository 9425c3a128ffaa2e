import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import { LiveStream, reconnect, StreamError } from "../../src/streams/mod.ts";
import type { StreamStatus } from "../../src/streams/mod.ts";
import { cut, pause, script, silence, status, VirtualClock } from "../../src/testing/mod.ts";
import type { Step } from "../../src/testing/mod.ts";
import { assert, rejects, suite } from "../harness.ts";
import { counted } from "./counted.ts";

const test = suite("stream");

/** A live stream over a script, as every listener reads. */
function live(clock: VirtualClock, lines: readonly (readonly (string | Step)[])[], signal?: AbortSignal) {
  const peer = script<string>(clock, ...lines);
  const told: StreamStatus[] = [];
  const stream = new LiveStream<string>(
    (life) => reconnect(peer.open, { clock, signal: life, backoff: () => 1000, onStatus: (now) => told.push(now) }),
    { signal },
  );
  return { peer, stream, told };
}

async function take(stream: AsyncIterable<string>, count: number): Promise<string[]> {
  const heard: string[] = [];
  for await (const message of stream) if (heard.push(message) === count) break;
  return heard;
}

test("L20: a caller whose signal has aborted opens nothing, and hears its own reason", async () => {
  const clock = new VirtualClock();
  const reason = { my: "own" };
  let opened = 0;
  const stream = new LiveStream<string>(() => {
    opened++;
    throw new Error("was opened");
  }, { signal: AbortSignal.abort(reason) });

  await clock.drive(rejects(take(stream, 1), (error) => error === reason));

  assert.is(opened, 0);
  await stream.close();
});

test("L21: the caller's abort reaches the first connect", async () => {
  const clock = new VirtualClock();
  const caller = new AbortController();
  const signals: AbortSignal[] = [];
  const stream = new LiveStream<string>(
    (life) =>
      reconnect<string>(() => {
        throw new Error("was opened");
      }, {
        clock,
        signal: life,
        ready: (signal) => {
          signals.push(signal);
          return new Promise(() => {});
        },
      }),
    { signal: caller.signal },
  );
  const looping = rejects(take(stream, 1), (error) => error === "enough");
  await clock.pass(100);

  caller.abort("enough");
  await clock.drive(looping);

  assert.equal(signals.map(({ aborted }) => aborted), [true]);
  await stream.close();
  assert.is(clock.asleep, 0);
});

test("L22: a caller's deadline ends its loop with the deadline's own reason, after one connect", async () => {
  const clock = new VirtualClock();
  const deadline = new AbortController();
  const late = new DOMException("The operation timed out.", "TimeoutError");
  void clock.sleep(10).then(() => deadline.abort(late));
  const { peer, stream } = live(clock, [[silence]], deadline.signal);

  await clock.drive(rejects(take(stream, 1), (error) => error === late));

  assert.is(clock.now(), 10);
  assert.is(peer.openedAt.length, 1);
  assert.is(peer.released, 1);
  await stream.close();
  assert.is(clock.asleep, 0);
});

test("opens nothing before the loop", async () => {
  const clock = new VirtualClock();
  const { peer, stream } = live(clock, [["a"]]);

  await clock.pass(60_000);
  assert.equal(peer.openedAt, []);

  assert.equal(await clock.drive(take(stream, 1)), ["a"]);
  assert.equal(peer.openedAt, [60_000]);
});

test("is looped over once, and says so", async () => {
  const clock = new VirtualClock();
  const { peer, stream } = live(clock, [["a"]]);
  await clock.drive(take(stream, 1));

  const error = await clock.drive(rejects(take(stream, 1), TypeError));

  assert.match(error.message, /looped over once/);
  assert.is(peer.openedAt.length, 1);
});

test("break ends it quietly, and by then everything is released", async () => {
  const clock = new VirtualClock();
  const { peer, stream, told } = live(clock, [["a", "b", "c", silence]]);

  const heard = await clock.drive(take(stream, 1));

  assert.equal(heard, ["a"]);
  assert.is(peer.released, 1);
  assert.is(clock.asleep, 0);
  assert.equal(told.at(-1), { state: "ended" });
});

test("a loop body that throws keeps its own error, and everything is released", async () => {
  const clock = new VirtualClock();
  const { peer, stream } = live(clock, [["a"]]);
  const mistake = new Error("in the body");

  const looping = (async () => {
    for await (const _ of stream) throw mistake;
  })();

  await clock.drive(rejects(looping, (error) => error === mistake));
  assert.is(peer.released, 1);
  assert.is(clock.asleep, 0);
});

test("a close from outside ends the loop quietly while it waits for the next message", async () => {
  const clock = new VirtualClock();
  const { peer, stream } = live(clock, [["a", silence]]);
  const looping = take(stream, Infinity);
  await clock.pass(5000);

  await clock.drive(Promise.all([stream.close(), stream.close(), stream[Symbol.asyncDispose]()]));

  assert.equal(await clock.drive(looping), ["a"]);
  assert.is(peer.released, 1);
  assert.is(clock.asleep, 0);
});

test("a close while the loop body works throws away what waits", async () => {
  const clock = new VirtualClock();
  const { peer, stream } = live(clock, [["a", "b", "c", silence]]);
  const heard: string[] = [];
  const looping = (async () => {
    for await (const message of stream) {
      heard.push(message);
      await clock.sleep(1000);
    }
  })();
  await clock.pass(500);

  await clock.drive(stream.close());
  await clock.drive(looping);

  assert.equal(heard, ["a"]);
  assert.is(peer.released, 1);
});

test("a close during a back-off, and one during a connect, leave nothing behind", async () => {
  for (const [lines, afterMs] of [[[[cut()]], 500], [[[silence]], 0]] as const) {
    const clock = new VirtualClock();
    const { peer, stream } = live(clock, lines);
    const looping = take(stream, 1);
    await clock.pass(afterMs);

    await clock.drive(stream.close());

    assert.equal(await clock.drive(looping), []);
    assert.is(peer.released, peer.openedAt.length);
    assert.is(clock.asleep, 0);
  }
});

test("closed before its loop, it ends at once and opens nothing", async () => {
  const clock = new VirtualClock();
  const { peer, stream } = live(clock, [["a"]]);

  await stream.close();

  assert.equal(await clock.drive(take(stream, 1)), []);
  assert.equal(peer.openedAt, []);
});

test("closed by its owner, it ends quietly", async () => {
  const clock = new VirtualClock();
  const owner = new AbortController();
  const peer = script<string>(clock, ["a", silence]);
  const stream = new LiveStream<string>((signal) => reconnect(peer.open, { clock, signal }), { owner: owner.signal });
  const looping = take(stream, Infinity);
  await clock.pass(5000);

  owner.abort(new Error("the client is closed"));

  assert.equal(await clock.drive(looping), ["a"]);
  assert.is(peer.released, 1);
  assert.is(clock.asleep, 0);
});

test("the caller's abort throws its own reason, and lets everything go", async () => {
  const clock = new VirtualClock();
  const caller = new AbortController();
  const reason = { my: "own" };
  const { peer, stream } = live(clock, [["a", silence]], caller.signal);
  const looping = rejects(take(stream, Infinity), (error) => error === reason);
  await clock.pass(5000);

  caller.abort(reason);
  await clock.drive(looping);

  assert.is(peer.released, 1);
  assert.is(clock.asleep, 0);
  await stream.close();
});

test("the caller's abort is heard before what waits, also when the source has ended", async () => {
  const clock = new VirtualClock();
  const caller = new AbortController();
  const heard: string[] = [];
  const stream = new LiveStream<string>(async function* () {
    yield* ["a", "b", "c"];
  }, { signal: caller.signal });

  const looping = (async () => {
    for await (const message of stream) {
      heard.push(message);
      await clock.sleep(1000);
      caller.abort("enough");
    }
  })();

  await clock.drive(rejects(looping, (error) => error === "enough"));
  assert.equal(heard, ["a"]);
});

test("a stream that is over listens to nobody's signal any more, however it ended", async () => {
  for (const end of ["by itself", "break", "close"] as const) {
    const [caller, owner] = [counted(), counted()];
    const stream = new LiveStream<string>(async function* () {
      yield* ["a", "b"];
    }, { signal: caller.signal, owner: owner.signal });
    assert.equal([caller.listening, owner.listening], [0, 0]);

    const clock = new VirtualClock();
    await clock.drive(async () => {
      for await (const _ of stream) {
        if (end === "break") break;
        if (end === "close") await stream.close();
      }
    });

    assert.equal([caller.listening, owner.listening], [0, 0], end);
  }
});

test("a close is done when the source is", async () => {
  const clock = new VirtualClock();
  const events: string[] = [];
  const stream = new LiveStream<string>(async function* (signal) {
    try {
      yield "a";
      await clock.sleep(60_000, signal);
    } finally {
      await clock.sleep(500);
      events.push("released");
    }
  });
  const looping = take(stream, Infinity).catch(() => []);
  await clock.pass(0);

  await clock.drive(stream.close().then(() => events.push("closed")));

  assert.equal(events, ["released", "closed"]);
  assert.equal(await clock.drive(looping), ["a"]);
});

test("what ended the stream for good comes behind what it said", async () => {
  const clock = new VirtualClock();
  const { peer, stream } = live(clock, [["a", "b", status(Code.PermissionDenied)]]);
  const heard: string[] = [];

  const looping = (async () => {
    for await (const message of stream) {
      heard.push(message);
      await clock.sleep(1000);
    }
  })();
  const error = await clock.drive(rejects(looping, StreamError));

  assert.equal(heard, ["a", "b"]);
  assert.is(error.code, "refused");
  assert.is((error.cause as ConnectError).code, Code.PermissionDenied); // What the peer said.
  assert.is(peer.released, 1);
  assert.is(clock.asleep, 0);
});

test("an opener that throws at once is the loop's error", async () => {
  const clock = new VirtualClock();
  const mistake = new TypeError("at once");
  const stream = new LiveStream<string>(() => {
    throw mistake;
  });

  await clock.drive(rejects(take(stream, 1), (error) => error === mistake));

  await stream.close();
});

test("while a loop body works a minute the stream is cut, comes back, and messages wait for the loop", async () => {
  const clock = new VirtualClock();
  const { peer, stream, told } = live(clock, [
    ["a", pause(5000), cut()],
    ["b", pause(5000), cut(Code.Unavailable)],
    ["c", pause(30_000), "d"],
  ]);
  const heardAt: [string, number][] = [];

  await clock.drive(async () => {
    for await (const message of stream) {
      heardAt.push([message, clock.now()]);
      if (message === "d") break;
      await clock.sleep(60_000);
    }
  });

  assert.equal(heardAt, [["a", 0], ["b", 60_000], ["c", 120_000], ["d", 180_000]]);
  assert.equal(peer.openedAt, [0, 6000, 12_000]);
  assert.is(told.filter(({ state }) => state === "live").length, 3);
  assert.is(peer.released, 3);
  assert.is(clock.asleep, 0);
});

test("bounded, it stops reading a source whose loop is behind, and says so", async () => {
  const clock = new VirtualClock();
  const peer = script<string>(clock, ["a", "b", "c", "d", silence]);
  const paused: boolean[] = [];
  let read = 0;
  const stream = new LiveStream<string>(async function* (signal) {
    for await (const message of reconnect(peer.open, { clock, signal })) {
      read++;
      yield message;
    }
  }, { maxMessages: 2, onPaused: (now) => paused.push(now) });
  const iterator = stream[Symbol.asyncIterator]();

  assert.equal(await clock.drive(iterator.next()), { done: false, value: "a" });
  await clock.pass(60_000);
  assert.is(read, 3);
  const rest = [
    await clock.drive(iterator.next()),
    await clock.drive(iterator.next()),
    await clock.drive(iterator.next()),
  ];

  assert.equal(rest.map(({ value }) => value), ["b", "c", "d"]);
  assert.equal(paused.slice(0, 2), [true, false]);
  await clock.drive(stream.close());
  assert.is(peer.released, 1);
  assert.is(clock.asleep, 0);
});

test("whoever gives up on one next() and asks again misses nothing", async () => {
  const clock = new VirtualClock();
  const { peer, stream } = live(clock, [[pause(1000), "a", "b", silence]]);
  const iterator = stream[Symbol.asyncIterator]();

  const first = iterator.next();
  const race = await clock.drive(Promise.race([first, clock.sleep(500).then(() => "late")]));
  const second = iterator.next();

  assert.is(race, "late");
  assert.equal((await clock.drive(Promise.all([first, second]))).map(({ value }) => value), ["a", "b"]);
  await clock.drive(stream.close());
  assert.is(peer.released, 1);
});

test.run();
