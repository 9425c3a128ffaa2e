import { Code, ConnectError } from "@connectrpc/connect";
import { fullJitter } from "../../src/streams/backoff.ts";
import { markCaller, StreamError } from "../../src/streams/errors.ts";
import { Gate } from "../../src/streams/gate.ts";
import type { Connection, Ready } from "../../src/streams/gate.ts";
import type { StreamOptions } from "../../src/streams/options.ts";
import type { Open } from "../../src/streams/reconnect.ts";
import { reconnect } from "../../src/streams/reconnect.ts";
import type { StreamStatus } from "../../src/streams/status.ts";
import { moves } from "../../src/streams/status.ts";
import type { Ending, Verdict } from "../../src/streams/verdict.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { seeded } from "../../src/testing/random.ts";
import type { Step } from "../../src/testing/script.ts";
import { broken, cut, hangUp, headers, pause, script, silence, status } from "../../src/testing/script.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("reconnect");

type Line = readonly (string | Step)[];

/** The first `count` messages of a stream, left by `break`. */
async function take<T>(count: number, stream: AsyncIterable<T>): Promise<T[]> {
  const heard: T[] = [];
  for await (const message of stream) {
    if (heard.push(message) === count) break;
  }
  return heard;
}

/** Everything a stream says until it ends. */
function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  return take(Infinity, stream);
}

/** The statuses of a stream; a move that is not legal fails the test at once. */
function watch() {
  const seen: StreamStatus[] = [];
  const onStatus = (status: StreamStatus) => {
    const from = seen.at(-1)?.state;
    const legal = from === undefined ? ["connecting", "ended"] : [from, ...moves[from]];
    if (from === "ended" || !legal.includes(status.state)) throw new Error(`moved from ${from} to ${status.state}`);
    seen.push(status);
  };
  return { seen, onStatus, states: () => seen.map(({ state }) => state) };
}

/** A stream that follows a script in virtual time, one second between attempts unless told. */
function play(lines: readonly Line[], options: StreamOptions = {}) {
  const clock = new VirtualClock();
  const engine = script<string>(clock, ...lines);
  const statuses = watch();
  const stream = reconnect(engine.open, { clock, backoff: () => 1000, onStatus: statuses.onStatus, ...options });
  const released = () => {
    assert.is(clock.asleep, 0, "nothing sleeps any more");
    assert.is(engine.released, engine.openedAt.length, "every attempt was let go of");
    assert.is(statuses.seen.at(-1)?.state ?? "ended", "ended");
  };
  return { clock, engine, statuses, stream, released };
}

/** Always ready, on a connection of its own or the one given. */
function readyOn(connection: Connection = { alive: true }): Ready {
  return () => Promise.resolve(connection);
}

/** The stream's error, which must be of ours and say why. */
function fails(work: Promise<unknown>, code: StreamError["code"]): Promise<StreamError> {
  return rejects<StreamError>(work, (error) => error instanceof StreamError && error.code === code);
}

// The loop.

test("nothing is opened before the first message is asked for", async () => {
  const { clock, engine, stream, statuses } = play([["a"]]);
  await clock.pass(1000);
  const before = engine.openedAt.length;

  await clock.drive(stream.next());
  await stream.return();

  assert.is(before, 0);
  assert.equal(engine.openedAt, [1000]);
  assert.equal(statuses.states(), ["connecting", "live", "ended"]);
});

test("a stream that is thrown away before it began was never opened", async () => {
  const { clock, engine, stream, statuses } = play([["a"]]);

  await stream.return();
  const read = await clock.drive(stream.next());

  assert.equal(read, { done: true, value: undefined });
  assert.equal(engine.openedAt, []);
  assert.equal(statuses.seen, []);
});

test("comes back after every cut, and waits longer while nothing is heard", async () => {
  const backoff = fullJitter({ baseMs: 100, random: () => 1 });
  const { clock, engine, stream, released } = play(
    [["a"], [cut(Code.Canceled)], [hangUp], ["b", silence]].map((line, n) => n === 0 ? [...line, cut()] : line),
    { backoff },
  );

  const heard = await clock.drive(take(2, stream));

  assert.equal(heard, ["a", "b"]);
  assert.equal(engine.openedAt, [0, 100, 300, 700]);
  released();
});

test("each attempt is told its number and the last message, whichever attempt it came by", async () => {
  const { clock, engine, released } = play([["a", "b", cut()], [cut()], [hangUp], ["c"]]);
  const told: [number, string | undefined][] = [];
  const open: Open<string> = (attempt) => {
    told.push([attempt.number, attempt.last]);
    return engine.open(attempt);
  };

  await clock.drive(take(3, reconnect(open, { clock, backoff: () => 1 })));

  assert.equal(told, [[1, undefined], [2, "b"], [3, "b"], [4, "b"]]);
  released();
});

test("each attempt has a signal of its own, which aborts when the attempt is over", async () => {
  const { clock, engine, released } = play([["a", cut()], ["b"]]);
  const signals: AbortSignal[] = [];
  const open: Open<string> = (attempt) => {
    signals.push(attempt.signal);
    return engine.open(attempt);
  };
  const life = new AbortController();
  const stream = reconnect(open, { clock, signal: life.signal });

  await clock.drive(stream.next());
  await clock.drive(stream.next());
  const during = signals.map(({ aborted }) => aborted);
  await stream.return();

  assert.equal(during, [true, false]);
  assert.equal(signals.map(({ aborted }) => aborted), [true, true]);
  assert.not.ok(life.signal.aborted);
  released();
});

test("while the loop body runs nothing is read and nothing is opened", async () => {
  const { clock, engine, stream } = play([["a", cut()], ["b"]]);

  await clock.drive(stream.next());
  await clock.pass(60_000);
  const during = engine.openedAt.length;
  await clock.drive(stream.next());
  await stream.return();

  assert.is(during, 1);
  assert.equal(engine.openedAt, [0, 61_000]);
});

test("S1: messages are handed on in order, and an end that the policy takes for one ends the loop", async () => {
  const { clock, stream, engine, released } = play([["a", "b", "c", hangUp]], { onEnd: () => "end" });

  const heard = await clock.drive(all(stream));

  assert.equal(heard, ["a", "b", "c"]);
  assert.is(engine.openedAt.length, 1);
  released();
});

