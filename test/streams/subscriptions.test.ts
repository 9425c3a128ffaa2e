import { Code, ConnectError } from "@connectrpc/connect";
import type { Connection, StreamStatus } from "../../src/streams/mod.ts";
import { Gate, reconnect, StreamError } from "../../src/streams/mod.ts";
import { seeded, VirtualClock } from "../../src/testing/mod.ts";
import { assert, rejects, suite } from "../harness.ts";
import { watched } from "../watched.ts";
import { Peer } from "./peer.ts";
import { assertReleased, Fate, share } from "./shared.ts";

const test = suite("subscriptions");
const refused = new ConnectError("connection refused", Code.Unavailable);

test("L1: the first wait opens one stream and sends one request", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);

  const fate = new Fate(shared.wait("a"));
  await clock.pass(5000);

  assert.equal(peer.wires.map(({ sent }) => sent), [["a"]]);
  assert.is(fate.text, "pending");
  await assertReleased(clock, peer, shared);
});

test("L2: a wait that is never let in leaves no trace", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 1, open: peer.exchange(false) });

  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(0);

  assert.is(fate.text, "unreachable");
  assert.equal([...shared.entries()], []);
  assert.equal(peer.wire.sent, []);
  await assertReleased(clock, peer, shared);
});

test("L3: a key is registered at every moment at which its request is sent", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const moments: boolean[] = [];
  const shared = share(clock, peer, {
    setupAttempts: 5,
    open: (requests, attempt) =>
      peer.exchange()(
        (async function* () {
          for await (const key of requests) {
            moments.push([...shared.entries()].some(([registered]) => registered === key));
            yield key;
          }
        })(),
        attempt,
      ),
  });

  const first = new Fate(shared.wait("a"));
  for (let round = 0; round < 5; round++) {
    await clock.pass(1000);
    peer.wire.cut();
    await clock.pass(0);
  }
  const second = new Fate(shared.wait("a"));
  for (let round = 0; round < 4; round++) {
    await clock.pass(1000);
    peer.wire.cut();
    await clock.pass(0);
  }
  await clock.pass(1000);
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.is(first.text, "unreachable");
  assert.is(second.text, "ok 1");
  assert.equal(moments, Array(10).fill(true));
  await assertReleased(clock, peer, shared);
});

test("L4: a wait right after the first one shares its stream", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);

  const fates = ["a", "b", "a"].map((key) => new Fate(shared.wait(key)));
  await clock.pass(0);

  assert.equal(peer.wires.map(({ sent }) => sent), [["a", "b"]]);
  assert.equal(fates.map(({ text }) => text), ["pending", "pending", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("L5: the end of a stream that nobody needed is no close, and a later wait opens the next", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const first = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.say("a=1");
  peer.wire.hangUp();
  await clock.pass(0);
  assert.is(shared.running, false);

  const second = new Fate(shared.wait("b"));
  await clock.pass(0);
  peer.wire.say("b=2");
  await clock.pass(0);

  assert.equal([first.text, second.text], ["ok 1", "ok 2"]);
  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["b"]]);
  await assertReleased(clock, peer, shared);
});

