import { Outbox } from "../../src/streams/mod.ts";
import { VirtualClock } from "../../src/testing/mod.ts";
import { assert, suite } from "../harness.ts";
import { counted } from "./counted.ts";
import { collected } from "./garbage.ts";
import { Peer } from "./peer.ts";
import { assertReleased, Fate, share } from "./shared.ts";

const test = suite("outbox");
const done = { done: true, value: undefined };

async function rest<T>(outbox: Outbox<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of outbox) items.push(item);
  return items;
}

test("R7: ten senders never overlap: what they push is pulled one by one, each once, in order", async () => {
  const clock = new VirtualClock();
  const peer = new Peer<string, string>();
  let sending = 0;
  let most = 0;
  const sent: string[] = [];
  const shared = share(clock, peer, {
    open: (requests, attempt) => {
      void (async () => {
        for await (const key of requests) {
          most = Math.max(most, ++sending);
          await clock.sleep(3, attempt.signal).finally(() => sending--);
          sent.push(key);
        }
      })().catch(() => {
        // The attempt is over.
      });
      return peer.exchange(false)((async function* () {})(), attempt);
    },
  });

  const fates = Array.from({ length: 10 }, (_, sender) => {
    const send = async (): Promise<string> => {
      await clock.sleep(sender % 3);
      return await shared.wait(`k${sender}`);
    };
    return new Fate(send());
  });
  await clock.pass(100);

  assert.is(most, 1);
  assert.equal([...sent].sort(), fates.map((_, sender) => `k${sender}`));
  assert.ok(fates.every(({ text }) => text === "pending"));
  await assertReleased(clock, peer, shared);
});

test("replays first, then sends what was pushed, in order", async () => {
  const life = new AbortController();
  const outbox = new Outbox(["a", "b"], life.signal);

  outbox.push("c");
  outbox.push("d");
  const items = [await outbox.next(), await outbox.next()];
  assert.is(outbox.replayed, false);
  items.push(await outbox.next());
  assert.is(outbox.replayed, true);
  life.abort();

  assert.equal(items.map(({ value }) => value), ["a", "b", "c"]);
  assert.equal(await outbox.next(), done);
});

test("wakes whoever waits for the next item", async () => {
  const life = new AbortController();
  const outbox = new Outbox<string>([], life.signal);
  assert.is(outbox.idle, false);

  const asked = outbox.next();
  assert.equal([outbox.replayed, outbox.idle], [true, true]);
  outbox.push("a");
  outbox.push("b");

  assert.is(outbox.idle, false);
  assert.equal(await asked, { done: false, value: "a" });
  assert.equal(await outbox.next(), { done: false, value: "b" });
  life.abort();
});

test("knows what was never sent: pushed, and not pulled when the attempt ended", async () => {
  const life = new AbortController();
  const outbox = new Outbox<string>(["a"], life.signal);
  for (const item of ["b", "c", "d"]) outbox.push(item);
  await outbox.next();
  await outbox.next();

  life.abort();

  assert.equal(outbox.unsent(), ["c", "d"]);
  assert.equal(await outbox.next(), done);
});

test("ends whoever waits, and for good, when the attempt ends", async () => {
  const life = new AbortController();
  const outbox = new Outbox<string>([], life.signal);
  const asked = outbox.next();

  life.abort();
  outbox.push("late");

  assert.equal([await asked, await outbox.next(), await outbox.next()], [done, done, done]);
  assert.equal(outbox.unsent(), []);
});

test("an attempt that was over before it began sends nothing, not even its replay", async () => {
  const outbox = new Outbox(["a"], AbortSignal.abort());

  outbox.push("b");

  assert.equal(await rest(outbox), []);
});

test("return and throw end it quietly, as transports demand", async () => {
  for (const end of ["return", "throw"] as const) {
    const life = new AbortController();
    const outbox = new Outbox(["a"], life.signal);
    await outbox.next();
    const asked = outbox.next();

    const answer = await outbox[end]();

    assert.equal(answer, done);
    assert.equal([await asked, await outbox.next()], [done, done]);
    outbox.push("late");
    assert.equal(await rest(outbox), []);
    life.abort();
  }
});

test("is looped over with for await, and leaves nothing on the signal", async () => {
  const life = counted();
  const outbox = new Outbox(["a", "b"], life.signal);
  assert.is(life.listening, 1);

  for await (const item of outbox) if (item === "b") break;

  assert.is(life.listening, 0);
  assert.equal(await outbox.next(), done);
});

test("what is registered while the replay goes on is part of it, and of nothing else", async () => {
  const life = new AbortController();
  const registered = new Set(["a", "b"]);
  const outbox = new Outbox(registered, life.signal);

  const items = [await outbox.next()];
  registered.add("c");
  items.push(await outbox.next(), await outbox.next());
  void outbox.next();
  registered.add("d");
  life.abort();

  assert.equal(items.map(({ value }) => value), ["a", "b", "c"]);
});

test("holds on to nothing that was pulled, even if its queue is never empty", { limitMs: 10_000 }, async () => {
  const life = new AbortController();
  const outbox = new Outbox<object>([], life.signal);
  const weak: WeakRef<object>[] = [];
  const push = (): void => {
    const item = { of: "some size" };
    weak.push(new WeakRef(item));
    outbox.push(item);
  };
  push();

  for (let round = 0; round < 5000; round++) {
    push();
    await outbox.next();
  }

  assert.ok(await collected(weak.slice(0, 4900)) > 4800);
  assert.is(outbox.unsent().length, 1);
  life.abort();
});

test("an end lets go of what was still to be replayed: it follows a registry that others go on changing", async () => {
  const life = new AbortController();
  const weak: WeakRef<object>[] = [];
  const replay = (): Iterable<object> => {
    const items = Array.from({ length: 10 }, () => ({ of: "some size" }));
    weak.push(...items.map((item) => new WeakRef(item)));
    return items;
  };
  const outbox = new Outbox(replay(), life.signal);
  await outbox.next();

  life.abort();

  assert.ok(await collected(weak) > 8);
  assert.equal(await outbox.next(), done);
  assert.not(outbox.replayed);
});

test.run();
