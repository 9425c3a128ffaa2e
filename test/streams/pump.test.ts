import { Pump } from "../../src/streams/pump.ts";
import { assert, rejects, suite } from "../harness.ts";
import { collected } from "./garbage.ts";

const test = suite("pump");

/** Everything that is ready happens. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A source that counts what was read of it. */
class Source<T> {
  read = 0;
  returned = false;
  readonly #items: readonly T[];
  readonly #end: () => Promise<IteratorResult<T>>;

  constructor(items: readonly T[], end: "done" | "silence" | Error = "done") {
    this.#items = items;
    this.#end = () => {
      if (end === "silence") return new Promise(() => {});
      return end === "done" ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(end);
    };
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: () => {
        const index = this.read++;
        if (index >= this.#items.length) return this.#end();
        return Promise.resolve({ done: false, value: this.#items[index] as T }); // Inside the bounds.
      },
      return: () => {
        this.returned = true;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}

async function rest<T>(pump: Pump<T>): Promise<T[]> {
  const items: T[] = [];
  for (let read = await pump.next(); read.done !== true; read = await pump.next()) items.push(read.value);
  return items;
}

test("reads while nobody asks, and hands on in order", async () => {
  const pump = new Pump<number>();
  const source = new Source([1, 2, 3]);

  const running = pump.run(source);
  await settle();
  assert.is(source.read, 4);
  await running;

  assert.equal(await rest(pump), [1, 2, 3]);
});

test("whoever asks before there is anything gets it as it comes", async () => {
  const pump = new Pump<number>();

  const asked = pump.next();
  await pump.run(new Source([1, 2]));

  assert.equal(await asked, { done: false, value: 1 });
  assert.equal(await rest(pump), [2]);
});

test("askers who do not wait for each other are served in order, and none is forgotten", async () => {
  const pump = new Pump<number>();

  const asked = Array.from({ length: 5 }, () => pump.next());
  pump.put(1);
  pump.put(2);
  await settle();
  pump.put(3);
  pump.end();

  const reads = await Promise.all(asked);
  assert.equal(reads.map(({ value }) => value), [1, 2, 3, undefined, undefined]);
});

test("of askers who do not wait for each other the first hears the error, and the others that it is over", async () => {
  const pump = new Pump<number>();
  const lost = new Error("lost");

  const asked = Array.from({ length: 3 }, () => pump.next());
  pump.fail(lost);

  await rejects(asked[0] ?? settle(), (error) => error === lost);
  assert.equal((await Promise.all(asked.slice(1))).map(({ done }) => done), [true, true]);
});

test("stops reading when enough messages wait, and goes on when they are read", async () => {
  const paused: string[] = [];
  const source = new Source([1, 2, 3, 4, 5], "silence");
  const pump: Pump<number> = new Pump<number>({
    maxMessages: 2,
    onPaused: (now) => paused.push(`${now} at ${source.read}`),
  });

  void pump.run(source);
  await settle();
  assert.is(source.read, 2);
  assert.equal(paused, ["true at 2"]);
  const first = await pump.next();
  await settle();

  assert.is(first.value, 1);
  assert.is(source.read, 3);
  assert.equal(paused, ["true at 2", "false at 2", "true at 3"]);
  pump.stop();
});

test("stops reading when enough bytes wait, and goes on when half of them are read", async () => {
  const source = new Source(["aaaa", "bb", "cc", "d", "e", "f"], "silence");
  const paused: boolean[] = [];
  const pump = new Pump<string>({ maxBytes: 6, sizeOf: ({ length }) => length, onPaused: (now) => paused.push(now) });

  void pump.run(source);
  await settle();
  assert.is(source.read, 2);
  await pump.next();
  await settle();

  assert.is(source.read, 5);
  assert.equal(paused, [true, false, true]);
  const waiting = [await pump.next(), await pump.next(), await pump.next(), await pump.next()];
  assert.equal(waiting.map(({ value }) => value), ["bb", "cc", "d", "e"]);
  pump.stop();
});

test("a reader a little slower than its source does not stop it with every message", async () => {
  const source = new Source("abcdefghijklmnop".split(""), "silence");
  const paused: boolean[] = [];
  const pump = new Pump<string>({ maxMessages: 4, onPaused: (now) => paused.push(now) });

  void pump.run(source);
  for (let read = 0; read < 8; read++) {
    await settle();
    await pump.next();
  }
  await settle();

  assert.equal(paused, [true, false, true, false, true, false, true, false, true]);
  pump.stop();
});

test("a single message above every bound is read all the same", async () => {
  const pump = new Pump<string>({ maxBytes: 1, maxMessages: 1, sizeOf: ({ length }) => length });

  const running = pump.run(new Source(["a whole novel", "another"]));

  assert.equal(await rest(pump), ["a whole novel", "another"]);
  await running;
});

test("a message that somebody waits for is not counted against the bounds", async () => {
  const paused: boolean[] = [];
  const pump = new Pump<number>({ maxMessages: 1, onPaused: (now) => paused.push(now) });
  const source = new Source([1], "silence");

  const asked = pump.next();
  void pump.run(source);
  await asked;
  await settle();

  assert.equal(paused, []);
  assert.is(source.read, 2);
  pump.stop();
});

test("tells how many messages wait", async () => {
  const waiting: number[] = [];
  const pump = new Pump<number>({ onQueued: (now) => waiting.push(now) });

  await pump.run(new Source([1, 2]));
  await pump.next();
  pump.put(3);

  assert.equal(waiting, [1, 2]);
});

test("an error comes behind what waits, once, and after it there is only the end", async () => {
  const pump = new Pump<number>();
  const lost = new Error("lost");

  await pump.run(new Source([1, 2], lost));

  assert.equal([(await pump.next()).value, (await pump.next()).value], [1, 2]);
  await rejects(pump.next(), (error) => error === lost);
  assert.is((await pump.next()).done, true);
});

test("an error reaches whoever is already asking", async () => {
  const pump = new Pump<number>();
  const lost = new Error("lost");

  const asked = pump.next();
  await pump.run(new Source([], lost));

  await rejects(asked, (error) => error === lost);
  assert.is((await pump.next()).done, true);
});

test("an abort goes before what waits, even when the source has ended or failed", async () => {
  const reason = { my: "own" };
  for (const end of ["done", "silence", new Error("lost")] as const) {
    const pump = new Pump<number>();
    void pump.run(new Source([1, 2], end));
    await settle();

    pump.abort(reason);

    await rejects(pump.next(), (error) => error === reason);
    assert.is((await pump.next()).done, true);
  }
});

test("an abort of what has ended, been read and been stopped is not heard", async () => {
  const read = new Pump<number>();
  await read.run(new Source([1]));
  await rest(read);
  const stopped = new Pump<number>();
  await stopped.run(new Source([1]));
  stopped.stop();

  read.abort("late");
  stopped.abort("late");

  assert.is((await read.next()).done, true);
  assert.is((await stopped.next()).done, true);
});

test("an abort reaches whoever is asking", async () => {
  const pump = new Pump<number>();
  void pump.run(new Source([], "silence"));

  const asked = pump.next();
  pump.abort("stop");

  await rejects(asked, (error) => error === "stop");
});

test("a stop throws away what waits, ends quietly, and lets the source go", async () => {
  const pump = new Pump<number>({ maxMessages: 2 });
  const source = new Source([1, 2, 3], "silence");
  const running = pump.run(source);
  await settle();

  pump.stop();
  await running;

  assert.is((await pump.next()).done, true);
  assert.is(source.returned, true);
  assert.is(pump.put(4), false);
  assert.is((await pump.next()).done, true);
});

test("a stop ends whoever is asking, and hides an error that nobody has read", async () => {
  const asking = new Pump<number>();
  const asked = asking.next();
  const failed = new Pump<number>();
  failed.fail(new Error("unread"));

  asking.stop();
  failed.stop();

  assert.is((await asked).done, true);
  assert.is((await failed.next()).done, true);
});

test("only the first ending counts", async () => {
  const pump = new Pump<number>();
  const first = new Error("first");

  pump.fail(first);
  pump.fail(new Error("second"));
  pump.end();

  await rejects(pump.next(), (error) => error === first);
  assert.is((await pump.next()).done, true);
});

test("what a size or a listener throws is the reader's error, not nobody's", async () => {
  const mistake = new TypeError("no size");
  const pump = new Pump<number>({
    sizeOf: () => {
      throw mistake;
    },
  });

  const asked = pump.next();
  await pump.run(new Source([1, 2]));

  assert.is((await asked).value, 1);
  await rejects(rest(pump), (error) => error === mistake);
});

test("bounds that make no sense are refused", () => {
  assert.throws(() => new Pump({ maxMessages: 0 }), /maxMessages must be above 0, got 0/);
  assert.throws(() => new Pump({ maxBytes: NaN }), /maxBytes must be above 0, got NaN/);
});

test("a reader far behind gets everything, in order, through every compaction", async () => {
  const pump = new Pump<number>();
  let put = 0;
  let got = 0;

  for (let round = 0; round < 100; round++) {
    for (let count = 0; count < 200; count++) pump.put(put++);
    for (let count = 0; count < 150; count++) assert.is((await pump.next()).value, got++);
  }
  pump.end();

  for (const value of await rest(pump)) assert.is(value, got++);
  assert.is(got, 20_000);
});

test("holds on to nothing that was read, even if its queue is never empty", { limitMs: 10_000 }, async () => {
  const pump = new Pump<object>();
  const weak: WeakRef<object>[] = [];
  const put = (): void => {
    const message = { of: "some size" };
    weak.push(new WeakRef(message));
    pump.put(message);
  };
  for (let count = 0; count < 100; count++) put();

  for (let round = 0; round < 5000; round++) {
    put();
    await pump.next();
  }

  assert.ok(await collected(weak.slice(0, 4900)) > 4800);
});

test("leaves out what is void by the time it is handed on, whether it waited or not", async () => {
  const pump = new Pump<number>({ accept: (message) => message % 2 === 0 });
  pump.put(1);
  pump.put(2);
  pump.put(3);

  const first = await pump.next();
  const asked = pump.next();
  pump.put(5);
  pump.put(6);
  const second = await asked;

  assert.equal([first.value, second.value], [2, 6]);
});

test.run();