test("L6: a message that cannot be delivered fails no other waiter and ends no stream", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const told: unknown[] = [];
  const shared = share(clock, peer, {
    deliver: (message, waiters) => {
      if (message === "poison") throw new SyntaxError("no JSON");
      waiters.settle("a", message);
    },
    onUndelivered: (error, message) => told.push(`${String(error)} in ${message}`),
  });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.say("poison");
  await clock.pass(0);
  assert.is(fate.text, "pending");
  peer.wire.say("fine");
  await clock.pass(0);

  assert.is(fate.text, "ok fine");
  assert.equal(told, ["SyntaxError: no JSON in poison"]);
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("L6: a message that cannot be delivered is survived even when nobody wants to know", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, {
    deliver: (message, waiters) => {
      if (message === "poison") throw new SyntaxError("no JSON");
      waiters.settle("a", message);
    },
  });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.say("poison");
  peer.wire.say("fine");
  await clock.pass(0);

  assert.is(fate.text, "ok fine");
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("L6: one key that fails leaves the others waiting", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { deliver: (message, waiters) => waiters.fail(message, new Error("bad output")) });
  const [a, b] = [new Fate(shared.wait("a")), new Fate(shared.wait("b"))];
  await clock.pass(0);

  peer.wire.say("a");
  await clock.pass(0);

  assert.equal([a.text, b.text], ["Error: bad output", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("L7: a message reaches its waiter, and a clean end with nobody waiting is quiet", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const told: StreamStatus[] = [];
  const shared = share(clock, peer, { onStatus: (status) => told.push(status) });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.say("a=1");
  peer.wire.hangUp();
  await clock.pass(60_000);

  assert.is(fate.text, "ok 1");
  assert.equal(told.map(({ state }) => state), ["connecting", "live", "ended"]);
  assert.equal(told.at(-1), { state: "ended" });
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("L8: on an owner that has aborted nothing is opened, and nobody is left waiting", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const reason = new Error("the client is gone");
  const shared = share(clock, peer, { signal: AbortSignal.abort(reason) });

  const fate = new Fate(shared.wait("a"));
  await clock.pass(60_000);

  assert.is(fate.error, reason);
  assert.is(shared.running, false);
  assert.is(peer.wires.length, 0);
  await assertReleased(clock, peer, shared);
});

test("L9: a wait after the linger opens the stream anew", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const first = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(29_999);
  assert.is(shared.running, true);
  await clock.pass(2);
  assert.is(shared.running, false);
  assert.is(peer.open, 0);
  assert.is(clock.asleep, 0);

  const second = new Fate(shared.wait("b"));
  await clock.pass(0);
  peer.wire.say("b=2");
  await clock.pass(0);

  assert.equal([first.text, second.text], ["ok 1", "ok 2"]);
  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["b"]]);
  await assertReleased(clock, peer, shared);
});

test("L10: a clean end with somebody waiting is one reconnect and one replay", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.hangUp();
  await clock.pass(1000);
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.is(fate.text, "ok 1");
  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["a"]]);
  await assertReleased(clock, peer, shared);
});

test("L11: a close while the peer ends the stream opens nothing, and later waits hear that it is closed", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const before = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.hangUp();
  shared.close();
  shared.close();
  const after = new Fate(shared.wait("b"));
  await clock.pass(60_000);

  assert.equal([before.text, after.text], ["closed", "closed"]);
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("L11: a close during the back-off wakes nobody later", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(500);

  shared.close();
  await clock.pass(60_000);

  assert.is(fate.text, "closed");
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("L12: a close without a stream is fine", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);

  shared.close();

  await rejects(shared.wait("a"), (error) => error instanceof StreamError && error.code === "closed");
  assert.is(peer.wires.length, 0);
  await assertReleased(clock, peer, shared);
});

test("L13: a close half-closes the stream", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);
  assert.is(peer.wire.halfClosed, false);

  shared.close();
  await clock.pass(0);

  assert.is(peer.wire.halfClosed, true);
  assert.is(peer.wire.attempt.signal.aborted, true);
  assert.is(fate.text, "closed");
  await assertReleased(clock, peer, shared);
});

test("L14: with the peer down a wait is rejected after its attempts, with what the wire said", async () => {
  const clock = new VirtualClock();
  let opened = 0;
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, {
    setupAttempts: 5,
    open: () => {
      opened++;
      throw refused;
    },
  });

  const fate = new Fate(shared.wait("a"));
  await clock.pass(60_000);

  assert.is(opened, 5);
  assert.ok(fate.error instanceof StreamError);
  assert.equal([fate.error.code, fate.error.attempts, fate.error.cause], ["unreachable", 5, refused]);
  await assertReleased(clock, peer, shared);
});

test("L15: any ending with nobody waiting opens nothing", async () => {
  const clock = new VirtualClock();
  for (const end of ["hangUp", "cut", "canceled", "unknown"] as const) {
    const peer = new Peer<string, string>();
    const shared = share(clock, peer);
    const fate = new Fate(shared.wait("a"));
    await clock.pass(0);
    peer.wire.say("a=1");
    await clock.pass(0);

    if (end === "canceled") peer.wire.status(Code.Canceled);
    else if (end === "unknown") peer.wire.status(Code.Unknown);
    else peer.wire[end]();
    await clock.pass(60_000);

    assert.is(fate.text, "ok 1");
    assert.is(peer.wires.length, 1, end);
    await assertReleased(clock, peer, shared);
  }
});

test("L16: the next attempt replays what is registered, each key once", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fates = [shared.wait("a"), shared.wait("a")].map((wait) => new Fate(wait));
  await clock.pass(0);

  peer.wire.cut();
  await clock.pass(1000);

  assert.equal(peer.wire.sent, ["a"]);
  peer.wire.say("a=1");
  await clock.pass(0);
  assert.equal(fates.map(({ text }) => text), ["ok 1", "ok 1"]);
  await assertReleased(clock, peer, shared);
});

