import process from "node:process";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Attempt, Connection } from "../src/streams/mod.ts";
import { Gate, Subscriptions } from "../src/streams/mod.ts";
import { seeded, VirtualClock } from "../src/testing/mod.ts";
import { assert, suite } from "./harness.ts";

/*
 * Whoever was registered and has not left is on the current stream. Here under everything a wire and a peer do, drawn
 * by a seed; re-assertion is switched off, for it would mend what the replay forgets.
 */

const test = suite("invariants");
const replayed = process.env["COPPICE_SEED"];

/** Runs a scenario under each seed, or under COPPICE_SEED alone; a failure says which seed it was. */
async function underSeeds(first: number, count: number, scenario: (seed: number) => Promise<void>): Promise<void> {
  const seeds = replayed === undefined
    ? Array.from({ length: count }, (_, index) => first + index)
    : [Number(replayed)];
  for (const seed of seeds) {
    try {
      await scenario(seed);
    } catch (error) {
      const { message } = error as Error; // Assertions and the clock throw nothing else.
      throw new Error(`COPPICE_SEED=${seed}: ${message}`, { cause: error });
    }
  }
}

interface Odds {
  /** How likely a connect is refused. */
  readonly refuse: number;
  /** How likely a connect dawdles, and for how long at most, in milliseconds. */
  readonly dawdle: number;
  readonly dawdleMs: number;
  /** How long a request takes from one end to the other at most, in milliseconds. */
  readonly sendMs: number;
}

const calm: Odds = { refuse: 0, dawdle: 0, dawdleMs: 0, sendMs: 0 };

/** One attempt at the peer below. */
interface Wire {
  /** What the peer has read of it. */
  readonly subscribed: Set<string>;
  /** Whether the peer still reads. */
  hears: boolean;
  end(error?: unknown): void;
  say(key: string): void;
}

/** A peer whose wires break in every way there is. */
class Peer {
  odds: Odds;
  current: Wire | undefined;
  connecting = 0;
  most = 0;
  open = 0;
  opened = 0;
  #session: { alive: boolean } = { alive: false };
  readonly #clock: VirtualClock;
  readonly #random: () => number;

  constructor(clock: VirtualClock, random: () => number, odds: Odds) {
    this.#clock = clock;
    this.#random = random;
    this.odds = odds;
  }

  readonly ready = async (signal: AbortSignal): Promise<Connection> => {
    this.most = Math.max(this.most, ++this.connecting);
    try {
      if (this.#random() < this.odds.dawdle) {
        await this.#clock.sleep(this.#random() * this.odds.dawdleMs, signal);
      }
      if (this.#random() < this.odds.refuse) throw new ConnectError("refused", Code.Unavailable);
      if (!this.#session.alive) this.#session = { alive: true };
      return this.#session;
    } finally {
      this.connecting--;
    }
  };

  readonly exchange = (requests: AsyncIterable<string>, attempt: Attempt<string>): AsyncIterable<string> => {
    const said: (() => IteratorResult<string>)[] = [];
    let wake = (): void => {};
    const act = (step: () => IteratorResult<string>): void => {
      said.push(step);
      wake();
    };
    const wire: Wire = {
      subscribed: new Set(),
      hears: true,
      end: (error) =>
        act(() => {
          if (error !== undefined) throw error;
          return { done: true, value: undefined };
        }),
      say: (key) => act(() => ({ done: false, value: key })),
    };
    this.current = wire;
    this.open++;
    this.opened++;
    attempt.signal.addEventListener("abort", () => {
      this.open--;
      wire.hears = false;
    }, { once: true });
    void this.#read(requests, wire, attempt.signal);
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          for (;;) {
            const step = said.shift();
            if (step !== undefined) return step();
            await new Promise<void>((resolve) => wake = resolve);
          }
        },
      }),
    };
  };

  /** The whole connection goes, with whatever is on it. */
  lose(): void {
    this.#session.alive = false;
    this.current?.end(new ConnectError("the wire was cut", Code.Aborted));
  }

  /** The peer stops reading, and nobody is told for a while. */
  halve(): void {
    if (this.current !== undefined) this.current.hears = false;
  }

  /** The connection takes no new streams; the one that is there goes on until it is ended. */
  drain(): void {
    this.#session.alive = false;
    this.#session = { alive: false };
    this.current?.end();
  }

  async #read(requests: AsyncIterable<string>, wire: Wire, signal: AbortSignal): Promise<void> {
    for await (const key of requests) {
      const { sendMs } = this.odds;
      if (sendMs > 0) await this.#clock.sleep(this.#random() * sendMs);
      if (wire.hears && !signal.aborted) wire.subscribed.add(key);
    }
  }
}

/** Those who wait, as they themselves see it. */
class Crowd {
  /** Those who wait for a key, each by what makes it leave. */
  readonly waiting = new Map<string, Set<AbortController>>();
  readonly failed: unknown[] = [];
  readonly #shared: Subscriptions<string, string, string, string>;

  constructor(shared: Subscriptions<string, string, string, string>) {
    this.#shared = shared;
  }

  join(key: string): void {
    const leave = new AbortController();
    const others = this.waiting.get(key) ?? new Set();
    this.waiting.set(key, others.add(leave));
    this.#shared.wait(key, leave.signal).catch((error: unknown) => {
      if (error !== leave) this.failed.push(error);
    }).finally(() => {
      others.delete(leave);
      if (others.size === 0 && this.waiting.get(key) === others) this.waiting.delete(key);
    });
  }

  /** One of those who wait for a key leaves. */
  leave(key: string, random: () => number): void {
    const leave = one(this.waiting.get(key) ?? [], random);
    leave?.abort(leave);
  }

  some(random: () => number): string | undefined {
    return one(this.waiting.keys(), random);
  }
}