test("S2: the caller's signal stops the loop with its own reason and no error of ours", async () => {
  const life = new AbortController();
  const { clock, stream, statuses, released } = play([["a", silence]], { signal: life.signal });
  await clock.drive(stream.next());
  const next = rejects(stream.next(), (reason) => reason === "mine");

  life.abort("mine");
  await clock.drive(next);

  assert.equal(statuses.seen.at(-1), { state: "ended" });
  released();
});

test("S3: a fatal status is thrown with its cause, and nothing is opened again", async () => {
  const { clock, stream, engine, statuses, released } = play([["a", status(Code.PermissionDenied)]]);

  const error = await clock.drive(fails(all(stream), "refused"));

  assert.ok(error.cause instanceof ConnectError && error.cause.code === Code.PermissionDenied);
  assert.is(error.attempts, 1);
  assert.is(engine.openedAt.length, 1);
  assert.equal(statuses.states(), ["connecting", "live", "ended"]);
  assert.is((statuses.seen.at(-1) as { error?: unknown }).error, error);
  released();
});

test("S4: an end that the policy does not take for one is come back from", async () => {
  const { clock, stream, released } = play([["a", hangUp], ["b"]], { onEnd: () => "transient" });

  const heard = await clock.drive(take(2, stream));

  assert.equal(heard, ["a", "b"]);
  released();
});

test("S5: the policy is asked at every end", async () => {
  const answers = ["transient", "end"] as const;
  let asked = 0;
  const { clock, stream, engine, released } = play([["a", hangUp], ["b", hangUp]], { onEnd: () => answers[asked++]! });

  const heard = await clock.drive(all(stream));

  assert.equal(heard, ["a", "b"]);
  assert.is(asked, 2);
  assert.is(engine.openedAt.length, 2);
  released();
});

test("S6: an ending that explains nothing is come back from before the cap", async () => {
  const { clock, stream, engine, released } = play([[status(Code.Unknown)], ["a"]]);

  const heard = await clock.drive(take(1, stream));

  assert.equal(heard, ["a"]);
  assert.is(engine.openedAt.length, 2);
  released();
});

test("S7: the tenth ending in a row that explains nothing is thrown", async () => {
  const { clock, stream, engine, released } = play(Array.from({ length: 20 }, () => [status(Code.Unknown)]));

  const error = await clock.drive(fails(all(stream), "stalled"));

  assert.ok(error.cause instanceof ConnectError && error.cause.code === Code.Unknown);
  assert.is(error.attempts, 10);
  assert.is(engine.openedAt.length, 10);
  released();
});

test("S8: a judge that makes such endings fatal stops at the first", async () => {
  const { clock, stream, engine, released } = play([[status(Code.Unknown)]], {
    judge: (verdict) => (verdict === "suspect" ? "fatal" : verdict),
  });

  await clock.drive(fails(all(stream), "refused"));

  assert.is(engine.openedAt.length, 1);
  released();
});

test("C6: and leaves the codes that come back alone", async () => {
  const { clock, stream, released } = play([[status(Code.Unavailable)], [status(Code.Internal)], ["a"]], {
    judge: (verdict) => (verdict === "suspect" ? "fatal" : verdict),
  });

  const heard = await clock.drive(take(1, stream));

  assert.equal(heard, ["a"]);
  released();
});

test("C8: an error that ends a stream for good is told to whoever watches it", async () => {
  const { clock, stream, statuses } = play([[status(Code.NotFound)]]);

  const error = await clock.drive(fails(all(stream), "refused"));

  assert.equal(statuses.seen.at(-1), { state: "ended", error });
});

test("S9: what is opened again hangs on the stream's life", async () => {
  const life = new AbortController();
  const { clock, engine } = play([["a", cut()], [silence]]);
  const signals: AbortSignal[] = [];
  const open: Open<string> = (attempt) => {
    signals.push(attempt.signal);
    return engine.open(attempt);
  };
  const stream = reconnect(open, { clock, backoff: () => 1000, signal: life.signal });
  const work = rejects(all(stream), (reason) => reason === "mine");
  await clock.pass(2000);
  const before = signals[1]?.aborted;

  life.abort("mine");
  await clock.drive(work);

  assert.is(before, false);
  assert.is(signals[1]?.reason, "mine");
});

test("S12: transient endings are come back from for ever", async () => {
  const codes = [Code.Unavailable, Code.Internal, Code.DeadlineExceeded, Code.ResourceExhausted];
  const lines = Array.from({ length: 1000 }, (_, n) => [status(codes[n % 4]!)]);
  const { clock, stream, engine, released } = play([...lines, ["a"]]);

  const heard = await clock.drive(take(1, stream));

  assert.equal(heard, ["a"]);
  assert.is(engine.openedAt.length, 1001);
  released();
});

test("S13: the first wait after a message is the first window's", async () => {
  const asked: number[] = [];
  const { clock, stream, engine, released } = play([["a", cut()], ["b"]], {
    backoff: (failures) => {
      asked.push(failures);
      return 700;
    },
  });

  await clock.drive(take(2, stream));

  assert.equal(asked, [1]);
  assert.equal(engine.openedAt, [0, 700]);
  released();
});

test("S14: an abort in the wait stops at once, and nothing is opened again", async () => {
  const life = new AbortController();
  const { clock, stream, engine, released } = play([[cut()]], { signal: life.signal });
  const work = rejects(all(stream), (reason) => reason === "mine");
  await clock.pass(500);

  life.abort("mine");
  await clock.drive(work);

  assert.is(clock.now(), 500);
  assert.is(engine.openedAt.length, 1);
  released();
});

// Three ways to stop.

test("break ends quietly and lets go of everything", async () => {
  const { clock, stream, statuses, released } = play([["a", "b"]]);

  const heard = await clock.drive(take(1, stream));

  assert.equal(heard, ["a"]);
  assert.equal(statuses.seen.at(-1), { state: "ended" });
  released();
});

test("an error thrown in the loop body comes out, and everything is let go of", async () => {
  const { clock, stream, statuses, released } = play([["a", "b"]]);
  const mine = new Error("mine");

  await clock.drive(rejects(async () => {
    for await (const _ of stream) throw mine;
  }, (error) => error === mine));

  assert.equal(statuses.seen.at(-1), { state: "ended" });
  released();
});

test("a signal that has aborted lets nothing be opened", async () => {
  const { clock, stream, engine, statuses } = play([["a"]], { signal: AbortSignal.abort("mine") });

  await clock.drive(rejects(all(stream), (reason) => reason === "mine"));

  assert.equal(engine.openedAt, []);
  assert.equal(statuses.states(), ["ended"]);
});