test("L17: nothing below the loop tries again, so an attempt is one call of the opener", async () => {
  const clock = new VirtualClock();
  const numbers: number[] = [];
  const told: StreamStatus[] = [];
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, {
    setupAttempts: 4,
    open: (_, { number }) => {
      numbers.push(number);
      throw refused;
    },
    onStatus: (status) => told.push(status),
  });

  const fate = new Fate(shared.wait("a"));
  await clock.pass(60_000);

  assert.equal(numbers, [1, 2, 3, 4]);
  assert.is(told.filter(({ state }) => state === "connecting").length, 4);
  assert.is(fate.text, "unreachable");
  await assertReleased(clock, peer, shared);
});

test("R1: a request whose attempt ended before it was pulled is sent on the next", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { open: peer.exchange(false) });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.cut();
  await clock.pass(1000);
  await peer.wire.pull();
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.equal(peer.wires.map(({ sent }) => sent), [[], ["a"]]);
  assert.is(fate.text, "ok 1");
  await assertReleased(clock, peer, shared);
});

test("R2: what is registered can be read at once while a connect hangs", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { ready: () => new Promise(() => {}) });

  const fates = ["a", "b"].map((key) => new Fate(shared.wait(key)));
  await clock.pass(100);

  assert.equal([...shared.entries()].map(([key]) => key), ["a", "b"]);
  assert.equal([shared.size, shared.running, shared.connected, peer.wires.length], [2, true, false, 0]);
  assert.equal(fates.map(({ text }) => text), ["pending", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("R3: attempts are flat: five sends are five connects and four waits", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const waits: number[] = [];
  let opened = 0;
  const shared = share(clock, peer, {
    setupAttempts: 5,
    backoff: (failures) => waits.push(failures) * 100,
    open: () => {
      opened++;
      throw refused;
    },
  });

  const error = await clock.drive(rejects(shared.wait("a"), StreamError));

  assert.is(opened, 5);
  assert.equal(waits, [1, 2, 3, 4]);
  assert.is(clock.now(), 1000);
  assert.match(error.message, /5 attempts/);
  await assertReleased(clock, peer, shared);
});

test("R4: a send is given up after its attempts, however each of them failed", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 5, open: peer.exchange(false) });
  const fate = new Fate(shared.wait("a"));
  const ends = [
    () => peer.wire.cut(),
    () => peer.wire.hangUp(),
    () => peer.wire.status(Code.Unavailable),
    () => peer.wire.status(Code.Unknown),
    () => peer.wire.status(Code.Canceled),
  ];

  for (const end of ends) {
    assert.is(fate.text, "pending");
    await clock.pass(1000);
    end();
    await clock.pass(0);
  }

  assert.is(fate.text, "unreachable");
  assert.is(peer.wires.length, 5);
  assert.is(shared.running, false);
  await assertReleased(clock, peer, shared);
});

test("R5: a request that is pulled at the first try needs no second stream", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 5 });

  const waiting = shared.wait("a");
  await clock.pass(0);
  peer.wire.say("a=1");

  assert.is(await clock.drive(waiting), "1");
  assert.equal(peer.wires.map(({ sent }) => sent), [["a"]]);
  await assertReleased(clock, peer, shared);
});

test("R6: with no stream yet a wait opens one, and with none ever to come it fails at once", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  assert.is(shared.running, false);

  const first = new Fate(shared.wait("a"));
  assert.is(shared.running, true);
  shared.close();
  const second = new Fate(shared.wait("b"));
  await clock.pass(0);

  assert.equal([first.text, second.text], ["closed", "closed"]);
  await assertReleased(clock, peer, shared);
});

test("R9: attempts are numbered one after another", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fate = new Fate(shared.wait("a"));

  for (let cut = 0; cut < 2; cut++) {
    await clock.pass(1000);
    peer.wire.cut();
  }
  await clock.pass(1000);

  assert.equal(peer.wires.map(({ attempt }) => attempt.number), [1, 2, 3]);
  assert.is(fate.text, "pending");
  await assertReleased(clock, peer, shared);
});