function one<T>(items: Iterable<T>, random: () => number): T | undefined {
  const all = [...items];
  return all[Math.floor(random() * all.length)];
}

function share(clock: VirtualClock, peer: Peer, random: () => number): Subscriptions<string, string, string, string> {
  return new Subscriptions({
    clock,
    random,
    gate: new Gate({ clock, random }),
    ready: peer.ready,
    open: peer.exchange,
    request: (key) => key,
    deliver: (key, waiters) => waiters.settle(key, key),
    reassertMs: 1e12,
    lingerMs: 2000,
  });
}

/** At rest: whoever waits is on the current stream, the registry is who waits, and nobody was failed. */
function assertInvariant(peer: Peer, crowd: Crowd, shared: Subscriptions<string, string, string, string>): void {
  const waiting = [...crowd.waiting.keys()].sort();
  const registered = [...shared.entries()].map(([key]) => key).sort();
  const missing = waiting.filter((key) => !peer.current?.subscribed.has(key));

  assert.equal(crowd.failed, [], "somebody was failed");
  assert.equal(registered, waiting, "registered is not who waits");
  assert.equal(missing, [], `not on the current stream: ${missing.join(", ")}`);
  assert.ok(waiting.length === 0 || (peer.open === 1 && peer.current?.hears), "the stream is not open");
  assert.ok(peer.most <= 1, `${peer.most} connects at once`);
}

/** Everybody is answered, and everything let go. */
async function assertEnd(
  clock: VirtualClock,
  peer: Peer,
  crowd: Crowd,
  shared: Subscriptions<string, string, string, string>,
): Promise<void> {
  for (const key of crowd.waiting.keys()) peer.current?.say(key);
  await clock.pass(1);
  assert.is(crowd.waiting.size, 0, "somebody was not answered");
  await clock.pass(2000);
  assert.is(shared.running, false, "the linger does not end");
  shared.close();
  await clock.pass(1);
  assert.equal([peer.open, peer.connecting, clock.asleep], [0, 0, 0], "something was not let go");
}

/** A few steps of what is under way, as between two lines of anybody's code. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await Promise.resolve();
}

async function chaos(seed: number): Promise<void> {
  const random = seeded(seed);
  const clock = new VirtualClock();
  const peer = new Peer(clock, random, {
    refuse: random() * 0.5,
    dawdle: random(),
    dawdleMs: random() < 0.2 ? 20_000 : 500,
    sendMs: random() < 0.5 ? 0 : random() * 20,
  });
  const shared = share(clock, peer, random);
  const crowd = new Crowd(shared);
  let joined = 0;
  const finish = (): void => {
    for (const key of crowd.waiting.keys()) if (peer.current?.subscribed.has(key)) peer.current.say(key);
    peer.current?.end();
  };
  const moves: (() => void)[] = [
    () => crowd.join(`run ${joined++}`),
    () => crowd.join(`run ${joined++}`),
    () => crowd.join(`run ${joined++}`),
    () => crowd.join(crowd.some(random) ?? `run ${joined++}`),
    () => crowd.leave(crowd.some(random) ?? "", random),
    finish,
    () => peer.lose(),
    () => peer.halve(),
    () => peer.drain(),
    () => peer.current?.end(),
    () => peer.current?.end(new ConnectError("going down", Code.Canceled, { "grpc-status": "1" })),
    () => {},
  ];

  const length = 15 + Math.floor(random() * 45);
  for (let move = 0; move < length; move++) {
    moves[Math.floor(random() * moves.length)]?.();
    if (random() < 0.5) await turns(random() * 30);
    if (random() < 0.5) await clock.pass(random() < 0.5 ? random() * 8000 : random() * 30);
  }
  if (random() < 0.5) { // Somebody comes while the stream ends because nobody was there.
    finish();
    await turns(random() * 40);
    crowd.join("late");
  }
  peer.odds = calm;
  if (peer.current?.hears === false) peer.lose(); // A half of a wire is found out in the end.
  await clock.pass(90_000);

  assertInvariant(peer, crowd, shared);
  await assertEnd(clock, peer, crowd, shared);
}

test(
  "whoever was registered and has not left is on the current stream, whatever a wire does",
  { limitMs: 20_000 },
  () => {
    return underSeeds(1, 1000, chaos);
  },
);

test("I3: 4 adders of 10 runs each and 3 breaks: every run is on the current stream, and no add failed", {
  limitMs: 20_000,
}, () => {
  return underSeeds(1, 50, async (seed) => {
    const random = seeded(seed);
    const clock = new VirtualClock();
    const peer = new Peer(clock, random, { ...calm, sendMs: 0.2 });
    const shared = share(clock, peer, random);
    const crowd = new Crowd(shared);
    const breaks = new Set([8, 20, 36]); // At 20, 50 and 90 % of the runs.
    let added = 0;
    const adder = async (name: number): Promise<void> => {
      for (let run = 0; run < 10; run++) {
        await clock.sleep(random() * 0.2);
        crowd.join(`${name}/${run}`);
        if (!breaks.has(++added)) continue;
        if (random() < 0.7) peer.current?.end();
        else peer.lose();
      }
    };

    await clock.drive(Promise.all([0, 1, 2, 3].map(adder)));
    await clock.pass(60_000);

    assert.is(crowd.waiting.size, 40);
    assert.is(shared.running, true);
    assertInvariant(peer, crowd, shared);
    await assertEnd(clock, peer, crowd, shared);
  });
});

test("a failure says which seed replays it", async () => {
  const failing = underSeeds(7, 1, () => Promise.reject(new Error("as ever")));

  const message = await failing.then(() => "passed", ({ message }: Error) => message);

  assert.is(message, `COPPICE_SEED=${replayed ?? 7}: as ever`);
});

test.run();