/** A ready that never settles, and one that does not even heed its signal. */
const neverReady: Ready = (signal) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
const deafReady: Ready = () => new Promise(() => {});
const deafJudge = () => new Promise<Verdict>(() => {});

/** An opener that never says anything and does not heed its signal. */
const deafOpen: Open<string> = () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) });

const scenes: readonly (readonly [where: string, lines: readonly Line[], options: () => StreamOptions])[] = [
  ["a read", [[silence]], () => ({})],
  ["a read after headers", [[headers, silence]], () => ({})],
  ["a back-off", [[cut()]], () => ({ backoff: () => 1e6 })],
  ["a connect", [], () => ({ ready: neverReady })],
  ["a connect that does not heed its signal", [], () => ({ ready: deafReady })],
  ["a judge that does not settle", [[cut()]], () => ({ judge: deafJudge })],
];
for (const gated of [false, true]) {
  for (const [where, lines, options] of scenes) {
    test(`an abort during ${where}${gated ? ", behind a gate," : ""} rejects at once with its own reason and lets go of everything`, async () => {
      const life = new AbortController();
      const clock = new VirtualClock();
      const gate = gated ? new Gate({ clock, random: () => 1, firstDelayMs: 1e6, capMs: 1e6 }) : undefined;
      const engine = script<string>(clock, ...lines);
      const statuses = watch();
      const stream = reconnect(engine.open, {
        clock,
        gate,
        backoff: () => 1000,
        signal: life.signal,
        onStatus: statuses.onStatus,
        ...options(),
      });
      const reason = Symbol("mine");
      const work = rejects(all(stream), (thrown) => thrown === reason);
      await clock.pass(100);

      life.abort(reason);
      await clock.drive(work);

      assert.is(clock.now(), 100);
      assert.is(clock.asleep, 0);
      assert.is(engine.released, engine.openedAt.length);
      assert.equal(statuses.seen.at(-1), { state: "ended" });
      if (gate) await clock.drive(gate.enter({ priority: 0, failed: false }, new AbortController().signal));
    });
  }
}

test("an abort while others connect leaves the queue at the gate, and nothing was opened", async () => {
  const clock = new VirtualClock();
  const gate = new Gate({ clock });
  const slot = await gate.enter({ priority: 0, failed: false }, new AbortController().signal);
  const life = new AbortController();
  const engine = script<string>(clock, ["a"]);
  const statuses = watch();
  const stream = reconnect(engine.open, { clock, gate, signal: life.signal, onStatus: statuses.onStatus });
  const work = rejects(all(stream), (reason) => reason === "mine");
  await clock.pass(100);

  life.abort("mine");
  await clock.drive(work);
  slot.release();

  assert.equal(engine.openedAt, []);
  assert.is(clock.asleep, 0);
  assert.equal(statuses.states(), ["ended"]);
});

test("an abort in the loop body is thrown by the next read, although a message is there", async () => {
  const life = new AbortController();
  const { clock, stream, released } = play([["a", "b"]], { signal: life.signal });
  await clock.drive(stream.next());

  life.abort("mine");
  await clock.drive(rejects(stream.next(), (reason) => reason === "mine"));

  released();
});

test("an abort without a reason throws the signal's AbortError", async () => {
  const life = new AbortController();
  const { clock, stream } = play([[silence]], { signal: life.signal });
  const work = rejects(all(stream), (reason) => reason === life.signal.reason);
  await clock.pass(1);

  life.abort();
  const reason = await clock.drive(work);

  assert.is((reason as DOMException).name, "AbortError");
});

test("our own signal is asked before any code: a peer's refusal in the same instant is no error", async () => {
  const life = new AbortController();
  const { clock } = play([]);
  const open: Open<string> = () => {
    life.abort("mine");
    throw new ConnectError("no", Code.Unauthenticated, { "grpc-status": "16" });
  };

  const reason = await clock.drive(
    rejects(all(reconnect(open, { clock, signal: life.signal })), (thrown) => thrown === "mine"),
  );

  assert.is(reason, "mine");
});

test("an opener that does not heed its signal is left all the same", async () => {
  const life = new AbortController();
  const clock = new VirtualClock();
  const work = rejects(all(reconnect(deafOpen, { clock, signal: life.signal })), (reason) => reason === "mine");
  await clock.pass(100);

  life.abort("mine");
  await clock.drive(work);

  assert.is(clock.asleep, 0);
});

test("an iterator without return() is let go of by its signal alone", async () => {
  const clock = new VirtualClock();
  let aborted = false;
  const open: Open<string> = ({ signal }) => {
    signal.addEventListener("abort", () => aborted = true);
    return { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: false, value: "a" }) }) };
  };

  const heard = await clock.drive(take(2, reconnect(open, { clock })));

  assert.equal(heard, ["a", "a"]);
  assert.ok(aborted);
});

for (
  const [how, back] of [
    ["throws", () => {
      throw new Error("thrown away");
    }],
    ["rejects", () => Promise.reject(new Error("thrown away"))],
    ["never settles", () => new Promise(() => {})],
  ] as const
) {
  test(`an iterator whose return() ${how} disturbs nobody`, async () => {
    const clock = new VirtualClock();
    const open: Open<string> = () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false, value: "a" }),
        return: back as () => Promise<IteratorResult<string>>,
      }),
    });

    const heard = await clock.drive(take(1, reconnect(open, { clock })));

    assert.equal(heard, ["a"]);
    assert.is(clock.asleep, 0);
  });
}

test("an iterator that has not ended is asked to return", async () => {
  const clock = new VirtualClock();
  let finished = false;
  const open: Open<string> = async function* () {
    try {
      for (;;) yield "a";
    } finally {
      finished = true;
    }
  };

  await clock.drive(take(1, reconnect(open, { clock })));
  await clock.pass(1);

  assert.ok(finished);
});

test("an iterator that has ended is not asked to return", async () => {
  const clock = new VirtualClock();
  let returned = 0;
  const open: Open<string> = () => ({
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: true, value: undefined }),
      return: () => {
        returned++;
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
  });

  await clock.drive(all(reconnect(open, { clock, onEnd: () => "end" })));

  assert.is(returned, 0);
});

// Judging.