test("R10: a request goes out on the newest stream and on no other", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fates = [new Fate(shared.wait("a"))];
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(1000);

  fates.push(new Fate(shared.wait("b")));
  await clock.pass(0);

  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["a", "b"]]);
  assert.equal(fates.map(({ text }) => text), ["pending", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("R11: while a stream is set up, five attempts are all that a wait is given", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  let dialled = 0;
  const shared = share(clock, peer, {
    setupAttempts: 5,
    ready: () => {
      dialled++;
      return Promise.reject(refused);
    },
  });

  const error = await clock.drive(rejects(shared.wait("a"), StreamError));

  assert.is(error.code, "unreachable");
  assert.is(dialled, 5);
  assert.is(peer.wires.length, 0);
  await assertReleased(clock, peer, shared);
});

test("R12: whoever asks while another has replaced the stream is sent on it, without a connect", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { open: peer.exchange(false) });
  const fates = ["a", "b"].map((key) => new Fate(shared.wait(key)));
  await clock.pass(0);
  await peer.wire.pull();
  peer.wire.cut();
  await clock.pass(1000);

  fates.push(new Fate(shared.wait("c")));
  void peer.wire.drain();
  await clock.pass(0);

  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["a", "b", "c"]]);
  assert.equal(fates.map(({ text }) => text), ["pending", "pending", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("R13: however many streams want to connect, one connect is in flight", async () => {
  const clock = new VirtualClock();
  const gate = new Gate({ clock, random: seeded(13) });
  const life = new AbortController();
  const session: Connection = { alive: true };
  let dialling = 0;
  let most = 0;
  let dialled = 0;
  const ready = async (signal: AbortSignal): Promise<Connection> => {
    dialled++;
    most = Math.max(most, ++dialling);
    await clock.sleep(700, signal).finally(() => dialling--);
    return session;
  };
  const peers = [new Peer<string, string>(), new Peer<string, string>()];
  const shareds = peers.map((peer) => share(clock, peer, { gate, ready }));
  const other = new Peer<string, string>();
  const background = reconnect<string>((attempt) => other.exchange()((async function* () {})(), attempt), {
    clock,
    gate,
    ready,
    signal: life.signal,
  });

  const ended = new Fate(background.next().then(({ value }) => String(value)));
  const fates = shareds.flatMap((shared) => ["a", "b"].map((key) => new Fate(shared.wait(key))));
  await clock.pass(60_000);
  for (const { wire } of [...peers, other]) wire.cut();
  await clock.pass(120_000);

  assert.is(most, 1);
  assert.is(dialled, 6);
  assert.equal(peers.map(({ wire }) => wire.sent.slice(0, 2)), [["a", "b"], ["a", "b"]]);
  assert.ok(fates.every(({ text }) => text === "pending"));
  life.abort("done");
  await clock.pass(0);
  assert.is(ended.text, "done");
  for (const shared of shareds) shared.close();
  await clock.pass(0);
  assert.equal([...peers, other].map(({ open }) => open), [0, 0, 0]);
  assert.is(clock.asleep, 0);
});

test("R14: a peer that refuses for good is not asked five times, and every waiter hears why", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 5, open: peer.exchange(false) });
  const fates = ["a", "a", "b"].map((key) => new Fate(shared.wait(key)));
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(1000);

  peer.wire.status(Code.Unauthenticated);
  await clock.pass(60_000);

  assert.equal(fates.map(({ text }) => text), ["refused", "refused", "refused"]);
  assert.ok(fates[0]?.error instanceof StreamError);
  assert.is((fates[0].error.cause as ConnectError).code, Code.Unauthenticated); // What the peer said, untouched.
  assert.is(peer.wires.length, 2);
  await assertReleased(clock, peer, shared);
});

test("R14: a send on a closed listener is refused as closed", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { open: peer.exchange(false) });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(0);

  shared.close();
  await clock.pass(60_000);

  assert.is(fate.text, "closed");
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("I1: after the peer's own Canceled a key is on the next stream and its message arrives", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.status(Code.Canceled);
  await clock.pass(1000);
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["a"]]);
  assert.is(fate.text, "ok 1");
  await assertReleased(clock, peer, shared);
});

test("I2: a key that joins while the replay is parked is on the replacement, beside the older one", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { open: peer.exchange(false) });
  const fates = [new Fate(shared.wait("a"))];
  await clock.pass(0);
  await peer.wire.pull();
  peer.wire.hangUp();
  await clock.pass(1000);

  fates.push(new Fate(shared.wait("b")));
  await clock.pass(5000);
  assert.equal(peer.wire.sent, []);
  void peer.wire.drain();
  await clock.pass(0);
  fates.push(new Fate(shared.wait("c")));
  await clock.pass(0);

  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["a", "b", "c"]]);
  for (const key of "cab") peer.wire.say(`${key}=${key}`);
  await clock.pass(0);
  assert.equal(fates.map(({ text }) => text), ["ok a", "ok b", "ok c"]);
  await assertReleased(clock, peer, shared);
});

