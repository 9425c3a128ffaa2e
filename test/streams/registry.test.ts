import { Code } from "@connectrpc/connect";
import { seeded, VirtualClock } from "../../src/testing/mod.ts";
import { assert, suite } from "../harness.ts";
import { counted } from "./counted.ts";
import { Peer } from "./peer.ts";
import { assertReleased, Fate, share } from "./shared.ts";

const test = suite("registry");

test("K1: a waiter that settled and aborts later does not take the newer waiter of its key along", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const stale = new AbortController();
  const older = new Fate(shared.wait("a", stale.signal));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(0);

  const newer = new Fate(shared.wait("a"));
  stale.abort("stale");
  await clock.pass(0);
  assert.is(shared.size, 1);
  peer.wire.say("a=2");
  await clock.pass(0);

  assert.equal([older.text, newer.text], ["ok 1", "ok 2"]);
  await assertReleased(clock, peer, shared);
});

test("K2: even when both waited under one signal, what is removed is the waiter and not its key", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const leaver = new AbortController();
  const one = new Fate(shared.wait("a", leaver.signal));
  const other = new Fate(shared.wait("a"));
  const both = new Fate(shared.wait("a", leaver.signal));
  await clock.pass(0);

  leaver.abort("left");
  leaver.abort("left twice");
  await clock.pass(0);
  assert.equal([...shared.entries()].map(([key, { waiters }]) => [key, waiters.length]), [["a", 1]]);
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.equal([one.text, other.text, both.text], ["left", "ok 1", "left"]);
  await assertReleased(clock, peer, shared);
});

test("K3: a close fails everybody, of every key, and empties the registry at once", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fates = ["a", "a", "b"].map((key) => new Fate(shared.wait(key)));
  await clock.pass(0);

  shared.close();
  assert.is(shared.size, 0);
  await clock.pass(0);

  assert.equal(fates.map(({ text }) => text), ["closed", "closed", "closed"]);
  await assertReleased(clock, peer, shared);
});

test("K4: a failure of all spares whoever registers meanwhile", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const again = shared.wait("a").catch(() => shared.wait("a"));
  const fates = [new Fate(again), new Fate(shared.wait("b"))];
  await clock.pass(0);

  peer.wire.status(Code.NotFound);
  await clock.pass(0);
  assert.equal([...shared.entries()].map(([key]) => key), ["a"]);
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.equal(fates.map(({ text }) => text), ["ok 1", "refused"]);
  assert.equal(peer.wires.map(({ sent }) => sent), [["a", "b"], ["a"]]);
  await assertReleased(clock, peer, shared);
});

test("K4: attempts used up take those whose attempts they were, and spare their key's later waiters", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { setupAttempts: 2 });
  const early = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.cut();
  await clock.pass(1000);
  const late = new Fate(shared.wait("a"));

  peer.wire.cut();
  await clock.pass(1000);

  assert.equal([early.text, late.text], ["unreachable", "pending"]);
  assert.equal(peer.wire.sent, ["a"]);
  await assertReleased(clock, peer, shared);
});

test("K5: no two waiters are ever one, however alike they ask", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const leavers = Array.from({ length: 100 }, () => new AbortController());
  const fates = leavers.map(({ signal }) => new Fate(shared.wait("a", signal)));
  await clock.pass(0);

  for (const [index, leaver] of leavers.entries()) if (index !== 42) leaver.abort(index);
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(0);

  assert.equal(fates.map(({ text }) => text), leavers.map((_, index) => (index === 42 ? "ok 1" : String(index))));
  await assertReleased(clock, peer, shared);
});

test("K6: 500 waits, answers, leaves and looks in any order lose nothing", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const random = seeded(6);
  const fates = new Map<string, Fate>();
  const leaving = new Map<string, AbortController>();

  for (let round = 0; round < 500; round++) {
    const key = `k${round}`;
    const leaver = new AbortController();
    fates.set(key, new Fate(shared.wait(key, leaver.signal)));
    leaving.set(key, leaver);
    for (const [seen] of shared.entries()) {
      const drawn = random();
      if (drawn < 0.01) shared.settle(seen, seen);
      else if (drawn < 0.02) leaving.get(seen)?.abort("left");
    }
    if (round % 50 === 0) await clock.pass(10);
  }
  await clock.pass(0);

  const registered = [...shared.entries()].map(([key]) => key);
  const pending = [...fates].filter(([, { text }]) => text === "pending").map(([key]) => key);
  assert.equal(registered, pending);
  assert.ok(pending.length > 10 && pending.length < 490);
  for (const [key, { text }] of fates) assert.ok(["pending", "left", `ok ${key}`].includes(text), `${key}: ${text}`);
  for (const key of pending) assert.ok(peer.wire.sent.includes(key), `${key} was never sent`);
  await assertReleased(clock, peer, shared);
});

test("K7: a stream is not let go while work is registered, and is when there is none", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { lingerMs: 1000 });
  const first = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(999);

  const second = new Fate(shared.wait("b"));
  await clock.pass(10_000);
  assert.equal([shared.running, peer.wires.length], [true, 1]);
  peer.wire.say("b=2");
  await clock.pass(1001);

  assert.equal([first.text, second.text], ["ok 1", "ok 2"]);
  assert.equal([shared.running, peer.open], [false, 0]);
  await assertReleased(clock, peer, shared);
});

test("what nobody waits for can be settled and failed without a trace", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);

  shared.settle("nobody", "1");
  shared.fail("nobody", new Error("unheard"));
  await clock.pass(0);
  assert.equal([shared.size, shared.running, clock.asleep], [0, false, 0]);
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.say("nobody=1");
  peer.wire.say("a=1");
  peer.wire.say("a=2");
  await clock.pass(0);

  assert.is(fate.text, "ok 1");
  assert.is(peer.wires.length, 1);
  await assertReleased(clock, peer, shared);
});

test("an unknown key that is settled does not put off the end of the linger", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { lingerMs: 1000 });
  const fate = new Fate(shared.wait("a"));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(600);

  peer.wire.say("nobody=1");
  await clock.pass(401);

  assert.is(fate.text, "ok 1");
  assert.is(shared.running, false);
  await assertReleased(clock, peer, shared);
});

test("the registry tells since when a key is waited for, the oldest first", async () => {
  const clock = new VirtualClock(5000);
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fates = [new Fate(shared.wait("a"))];
  await clock.pass(100);
  fates.push(new Fate(shared.wait("b")));
  await clock.pass(100);
  fates.push(new Fate(shared.wait("a")));

  const seen = [...shared.entries()].map(([key, { sinceMs, waiters }]) => [key, sinceMs, waiters.length]);

  assert.equal(seen, [["a", 5000, 2], ["b", 5100, 1]]);
  assert.equal(fates.map(({ text }) => text), ["pending", "pending", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("whoever settled or left listens to no signal any more", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const caller = counted();
  const { signal } = caller;

  const fates = Array.from({ length: 50 }, (_, index) => new Fate(shared.wait(`k${index}`, signal)));
  await clock.pass(0);
  assert.is(caller.listening, 1);
  for (let index = 0; index < 25; index++) peer.wire.say(`k${index}=1`);
  await clock.pass(0);
  assert.is(caller.listening, 1);
  for (let index = 25; index < 40; index++) shared.fail(`k${index}`, new Error("no"));
  assert.is(caller.listening, 1);
  shared.close();

  assert.is(caller.listening, 0);
  caller.abort("late");
  await clock.pass(0);
  assert.ok(fates.every(({ text }) => text !== "pending" && text !== "late"));
  await assertReleased(clock, peer, shared);
});

test.run();