test("a judge is asked once per ending, and sees what is known of it", async () => {
  const asked: [Verdict, Ending][] = [];
  const first = new ConnectError("one", Code.Aborted);
  const { clock, stream, released } = play([[broken(first)], ["a", hangUp], [headers, status(Code.Unknown)], ["b"]], {
    judge: (verdict, ending) => {
      asked.push([verdict, ending]);
      return verdict;
    },
  });

  await clock.drive(take(2, stream));

  assert.equal(
    asked.map(([verdict, { origin, heard, sent, wasLive }]) => [verdict, origin, heard, sent, wasLive]),
    [
      ["transient", "wire", false, true, false],
      ["transient", "engine", true, true, true],
      ["suspect", "engine", false, true, true],
    ],
  );
  assert.is(asked[0]![1].error, first);
  assert.is(asked[1]![1].error, undefined);
  released();
});

test("a judge is told that an attempt was never sent", async () => {
  const sent: boolean[] = [];
  const { clock, stream, engine } = play([], {
    ready: () => Promise.reject(new ConnectError("refused", Code.Unavailable)),
    judge: (_, ending) => {
      sent.push(ending.sent);
      return "end";
    },
  });

  await clock.drive(all(stream));

  assert.equal(sent, [false]);
  assert.equal(engine.openedAt, []);
});

for (const later of [false, true]) {
  test(`${later ? "a judge that takes its time" : "a judge"} may say anything else`, async () => {
    const words: Verdict[] = ["transient", "doubt", "suspect", "end"];
    const { clock, stream, engine, released } = play([1, 2, 3, 4].map(() => [status(Code.NotFound)]), {
      judge: async (verdict) => {
        assert.is(verdict, "fatal");
        if (later) await clock.sleep(10);
        return words.shift()!;
      },
    });

    const heard = await clock.drive(all(stream));

    assert.equal(heard, []);
    assert.is(engine.openedAt.length, 4);
    released();
  });
}

test("what a judge throws comes out as it is", async () => {
  const mine = new Error("mine");
  for (
    const judge of [() => Promise.reject(mine), () => {
      throw mine;
    }]
  ) {
    const { clock, stream, released } = play([[cut()]], { judge });

    await clock.drive(rejects(all(stream), (error) => error === mine));

    released();
  }
});

test("who asked what an error means decides its origin", async () => {
  const { clock, stream, engine } = play([[cut()]], { origin: () => "local", maxSuspects: 1 });

  await clock.drive(fails(all(stream), "stalled"));

  assert.is(engine.openedAt.length, 1);
});

test("N1: the peer's Canceled goes by the policy, a wire's does not", async () => {
  const seen: unknown[] = [];
  const { clock, stream, engine, released } = play([[cut(Code.Canceled)], [status(Code.Canceled)]], {
    onEnd: (error) => {
      seen.push(error);
      return "end";
    },
  });

  await clock.drive(all(stream));

  assert.is(engine.openedAt.length, 2);
  assert.is(seen.length, 1);
  assert.ok(seen[0] instanceof ConnectError && seen[0].code === Code.Canceled);
  released();
});

// The caller's own code.

test("what an opener throws comes out as it is", async () => {
  for (const mine of [new TypeError("mine"), "mine", 0, null]) {
    const { clock, statuses } = play([]);
    const open: Open<string> = () => {
      throw mine;
    };
    const stream = reconnect(open, { clock, onStatus: statuses.onStatus });

    const error = await clock.drive(rejects(all(stream), () => true));

    if (mine === null) assert.instance(error, TypeError);
    else assert.is(error, mine);
    assert.equal(statuses.states(), ["connecting", "ended"]);
    assert.is(clock.asleep, 0);
  }
});

test("what an interceptor or a request iterable throws comes out as it is, unwrapped", async () => {
  const mine = new TypeError("mine");
  for (const code of [Code.Unknown, Code.Internal]) {
    const { clock, stream, released } = play([["a", broken(ConnectError.from(mine, code))]]);

    await clock.drive(rejects(all(stream), (error) => error === mine));

    released();
  }
});

test("what a function that we ask throws comes out as it is until the first live, and passes after", async () => {
  const vault = markCaller(new Error("vault"));
  const wrapped = ConnectError.from(vault);
  const before = play([[broken(wrapped)]]);
  const after = play([["a", cut()], [broken(wrapped)], [broken(vault)], ["b"]]);

  await before.clock.drive(rejects(all(before.stream), (error) => error === vault));
  const heard = await after.clock.drive(take(2, after.stream));

  assert.equal(heard, ["a", "b"]);
  before.released();
  after.released();
});

test("a ConnectError that such a function threw keeps its cause", async () => {
  const vault = markCaller(new ConnectError("vault", Code.Unavailable, undefined, undefined, new Error("socket")));
  const { clock, stream } = play([[broken(vault)]]);

  const error = await clock.drive(rejects(all(stream), () => true));

  assert.is(error, vault);
});

test("what a status listener throws comes out as it is, whoever it was called by", async () => {
  for (const when of ["connecting", "live", "waiting"]) {
    const mine = new Error("mine");
    const clock = new VirtualClock();
    const engine = script<string>(clock, [pause(20_000), "a", cut()]);
    const onStatus = ({ state }: StreamStatus) => {
      if (state === when) throw mine;
    };
    const stream = reconnect(engine.open, { clock, ready: readyOn(), onStatus });

    await clock.drive(rejects(all(stream), (error) => error === mine));

    assert.is(clock.asleep, 0);
    assert.is(engine.released, engine.openedAt.length);
  }
});

// Certificates.

test("a certificate that does not fit is refused until the first live, and passes after", async () => {
  const error = ConnectError.from(Object.assign(new Error("altnames"), { code: "ERR_TLS_CERT_ALTNAME_INVALID" }));
  const before = play([[broken(error)]]);
  const after = play([[headers, cut()], [broken(error)], ["a"]]);

  const refused = await before.clock.drive(fails(all(before.stream), "refused"));
  const heard = await after.clock.drive(take(1, after.stream));

  assert.is(refused.cause, error);
  assert.equal(heard, ["a"]);
  before.released();
  after.released();
});

// Moments.

test("headers make it live", async () => {
  const { clock, stream, statuses } = play([[pause(5), headers, pause(5), "a"]]);

  await clock.drive(take(1, stream));

  assert.equal(statuses.seen.slice(0, 2), [
    { state: "connecting", attempt: 1 },
    { state: "live", sinceMs: 5, paused: false },
  ]);
});