test("a key that joins in the middle of a replay is sent once, behind it", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { open: peer.exchange(false) });
  const fates = ["a", "b"].map((key) => new Fate(shared.wait(key)));
  await clock.pass(0);

  await peer.wire.pull();
  fates.push(new Fate(shared.wait("c")));
  void peer.wire.drain();
  await clock.pass(0);

  assert.equal(peer.wire.sent, ["a", "b", "c"]);
  assert.equal(fates.map(({ text }) => text), ["pending", "pending", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("a key that leaves in the middle of a replay and comes back is sent", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { open: peer.exchange(false) });
  const leaver = new AbortController();
  const fates = [new Fate(shared.wait("a")), new Fate(shared.wait("b", leaver.signal))];
  await clock.pass(0);

  await peer.wire.pull();
  leaver.abort("left");
  fates.push(new Fate(shared.wait("b")));
  void peer.wire.drain();
  await clock.pass(0);

  assert.equal(peer.wire.sent, ["a", "b"]);
  assert.equal(fates.map(({ text }) => text), ["pending", "left", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("S10: whoever comes during a reconnect takes the stream that is being made", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fates = [new Fate(shared.wait("a"))];
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(500);

  fates.push(new Fate(shared.wait("b")), new Fate(shared.wait("a")));
  await clock.pass(500);
  peer.wire.say("b=2");
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["a", "b"]]);
  assert.equal(fates.map(({ text }) => text), ["ok 1", "ok 2", "ok 1"]);
  await assertReleased(clock, peer, shared);
});

test("S11: a stream that ends is half-closed, and its successor is not", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.cut();
  await clock.pass(1000);

  assert.equal(peer.wires.map(({ halfClosed }) => halfClosed), [true, false]);
  assert.equal(peer.wires.map(({ attempt }) => attempt.signal.aborted), [true, false]);
  assert.is(fate.text, "pending");
  await assertReleased(clock, peer, shared);
});

test("two waiters for one key share its request and its answer", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fates = [new Fate(shared.wait("a"))];
  await clock.pass(5000);

  fates.push(new Fate(shared.wait("a")));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.equal(peer.wire.sent, ["a"]);
  assert.equal(fates.map(({ text }) => text), ["ok 1", "ok 1"]);
  await assertReleased(clock, peer, shared);
});

test("a waiter that aborts disturbs nobody: neither its twin, nor the stream, nor its neighbours", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const leaver = new AbortController();
  const reason = { my: "own" };
  const left = new Fate(shared.wait("a", leaver.signal));
  const stayed = [new Fate(shared.wait("a")), new Fate(shared.wait("b"))];
  await clock.pass(0);

  leaver.abort(reason);
  await clock.pass(0);
  peer.wire.say("a=1");
  peer.wire.say("b=2");
  await clock.pass(0);

  assert.is(left.error, reason);
  assert.equal(stayed.map(({ text }) => text), ["ok 1", "ok 2"]);
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("a waiter that aborts during the back-off hears at once, and the others come back as planned", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const leaver = new AbortController();
  const left = new Fate(shared.wait("a", leaver.signal));
  const stayed = new Fate(shared.wait("b"));
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(400);

  leaver.abort("left");
  await clock.pass(0);
  assert.is(left.text, "left");
  await clock.pass(600);

  assert.equal(peer.wires.map(({ sent }) => sent), [["a", "b"], ["b"]]);
  assert.is(stayed.text, "pending");
  await assertReleased(clock, peer, shared);
});

test("a waiter whose signal has aborted opens nothing", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);

  const fate = new Fate(shared.wait("a", AbortSignal.abort("never mind")));
  await clock.pass(0);

  assert.is(fate.text, "never mind");
  assert.equal([shared.size, shared.running, peer.wires.length], [0, false, 0]);
  await assertReleased(clock, peer, shared);
});

