import { Rounds } from "../../src/streams/rounds.ts";
import { seeded, VirtualClock } from "../../src/testing/mod.ts";
import { assert, suite } from "../harness.ts";
import { Peer } from "./peer.ts";
import { assertReleased, Fate, share } from "./shared.ts";

const test = suite("rounds");

/** When each key came up, from a time on. */
function visits(clock: VirtualClock, rounds: Rounds<string>, life: AbortSignal): Map<string, number[]> {
  const seen = new Map<string, number[]>();
  rounds.run((keys) => {
    for (const key of keys) seen.set(key, [...seen.get(key) ?? [], clock.now()]);
    return true;
  }, life);
  return seen;
}

function gaps(times: readonly number[] = []): number[] {
  return times.slice(1).map((time, index) => time - (times[index] ?? 0));
}

test("one key comes up every 30 s, give or take a fifth, and not by the same clock", async () => {
  const clock = new VirtualClock();
  const rounds = new Rounds<string>({ clock, random: seeded(1), roundMs: 30_000 });
  const life = new AbortController();
  rounds.add("a");

  const seen = visits(clock, rounds, life.signal);
  await clock.pass(600_000);
  life.abort();

  const between = gaps(seen.get("a"));
  assert.ok(between.length >= 16 && between.length <= 25, `${between.length} rounds`);
  assert.ok(between.every((ms) => ms >= 23_999 && ms <= 36_001), String(between));
  assert.ok(Math.max(...between) - Math.min(...between) > 3000, String(between));
  await clock.pass(0);
  assert.is(clock.asleep, 0);
});

test("ten thousand keys all come up within a round, never more than a twentieth of them at once", async () => {
  const clock = new VirtualClock();
  const rounds = new Rounds<string>({ clock, random: seeded(2), roundMs: 30_000 });
  const life = new AbortController();
  const count = new Map<string, number>();
  const bursts: number[] = [];
  for (let key = 0; key < 10_000; key++) rounds.add(String(key));

  rounds.run((keys) => {
    bursts.push(keys.size);
    for (const key of keys) count.set(key, (count.get(key) ?? 0) + 1);
    return true;
  }, life.signal);
  await clock.pass(36_000);
  life.abort();

  assert.is(count.size, 10_000);
  assert.ok(Math.max(...count.values()) <= 2);
  assert.ok(Math.max(...bursts) <= 10_000 / 20, String(bursts));
  assert.ok(Math.min(...bursts) >= 10_000 / 60, String(bursts));
});

test("a few keys are spread over the round, too", async () => {
  const clock = new VirtualClock();
  const rounds = new Rounds<string>({ clock, random: () => 0.5, roundMs: 30_000 });
  const life = new AbortController();
  for (const key of "abcde") rounds.add(key);

  const seen = visits(clock, rounds, life.signal);
  await clock.pass(30_000);
  life.abort();

  const times = [...seen.values()].map(([first = NaN]) => first).sort((a, b) => a - b);
  assert.is(times.length, 5);
  assert.ok(gaps(times).every((ms) => ms >= 2000), String(times));
});

test("a key waits no longer than a round, however many come and go beside it", async () => {
  const clock = new VirtualClock();
  const random = seeded(3);
  const rounds = new Rounds<string>({ clock, random, roundMs: 30_000 });
  const life = new AbortController();
  rounds.add("old");
  const seen = visits(clock, rounds, life.signal);

  for (let second = 0; second < 300; second++) {
    for (let key = 0; key < 20; key++) rounds.add(`${second}/${key}`);
    if (second > 0) { for (let key = 0; key < 20; key++) rounds.delete(`${second - 1}/${key}`); }
    await clock.pass(1000);
  }
  life.abort();

  const times = [0, ...seen.get("old") ?? [], clock.now()];
  assert.ok(gaps(times).every((ms) => ms <= 36_001), String(times));
});