test("headers that are the whole answer do not", async () => {
  const { clock, engine, statuses } = play([[status(Code.Unavailable)], ["a"]]);
  const open: Open<string> = (attempt) => {
    if (attempt.number === 1) attempt.live(new Headers({ "grpc-status": "14" }));
    return engine.open(attempt);
  };

  await clock.drive(take(1, reconnect(open, { clock, onStatus: statuses.onStatus })));

  assert.equal(statuses.states(), ["connecting", "waiting", "connecting", "live", "ended"]);
});

test("ten seconds after it was sent it is live without a word, where a connection tells that it was sent", async () => {
  const { clock, stream, statuses } = play([[pause(30_000), "a"]], { ready: readyOn() });

  await clock.drive(take(1, stream));

  assert.equal(statuses.seen[1], { state: "live", sinceMs: 10_000, paused: false });
});

test("where nothing tells that it was sent, no time makes it live", async () => {
  for (const ready of [undefined, () => Promise.resolve(undefined)]) {
    const { clock, stream, statuses } = play([[pause(30_000), "a"]], { ready });

    await clock.drive(take(1, stream));

    assert.equal(statuses.seen[1], { state: "live", sinceMs: 30_000, paused: false });
  }
});

test("proof of life that comes after the end of its attempt proves nothing", async () => {
  const { clock, engine, statuses } = play([[cut()], ["a"]]);
  const late: (() => void)[] = [];
  const open: Open<string> = (attempt) => {
    late.push(attempt.live);
    return engine.open(attempt);
  };
  const work = take(1, reconnect(open, { clock, backoff: () => 1000, onStatus: statuses.onStatus }));
  await clock.pass(500);

  late[0]!();
  await clock.drive(work);

  assert.equal(statuses.states(), ["connecting", "waiting", "connecting", "live", "ended"]);
});

// Suspects.

test("only a message clears the suspects", async () => {
  const nine = Array.from({ length: 9 }, () => [status(Code.Unknown)]);
  const { clock, stream, engine, released } = play([...nine, ["a", status(Code.Unknown)], ...nine, ["b"]]);

  const heard = await clock.drive(take(1, stream).then(() => "left"));
  const again = play([...nine, ["a", status(Code.Unknown)], ...nine, ["b"]]);
  const error = await again.clock.drive(fails(all(again.stream), "stalled"));

  assert.is(heard, "left");
  assert.is(engine.openedAt.length, 10);
  assert.is(error.attempts, 19); // The tenth said something before it ended, and began the count anew.
  released();
});

test("a steady attempt clears the suspects too", async () => {
  const nine = Array.from({ length: 9 }, () => [status(Code.Unknown)]);
  const { clock, stream, released } = play([...nine, [pause(10_001), cut()], ...nine, ["a"]], { ready: readyOn() });

  const heard = await clock.drive(take(1, stream));

  assert.equal(heard, ["a"]);
  released();
});

test("headers, time short of steady and transient endings do not clear the suspects", async () => {
  const lines: Line[] = [
    ...Array.from({ length: 8 }, () => [status(Code.Unknown)]),
    [headers, pause(9000), status(Code.Unknown)],
    [cut()],
    [pause(9000), hangUp],
    [status(Code.Unknown)],
  ];
  const { clock, stream, released } = play(lines, { ready: readyOn() });

  const error = await clock.drive(fails(all(stream), "stalled"));

  assert.is(error.attempts, 12);
  released();
});

test("how many suspects are too many can be chosen", async () => {
  const { clock, stream } = play([[status(Code.Unknown)], [status(Code.Unknown)]], { maxSuspects: 2 });

  const error = await clock.drive(fails(all(stream), "stalled"));

  assert.is(error.attempts, 2);
});

// Set-up.

test("a stream that is never let in gives up after its set-up attempts, and says what the last one met", async () => {
  const errors = [1, 2, 3].map((n) => new ConnectError(`refused ${n}`, Code.Unavailable));
  let tried = 0;
  const { clock, stream, engine, statuses, released } = play([], {
    setupAttempts: 3,
    ready: () => Promise.reject(errors[tried++]),
  });

  const error = await clock.drive(fails(all(stream), "unreachable"));

  assert.is(error.cause, errors[2]);
  assert.is(error.attempts, 3);
  assert.equal(engine.openedAt, []);
  assert.is(clock.now(), 2000);
  assert.equal(statuses.states(), ["connecting", "waiting", "connecting", "waiting", "connecting", "ended"]);
  released();
});

for (
  const [what, line, ready] of [
    ["a message", ["a", cut()], undefined],
    ["headers", [headers, cut()], undefined],
    ["250 ms after it was sent", [pause(251), cut()], readyOn()],
  ] as const
) {
  test(`who was let in by ${what} stays in, whatever it takes`, async () => {
    const lines = [line, ...Array.from({ length: 20 }, () => [cut()]), ["z"]];
    let let_in = 0;
    const { clock, stream, released } = play(lines, { setupAttempts: 2, ready, onIn: () => let_in++ });

    const heard = await clock.drive((async () => {
      for await (const message of stream) if (message === "z") return message;
      return undefined;
    })());

    assert.is(heard, "z");
    assert.is(let_in, 2);
    released();
  });
}

test("249 ms are not enough", async () => {
  const { clock, stream } = play([[pause(249), cut()], [pause(249), cut()]], { setupAttempts: 2, ready: readyOn() });

  await clock.drive(fails(all(stream), "unreachable"));
});

test("where nothing tells that it was sent, no time lets it in", async () => {
  const { clock, stream } = play([[pause(60_000), cut()], [pause(60_000), cut()]], { setupAttempts: 2 });

  await clock.drive(fails(all(stream), "unreachable"));
});

test("an opener is told once per attempt that it was let in", async () => {
  let times = 0;
  const { clock, stream } = play([[headers, "a", pause(300), "b", cut()], ["c"]], {
    ready: readyOn(),
    onIn: () => times++,
  });

  await clock.drive(take(3, stream));

  assert.is(times, 2);
});

// Counting and waiting.

test("without a gate the first wait is drawn from the first window", async () => {
  for (const draw of [0, 0.5, 1]) {
    const { clock, stream, engine } = play([[cut()], ["a"]], { backoff: undefined, random: () => draw });

    await clock.drive(take(1, stream));

    assert.equal(engine.openedAt, [0, draw * 1000]);
  }
});