test("ten thousand waiters outlive cuts, are replayed in the order in which they came, and all settle", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 5 });
  const keys = Array.from({ length: 10_000 }, (_, index) => `run ${index}`);
  let settled = 0;
  const results = Promise.all(keys.map(async (key) => {
    const value = await shared.wait(key);
    settled++;
    return value;
  }));
  await clock.pass(0);
  peer.wire.headers();

  for (let cut = 0; cut < 7; cut++) {
    peer.wire.cut();
    await clock.pass(1000);
    assert.equal(peer.wire.sent, keys);
  }
  for (const key of keys) peer.wire.say(`${key}=${key}`);

  assert.equal(await clock.drive(results), keys);
  assert.is(settled, 10_000);
  assert.is(peer.wires.length, 8);
  await assertReleased(clock, peer, shared);
});

test("the stream lingers after the last waiter, and a waiter within that time takes it over", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { lingerMs: 5000 });
  const first = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(4000);

  const second = new Fate(shared.wait("b"));
  await clock.pass(60_000);
  assert.is(peer.wires.length, 1);
  assert.is(shared.running, true);
  peer.wire.say("b=2");
  await clock.pass(4999);
  assert.is(shared.running, true);
  await clock.pass(2);

  assert.is(shared.running, false);
  assert.is(peer.open, 0);
  assert.equal([first.text, second.text], ["ok 1", "ok 2"]);
  assert.ok(peer.wire.sent.includes("b"));
  await assertReleased(clock, peer, shared);
});

test("the linger counts from the last one to leave, aborted waiters among them", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { lingerMs: 5000 });
  const leaver = new AbortController();
  const fates = [new Fate(shared.wait("a")), new Fate(shared.wait("b", leaver.signal))];
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(10_000);

  leaver.abort("left");
  await clock.pass(4999);
  assert.is(shared.running, true);
  await clock.pass(2);

  assert.is(shared.running, false);
  assert.equal(fates.map(({ text }) => text), ["ok 1", "left"]);
  await assertReleased(clock, peer, shared);
});

test("neither the linger nor the re-assertion keeps the process alive, and the back-off of a waiter does", async () => {
  const clock = new VirtualClock();
  const held: number[] = [];
  const free = new Set<number>();
  const watching = Object.assign(Object.create(clock), {
    now: () => clock.now(),
    sleep: (ms: number, signal?: AbortSignal, options?: { readonly ref?: boolean }) => {
      if (options?.ref === false) free.add(Math.round(ms));
      else held.push(ms);
      return clock.sleep(ms, signal);
    },
  }) as VirtualClock; // The same clock, with somebody watching.
  const peer = new Peer<string, string>();
  const shared = share(watching, peer, { lingerMs: 7777 });

  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(2000);
  peer.wire.say("a=1");
  await clock.pass(100);

  assert.is(fate.text, "ok 1");
  assert.equal(held, [1000]);
  assert.ok(free.has(7777));
  await assertReleased(clock, peer, shared);
});

test("a waiter that comes as the linger ends is on a stream all the same", async () => {
  for (const lateMs of [4999, 5000, 5001]) {
    const clock = new VirtualClock();
    const peer = new Peer<string, string>();
    const shared = share(clock, peer, { lingerMs: 5000 });
    const first = new Fate(shared.wait("a"));
    await clock.pass(0);
    peer.wire.say("a=1");
    await clock.pass(0);

    const second = clock.sleep(lateMs).then(() => shared.wait("b"));
    await clock.pass(6000);
    peer.wire.say("b=2");

    assert.is(await clock.drive(second), "2", `after ${lateMs} ms`);
    assert.is(first.text, "ok 1");
    assert.is(peer.wires.length, lateMs < 5000 ? 1 : 2);
    await assertReleased(clock, peer, shared);
  }
});

test("a waiter that comes while its stream ends of itself is on the next", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  let late: Fate | undefined;
  const shared = share(clock, peer, {
    onStatus: ({ state }) => {
      if (state === "ended") late ??= new Fate(shared.wait("b"));
    },
  });
  const first = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(0);

  peer.wire.hangUp();
  await clock.pass(0);
  peer.wire.say("b=2");
  await clock.pass(0);

  assert.equal([first.text, late?.text], ["ok 1", "ok 2"]);
  assert.equal(peer.wires.map(({ sent }) => sent), [["a"], ["b"]]);
  await assertReleased(clock, peer, shared);
});