test("a key waits no longer than a round when almost all others leave", async () => {
  const clock = new VirtualClock();
  const rounds = new Rounds<string>({ clock, random: () => 0.5, roundMs: 30_000 });
  const life = new AbortController();
  const keys = Array.from({ length: 1000 }, (_, index) => String(index));
  for (const key of keys) rounds.add(key);
  const seen = visits(clock, rounds, life.signal);

  await clock.pass(15_000);
  const rest = keys.filter((key) => !seen.has(key)).slice(0, 20);
  for (const key of keys) if (!rest.includes(key)) rounds.delete(key);
  await clock.pass(15_001);
  life.abort();

  assert.is(rest.length, 20);
  assert.ok(rest.every((key) => seen.has(key)));
});

test("a visit that cannot be made is made up for, and the others wait their turn behind it", async () => {
  const clock = new VirtualClock();
  const rounds = new Rounds<string>({ clock, random: () => 0.5, roundMs: 30_000 });
  const life = new AbortController();
  for (let key = 0; key < 30; key++) rounds.add(String(key));
  let able = false;
  const seen: string[] = [];
  rounds.run((keys) => {
    if (able) seen.push(...keys);
    return able;
  }, life.signal);

  await clock.pass(100_000);
  able = true;
  await clock.pass(30_000);
  life.abort();

  assert.is(seen.length, 30);
  assert.is(new Set(seen).size, 30);
});

test("a visit that could not be made is made next", async () => {
  const clock = new VirtualClock();
  const rounds = new Rounds<string>({ clock, random: () => 0.5, roundMs: 30_000 });
  const life = new AbortController();
  for (let key = 0; key < 30; key++) rounds.add(String(key));
  const tried: string[] = [];
  rounds.run((keys) => {
    tried.push(...keys);
    return tried.length !== 3;
  }, life.signal);

  await clock.pass(4000);
  life.abort();

  assert.is(tried.length, 4);
  assert.is(tried[3], tried[2]);
});

test("every key on a stream is asked for again within 30 s, give or take a fifth", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { random: seeded(4) });
  const keys = Array.from({ length: 10_000 }, (_, index) => `k${index}`);
  const fates = keys.map((key) => new Fate(shared.wait(key)));
  await clock.pass(0);
  peer.wire.headers();
  const { sent } = peer.wire;
  assert.is(sent.length, 10_000);

  for (let second = 0; second < 36; second++) {
    const before = sent.length;
    await clock.pass(1000);
    assert.ok(sent.length - before <= 10_000 / 14, `${sent.length - before} in one second`);
  }

  assert.equal(new Set(sent.slice(10_000)), new Set(keys));
  assert.ok(sent.length <= 25_100, String(sent.length));
  assert.ok(fates.every(({ text }) => text === "pending"));
  await assertReleased(clock, peer, shared);
});

test("whatever is asked for anew is still waited for", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer);
  const fates = ["a", "b"].map((key) => new Fate(shared.wait(key)));
  await clock.pass(0);
  peer.wire.say("a=1");
  await clock.pass(120_000);

  assert.is(peer.wire.sent.filter((key) => key === "a").length, 1);
  assert.is(peer.wire.sent.filter((key) => key === "b").length, 5);
  assert.equal(fates.map(({ text }) => text), ["ok 1", "pending"]);
  await assertReleased(clock, peer, shared);
});

test("a peer that takes no requests for an hour is not sent an hour's worth of them afterwards", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  const shared = share(clock, peer, { open: peer.exchange(false) });
  const fates = Array.from({ length: 30 }, (_, index) => new Fate(shared.wait(`k${index}`)));
  await clock.pass(0);
  peer.wire.headers();
  for (let pulled = 0; pulled < 30; pulled++) await peer.wire.pull();
  const parked = peer.wire.pull();
  await clock.pass(3_600_000);

  await parked;
  void peer.wire.drain();
  await clock.pass(0);

  assert.is(peer.wire.sent.length, 31);
  assert.ok(fates.every(({ text }) => text === "pending"));
  await assertReleased(clock, peer, shared);
});

test.run();