test("an engine that accepts, says a word and drops is waited for longer and longer", async () => {
  const asked: number[] = [];
  const { clock, stream, engine, released } = play(Array.from({ length: 6 }, () => ["a", cut()]), {
    backoff: (failures) => {
      asked.push(failures);
      return failures * 1000;
    },
  });

  await clock.drive(take(6, stream));

  assert.equal(asked, [1, 2, 3, 4, 5]);
  assert.equal(engine.openedAt, [0, 1000, 3000, 6000, 10_000, 15_000]);
  released();
});

test("an attempt that said something and lived no shorter than the wait before it clears the failures", async () => {
  const asked: number[] = [];
  const lines: Line[] = [[cut()], [cut()], ["a", pause(1999), cut()], ["b", pause(3000), cut()], ["c"]];
  const { clock, stream } = play(lines, {
    backoff: (failures) => {
      asked.push(failures);
      return failures * 1000;
    },
  });

  await clock.drive(take(3, stream));

  assert.equal(asked, [1, 2, 3, 1]);
});

test("an attempt that lived long without a word clears nothing unless it was steady", async () => {
  const asked: number[] = [];
  const backoff = (failures: number) => {
    asked.push(failures);
    return 1000;
  };
  const lines: Line[] = [[cut()], [pause(9999), cut()], [pause(10_001), cut()], [headers, pause(9999), cut()], ["a"]];
  const { clock, stream } = play(lines, { ready: readyOn(), backoff });

  await clock.drive(take(1, stream));

  assert.equal(asked, [1, 2, 1, 2]);
});

test("where nothing tells that it was sent, steady counts from live", async () => {
  const asked: number[] = [];
  const backoff = (failures: number) => {
    asked.push(failures);
    return 1000;
  };
  const lines: Line[] = [[cut()], [pause(5000), headers, pause(9999), cut()], [headers, pause(10_001), cut()], ["a"]];
  const { clock, stream } = play(lines, { backoff });

  await clock.drive(take(1, stream));

  assert.equal(asked, [1, 2, 1]);
});

test("what counts as steady can be chosen", async () => {
  const asked: number[] = [];
  const backoff = (failures: number) => {
    asked.push(failures);
    return 1000;
  };
  const { clock, stream } = play([[cut()], [pause(101), cut()], ["a"]], { ready: readyOn(), backoff, steadyMs: 100 });

  await clock.drive(take(1, stream));

  assert.equal(asked, [1, 1]);
});

test("the peer's pushback beats the back-off, longer or shorter, and is believed up to 60 s", async () => {
  const asks = (ms: string) => [status(Code.Unavailable, { "grpc-retry-pushback-ms": ms })];
  const { clock, stream, engine, statuses } = play([asks("10"), asks("5000"), asks("3600000"), ["a"]]);

  await clock.drive(take(1, stream));

  assert.equal(engine.openedAt, [0, 250, 5250, 65_250].map((at) => at - 240).with(0, 0));
  assert.equal(statuses.seen.filter((one) => one.state === "waiting").map(({ delayMs }) => delayMs), [
    10,
    5000,
    60_000,
  ]);
});

test("a peer that always asks for no wait at all is not asked without end", async () => {
  const lines = Array.from({ length: 1000 }, () => [status(Code.Unavailable, { "retry-after": "0" })]);
  const life = new AbortController();
  const { clock, stream, engine } = play(lines, { signal: life.signal });
  const work = rejects(all(stream), (reason) => reason === "mine");
  await clock.pass(60_000);

  life.abort("mine");
  await clock.drive(work);

  assert.ok(engine.openedAt.length < 25, `${engine.openedAt.length} attempts in a minute`);
});

// Statuses.

test("each status carries its data", async () => {
  const error = new ConnectError("cut", Code.Aborted);
  const { clock, stream, statuses } = play([[pause(10), "a", broken(error)], [hangUp], ["b"]]);

  await clock.drive(take(2, stream));

  assert.equal(statuses.seen, [
    { state: "connecting", attempt: 1 },
    { state: "live", sinceMs: 10, paused: false },
    { state: "waiting", failures: 1, delayMs: 1000, error },
    { state: "connecting", attempt: 2 },
    { state: "waiting", failures: 2, delayMs: 1000, error: undefined },
    { state: "connecting", attempt: 3 },
    { state: "live", sinceMs: 2010, paused: false },
    { state: "ended" },
  ]);
});

test("a wait is told when it begins", async () => {
  const { clock, stream, statuses, released } = play([["a", cut()], ["b", silence]]);
  await clock.drive(stream.next());

  const second = stream.next();
  await clock.pass(500);
  const during = statuses.states();

  assert.equal(during, ["connecting", "live", "waiting"]);
  await clock.drive(second);
  await stream.return();
  released();
});

// Behind a gate.

/** Streams of one client behind one gate. */
function behindGate(count: number, open: Open<string>, clock: VirtualClock, options: StreamOptions = {}) {
  const gate = new Gate({ clock, random: options.random ?? (() => 1) });
  const life = new AbortController();
  const statuses = Array.from({ length: count }, watch);
  const work = statuses.map(async ({ onStatus }, priority) => {
    const stream = reconnect(open, { clock, gate, priority, onStatus, signal: life.signal, ...options });
    await rejects(all(stream), (reason) => reason === "over");
  });
  return {
    gate,
    statuses,
    async over() {
      life.abort("over");
      await clock.drive(Promise.all(work));
      assert.is(clock.asleep, 0);
    },
  };
}

/** How many of a client's connects are between being let in and the moment that lets in the next. */
function flights(clock: VirtualClock) {
  const openedAt: number[] = [];
  const open = (lines: readonly Line[]): Open<string> => {
    const engine = script<string>(clock, ...lines);
    return (attempt) => {
      openedAt.push(clock.now());
      return engine.open(attempt);
    };
  };
  return { open, openedAt };
}

test("behind a gate quiet streams open 250 ms apart, in order of priority", async () => {
  const clock = new VirtualClock();
  const order: number[] = [];
  const gate = new Gate({ clock });
  const life = new AbortController();
  const work = [2, 0, 1].map((priority) => {
    const open: Open<string> = (attempt) => {
      order.push(priority, clock.now());
      return script<string>(clock, [silence]).open(attempt);
    };
    const stream = reconnect(open, { clock, gate, priority, ready: readyOn(), signal: life.signal });
    return rejects(all(stream), (reason) => reason === "over");
  });
  await clock.pass(2000);

  life.abort("over");
  await clock.drive(Promise.all(work));

  assert.equal(order, [2, 0, 0, 250, 1, 500]);
  assert.is(clock.asleep, 0);
});