test("every waiter has attempts of its own: whoever comes late is not charged for those before", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 5 });
  const fate = (key: string) => new Fate(shared.wait(key));
  const fail = async () => {
    await clock.pass(1000);
    peer.wire.cut();
    await clock.pass(0);
  };

  const early = fate("a");
  for (let failed = 0; failed < 3; failed++) await fail();
  const late = [fate("a"), fate("b")];
  for (let failed = 0; failed < 2; failed++) await fail();
  assert.equal([early, ...late].map(({ text }) => text), ["unreachable", "pending", "pending"]);
  for (let failed = 0; failed < 2; failed++) await fail();
  assert.equal(late.map(({ text }) => text), ["pending", "pending"]);
  await fail();

  assert.equal(late.map(({ text }) => text), ["unreachable", "unreachable"]);
  assert.is(peer.wires.length, 8);
  assert.is(shared.running, false);
  await assertReleased(clock, peer, shared);
});

test("whoever is in stays in, whatever it takes", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 2, maxSuspects: Infinity });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.headers();

  for (let cut = 0; cut < 50; cut++) {
    peer.wire.cut();
    await clock.pass(1000);
  }

  assert.is(fate.text, "pending");
  peer.wire.say("a=1");
  await clock.pass(0);
  assert.is(fate.text, "ok 1");
  await assertReleased(clock, peer, shared);
});

test("a wait is in at once after any stream was live, also one that has ended long ago", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 1 });
  const first = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(60_000);
  assert.is(shared.running, false);

  const second = new Fate(shared.wait("b"));
  for (let cut = 0; cut < 8; cut++) {
    await clock.pass(1000);
    peer.wire.cut();
  }

  await clock.pass(1000);
  assert.equal([first.text, second.text], ["ok 1", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("an attempt that was opened and accepted nothing lets nobody in", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 2 });
  const fate = new Fate(shared.wait("a"));

  for (let cut = 0; cut < 2; cut++) {
    await clock.pass(1000);
    assert.is(shared.connected, false);
    peer.wire.cut();
    await clock.pass(0);
  }

  assert.is(fate.text, "unreachable");
  await assertReleased(clock, peer, shared);
});

test("an attempt that outlives its sending by 250 ms lets in whom it carries, where the sending is told", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const session: Connection = { alive: true };
  const shared = share(clock, peer, { setupAttempts: 1, ready: () => Promise.resolve(session) });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(249);
  assert.is(shared.connected, false);
  await clock.pass(2);
  assert.is(shared.connected, true);

  peer.wire.cut();
  await clock.pass(0);
  assert.is(shared.connected, false);
  await clock.pass(1000);

  assert.is(fate.text, "pending");
  assert.is(peer.wires.length, 2);
  await assertReleased(clock, peer, shared);
});

test("whoever joins a stream that was let in is in, even when the peer has said nothing yet", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const session: Connection = { alive: true };
  const shared = share(clock, peer, { setupAttempts: 1, ready: () => Promise.resolve(session) });
  const fates = [new Fate(shared.wait("a"))];
  await clock.pass(300);

  fates.push(new Fate(shared.wait("b")));
  peer.wire.cut();
  await clock.pass(1000);

  assert.equal(fates.map(({ text }) => text), ["pending", "pending"]);
  assert.equal(peer.wire.sent, ["a", "b"]);
  await assertReleased(clock, peer, shared);
});

test("what no retry can mend rejects all, and a later wait opens anew", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fates = ["a", "b"].map((key) => new Fate(shared.wait(key)));
  await clock.pass(0);
  peer.wire.status(Code.PermissionDenied);
  await clock.pass(0);
  assert.equal(fates.map(({ text }) => text), ["refused", "refused"]);
  assert.is(shared.running, false);

  const later = new Fate(shared.wait("c"));
  await clock.pass(0);
  peer.wire.say("c=3");
  await clock.pass(0);

  assert.is(later.text, "ok 3");
  assert.equal(peer.wires.map(({ sent }) => sent), [["a", "b"], ["c"]]);
  await assertReleased(clock, peer, shared);
});

test("a peer that ends ten streams without a word has stalled, and all hear it", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fate = new Fate(shared.wait("a"));

  for (let round = 0; round < 10; round++) {
    assert.is(fate.text, "pending");
    await clock.pass(1000);
    peer.wire.status(Code.Unknown);
    await clock.pass(0);
  }

  assert.is(fate.text, "stalled");
  assert.is(peer.wires.length, 10);
  await assertReleased(clock, peer, shared);
});