test("on a connection that has let one in quiet streams open at once; after a failure one after another again", async () => {
  const clock = new VirtualClock();
  const { open, openedAt } = flights(clock);
  const connection = { alive: true };
  const ready = () => Promise.resolve(connection);
  const lines = [[silence], [silence], [pause(100), cut()], [silence], [silence], [silence], [silence]] as const;
  const { gate, over } = behindGate(3, open(lines), clock, { ready });

  await clock.pass(5000);
  await over();

  assert.equal(openedAt, [0, 250, 250, 2350]);
  assert.is(gate.failures, 1);
});

for (
  const [what, line, openedAt] of [
    ["headers", [pause(20), headers], [0, 20]],
    ["a message", [pause(20), "a"], [0, 20]],
    ["250 ms after it was sent", [silence], [0, 250]],
  ] as const
) {
  test(`a slot is given back at ${what}`, async () => {
    const clock = new VirtualClock();
    const { open, openedAt: seen } = flights(clock);
    const { over } = behindGate(2, open([line, [silence]]), clock, { ready: readyOn() });

    await clock.pass(5000);
    await over();

    assert.equal(seen, openedAt);
  });
}

test("a slot is given back when the attempt ends, and then all wait", async () => {
  const clock = new VirtualClock();
  const { open, openedAt } = flights(clock);
  const { over } = behindGate(2, open([[pause(20), cut()], [silence], [silence]]), clock, { ready: readyOn() });

  await clock.pass(5000);
  await over();

  assert.equal(openedAt, [0, 2020, 2270]);
});

test("a slot is given back when the caller leaves during the connect", async () => {
  const clock = new VirtualClock();
  const gate = new Gate({ clock });
  const life = new AbortController();
  const stream = reconnect(deafOpen, { clock, gate, ready: neverReady, signal: life.signal });
  const work = rejects(all(stream), (reason) => reason === "mine");
  let entered = false;
  const entering = gate.enter({ priority: 0, failed: false }, new AbortController().signal).then(() => entered = true);
  await clock.pass(1000);
  const during = entered;

  life.abort("mine");
  await clock.drive(Promise.all([work, entering]));

  assert.equal([during, entered], [false, true]);
});

test("a connect that runs into its time-out counts as slow, and the next may take longer", async () => {
  const clock = new VirtualClock();
  const timeouts: number[] = [];
  const ready: Ready = async (signal, timeoutMs) => {
    timeouts.push(timeoutMs);
    await clock.sleep(timeoutMs, signal);
    throw new ConnectError("connect timed out", Code.Unavailable);
  };
  const { over, statuses } = behindGate(1, deafOpen, clock, { ready });

  await clock.pass(400_000);
  await over();

  assert.equal(timeouts.slice(0, 6), [5000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  const delays = statuses[0]!.seen.filter((one) => one.state === "waiting").map(({ delayMs }) => delayMs);
  assert.equal(delays.slice(0, 6), [2000, 4000, 8000, 16_000, 32_000, 60_000]);
});

test("doubt waits in the wide windows too", async () => {
  const clock = new VirtualClock();
  const lines = Array.from({ length: 20 }, () => [status(Code.Unauthenticated)]);
  const { open } = flights(clock);
  const { over, statuses } = behindGate(1, open(lines), clock, { ready: readyOn(), judge: () => "doubt" });

  await clock.pass(400_000);
  await over();

  const delays = statuses[0]!.seen.filter((one) => one.state === "waiting").map(({ delayMs }) => delayMs);
  assert.equal(delays.slice(0, 6), [2000, 4000, 8000, 16_000, 32_000, 60_000]);
});

test("streams lost with one session are one failure, and come back one after another", async () => {
  const clock = new VirtualClock();
  const sessions: { alive: boolean }[] = [];
  const ready: Ready = () => {
    if (!sessions.at(-1)?.alive) sessions.push({ alive: true });
    return Promise.resolve(sessions.at(-1)!);
  };
  const openedAt: number[] = [];
  const lost = new AbortController();
  const open: Open<string> = async function* ({ signal }) {
    openedAt.push(clock.now());
    const first = openedAt.length <= 4;
    await new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      if (first) lost.signal.addEventListener("abort", () => reject(new ConnectError("cut", Code.Canceled)));
    });
    yield "never";
  };
  const { gate, over } = behindGate(4, open, clock, { ready });
  await clock.pass(60_000);
  openedAt.splice(0, 3);

  sessions[0]!.alive = false;
  lost.abort();
  await clock.pass(5000);
  const { failures } = gate;
  await over();

  assert.is(failures, 1);
  assert.equal(openedAt.slice(1), [62_000, 62_250, 62_500, 62_750]);
});

test("a stream that failed in its last turn goes behind those that did not", async () => {
  const clock = new VirtualClock();
  const gate = new Gate({ clock, random: () => 1 });
  const life = new AbortController();
  const order: string[] = [];
  const run = (name: string, priority: number, ...lines: readonly Line[]) => {
    const engine = script<string>(clock, ...lines);
    const open: Open<string> = (attempt) => {
      order.push(`${name} at ${clock.now()}`);
      return engine.open(attempt);
    };
    const stream = reconnect(open, { clock, gate, priority, ready: readyOn(), signal: life.signal });
    return rejects(all(stream), (reason) => reason === "over");
  };
  const work = [run("first", 0, [cut()], [silence]), run("second", 1, [silence])];
  await clock.pass(10_000);

  life.abort("over");
  await clock.drive(Promise.all(work));

  assert.equal(order, ["first at 0", "second at 2000", "first at 2250"]);
});

test("a stream that was steady when it was lost has not failed, and goes by its priority", async () => {
  const clock = new VirtualClock();
  const gate = new Gate({ clock, random: () => 1 });
  const life = new AbortController();
  const order: string[] = [];
  const run = (name: string, priority: number, ...lines: readonly Line[]) => {
    const engine = script<string>(clock, ...lines);
    const open: Open<string> = (attempt) => {
      order.push(`${name} at ${clock.now()}`);
      return engine.open(attempt);
    };
    const stream = reconnect(open, { clock, gate, priority, ready: readyOn(), signal: life.signal });
    return rejects(all(stream), (reason) => reason === "over");
  };
  const first = run("first", 0, [pause(20_000), cut()], [silence]);
  await clock.pass(20_001);
  const second = run("second", 1, [silence]);
  await clock.pass(10_000);

  life.abort("over");
  await clock.drive(Promise.all([first, second]));

  assert.equal(order, ["first at 0", "first at 22000", "second at 22250"]);
});