test("what the caller's own code throws reaches every waiter as it is", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const mistake = new TypeError("undefined is not a function");
  const plain = share(clock, peer, {
    open: () => {
      throw mistake;
    },
  });
  const wrapped = share(clock, peer, {
    open: () => {
      throw new ConnectError("[internal] undefined is not a function", Code.Internal, undefined, undefined, mistake);
    },
  });

  const fates = [plain.wait("a"), plain.wait("b"), wrapped.wait("a")].map((wait) => new Fate(wait));
  await clock.pass(60_000);

  for (const { error } of fates) assert.is(error, mistake);
  await assertReleased(clock, peer, plain);
  await assertReleased(clock, peer, wrapped);
});

test("a key that no request can be made of is its own waiter's error, and on no stream", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, {
    request: (key) => {
      if (key === "bad") throw new TypeError("no such key");
      return key;
    },
  });
  const good = new Fate(shared.wait("a"));
  await clock.pass(0);

  const bad = new Fate(shared.wait("bad"));
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(60_000);

  assert.is(bad.text, "TypeError: no such key");
  assert.is(good.text, "pending");
  assert.equal([...shared.entries()].map(([key]) => key), ["a"]);
  assert.equal(new Set(peer.wires.flatMap(({ sent }) => sent)), new Set(["a"]));
  await assertReleased(clock, peer, shared);
});

test("the owner's signal ends the stream and rejects all with its own reason", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const owner = new AbortController();
  const reason = { why: "shutting down" };
  const shared = share(clock, peer, { signal: owner.signal });
  const fates = [new Fate(shared.wait("a")), new Fate(shared.wait("b"))];
  await clock.pass(0);

  owner.abort(reason);
  await clock.pass(0);

  for (const { error } of fates) assert.is(error, reason);
  assert.is(peer.open, 0);
  assert.is(clock.asleep, 0);
  const late = new Fate(shared.wait("c"));
  await clock.pass(0);
  assert.is(late.error, reason);
  await assertReleased(clock, peer, shared);
});

test("a listener's own verdict decorates the usual one and is asked once an ending", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const asked: string[] = [];
  const shared = share(clock, peer, {
    judge: (verdict, { error }) => {
      asked.push(`${verdict} ${(error as ConnectError).code}`); // Nothing else is thrown here.
      return verdict === "fatal" ? Promise.resolve("transient") : verdict;
    },
  });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.status(Code.Unauthenticated);
  await clock.pass(1000);
  peer.wire.status(Code.Canceled);
  await clock.pass(1000);
  peer.wire.say("a=1");
  peer.wire.status(Code.Canceled);
  await clock.pass(0);

  assert.is(fate.text, "ok 1");
  assert.equal(asked, [`fatal ${Code.Unauthenticated}`, `transient ${Code.Canceled}`, `end ${Code.Canceled}`]);
  await assertReleased(clock, peer, shared);
});

test("a listener's verdict that ends the stream leaves nobody waiting and opens nothing", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { judge: () => "end" });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.cut(refused);
  await clock.pass(60_000);

  assert.is(fate.text, "closed");
  assert.is((fate.error as StreamError).cause, refused); // It is a StreamError: its code was read above.
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("whoever gave options is told of status and of being let in", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const told: string[] = [];
  const shared = share(clock, peer, {
    onStatus: ({ state }) => told.push(state),
    onIn: () => told.push("in"),
  });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);

  peer.wire.headers();
  peer.wire.cut();
  await clock.pass(1000);

  assert.equal(told, ["connecting", "in", "live", "waiting", "connecting"]);
  assert.is(fate.text, "pending");
  await assertReleased(clock, peer, shared);
});

test("options that make no sense are refused before anything is opened", () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();

  assert.throws(() => share(clock, peer, { lingerMs: 0 }), /lingerMs must be above 0, got 0/);
  assert.throws(() => share(clock, peer, { reassertMs: NaN }), /reassertMs must be above 0, got NaN/);
  assert.throws(() => share(clock, peer, { setupAttempts: -1 }), /setupAttempts must be above 0, got -1/);
  assert.is(peer.wires.length, 0);
});

test("a request that cannot be made is its own waiter's error, and leaves nothing on the waiter's signal", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const caller = watched();
  const shared = share(clock, peer, {
    request: (key) => {
      if (key === "bad") throw new TypeError("no such key");
      return key;
    },
  });

  const good = new Fate(shared.wait("good"));
  const bad = new Fate(shared.wait("bad", caller.signal));
  await clock.pass(0);

  assert.is(bad.text, "TypeError: no such key");
  assert.is(good.text, "pending");
  assert.is(caller.listening(), 0);
  await assertReleased(clock, peer, shared);
});

test.run();