for (const later of [false, true]) {
  test(`nobody connects between a failure and its wait, ${later ? "though the judge takes its time" : "whoever is next"}`, async () => {
    const clock = new VirtualClock();
    const { open, openedAt } = flights(clock);
    const judge = async (verdict: Verdict) => {
      if (later) await clock.sleep(100);
      return verdict;
    };
    const lines = [[cut()], [silence], [silence]];
    const { over } = behindGate(2, open(lines), clock, { ready: readyOn(), judge });

    await clock.pass(5000);
    await over();

    assert.is(openedAt[1], later ? 2100 : 2000);
  });
}

test("a judge that takes long does not keep the gate shut", async () => {
  const clock = new VirtualClock();
  const { open, openedAt } = flights(clock);
  const { over } = behindGate(2, open([[cut()], [silence]]), clock, { ready: readyOn(), judge: deafJudge });

  await clock.pass(5000);
  await over();

  assert.equal(openedAt, [0, 250]);
});

for (const streams of [1, 4]) {
  test(`an engine that refuses is dialled 0.25 times a second, for ${streams} streams too`, async () => {
    const clock = new VirtualClock();
    const dialledAt: number[] = [];
    const ready: Ready = async () => {
      dialledAt.push(clock.now());
      throw new ConnectError("refused", Code.Unavailable);
    };
    const { over } = behindGate(streams, deafOpen, clock, { ready, random: seeded(streams) });

    await clock.pass(600_000);
    await over();

    const rate = dialledAt.filter((at) => at > 60_000).length / 540;
    assert.ok(rate <= 0.25 && rate > 0.1, `${rate} dials a second`);
  });
}

for (const streams of [1, 4]) {
  for (const dropMs of [0, 100, 300, 1000, 3000]) {
    for (const [how, before] of [["silently", []], ["after headers", [headers]]] as const) {
      test(`an engine that accepts ${streams} streams and drops each ${how} after ${dropMs} ms is asked 0.25 times a second`, async () => {
        const clock = new VirtualClock();
        const openedAt: number[] = [];
        const open: Open<string> = (attempt) => {
          openedAt.push(clock.now());
          return script<string>(clock, [...before, pause(dropMs), cut()]).open(attempt);
        };
        const { over } = behindGate(streams, open, clock, {
          ready: readyOn(),
          random: seeded(streams * 10_000 + dropMs),
        });

        await clock.pass(600_000);
        await over();

        const rate = openedAt.filter((at) => at > 60_000).length / 540;
        assert.ok(rate <= 0.25, `${rate} attempts a second`);
        assert.ok(rate > 0.1, `${rate} attempts a second`);
      });
    }
  }
}

// Whatever happens.

/** What may become of an attempt, drawn at random. */
function drawLine(random: () => number): Line {
  const line: (string | Step)[] = [];
  const codes = [Code.Unavailable, Code.Internal, Code.Canceled, Code.Aborted, Code.Unknown];
  for (let parts = Math.floor(random() * 4); parts > 0; parts--) {
    line.push(
      [pause(Math.floor(random() * 400)), "a", headers, pause(random() < 0.1 ? 12_000 : 1)][Math.floor(random() * 4)]!,
    );
  }
  const code = codes[Math.floor(random() * codes.length)]!;
  const pushback: Record<string, string> = random() < 0.2
    ? { "grpc-retry-pushback-ms": random() < 0.5 ? "0" : "700" }
    : {};
  line.push([cut(code), status(code, pushback), hangUp][Math.floor(random() * 3)]!);
  return line;
}

test("whatever an engine does: moves are legal, one connects at a time, no loop is hot, all is let go of", {
  limitMs: 20_000,
}, async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed);
    const clock = new VirtualClock();
    const gated = random() < 0.7;
    const dials = random() < 0.5;
    const gate = gated ? new Gate({ clock, random }) : undefined;
    let session = { alive: true };
    let connecting = 0;
    let most = 0;
    let opened = 0;
    let released = 0;
    const ready: Ready = async (signal) => {
      most = Math.max(most, ++connecting);
      try {
        await clock.sleep(random() * 50, signal);
      } finally {
        connecting--;
      }
      if (random() < 0.2) throw new ConnectError("refused", Code.Unavailable);
      if (!session.alive || random() < 0.2) {
        session.alive = false;
        session = { alive: true };
      }
      return session;
    };
    const streams = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, priority) => {
      const statuses = watch();
      const at: number[] = [];
      const life = new AbortController();
      const open: Open<string> = (attempt) => {
        opened++;
        at.push(clock.now());
        attempt.signal.addEventListener("abort", () => released++);
        return script<string>(clock, drawLine(random)).open(attempt);
      };
      const stream = reconnect(open, {
        clock,
        gate,
        priority,
        random,
        ready: dials ? ready : undefined,
        signal: life.signal,
        onStatus: statuses.onStatus,
        maxSuspects: 1000,
      });
      const leaveMs = random() * 120_000;
      const quits = random() < 0.3;
      const work = (async () => {
        clock.sleep(leaveMs, life.signal).then(() => life.abort("over"), () => {});
        try {
          for await (const _ of stream) if (quits && random() < 0.1) break;
        } catch (error) {
          if (error !== "over") throw error;
        }
        life.abort("over");
      })();
      return { statuses, at, work };
    });

    try {
      await clock.drive(Promise.all(streams.map(({ work }) => work)));

      assert.is(clock.asleep, 0, "nothing sleeps any more");
      assert.is(released, opened, "every attempt was let go of");
      if (gated) assert.ok(most <= 1, `${most} connects at once`);
      for (const { statuses, at } of streams) {
        assert.is(statuses.seen.at(-1)?.state, "ended");
        for (let n = 0; n + 10 < at.length; n++) {
          const spanMs = at[n + 10]! - at[n]!;
          assert.ok(spanMs > 500, `ten attempts in ${spanMs} ms`);
        }
      }
    } catch (error) {
      throw new Error(`COPPICE_SEED=${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
  }
});

test.run();
