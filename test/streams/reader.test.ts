import { Reader } from "../../src/streams/reader.ts";
import { assert, rejects, suite } from "../harness.ts";
import { counted } from "./counted.ts";

const test = suite("reader");

function iterable<T>(iterator: AsyncIterator<T>): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => iterator };
}

test("reads what the iterator says, to its end", async () => {
  const life = new AbortController();
  const reader = new Reader(
    (async function* () {
      yield "a";
      yield "b";
    })(),
    life.signal,
  );

  const reads = [await reader.next(), await reader.next(), await reader.next()];
  reader.release();

  assert.equal(reads.map(({ value }) => value), ["a", "b", undefined]);
  assert.is(reads[2]?.done, true);
});

test("asks the iterator even after an abort: a call that nobody reads is a rejection that nobody handles", async () => {
  const life = new AbortController();
  life.abort(new Error("stop"));
  const failing = Promise.reject(new Error("the call failed"));
  const reader = new Reader(iterable<string>({ next: () => failing }), life.signal);

  const asked = reader.next();

  await rejects(asked, /stop/);
  reader.release();
});

test("an abort is heard even by an iterator that does not heed it, with the signal's own reason", async () => {
  const life = new AbortController();
  const reader = new Reader(iterable<string>({ next: () => new Promise(() => {}) }), life.signal);
  const reason = { my: "own" };

  const asked = reader.next();
  life.abort(reason);

  await rejects(asked, (error) => error === reason);
  await rejects(reader.next(), (error) => error === reason);
  reader.release();
});

test("what the iterator says after the abort is nobody's rejection", async () => {
  const life = new AbortController();
  let crash: (error: unknown) => void = () => {};
  const reader = new Reader(iterable<string>({ next: () => new Promise((_, reject) => crash = reject) }), life.signal);

  const asked = reader.next();
  life.abort("left");
  crash(new Error("late"));

  await rejects(asked, (error) => error === "left");
  reader.release();
  await new Promise((resolve) => setImmediate(resolve));
});

test("an iterator that has not ended is asked to, once, and one that has is left alone", async () => {
  const life = new AbortController();
  for (const [ends, asked] of [["no", 1], ["done", 0], ["throws", 0]] as const) {
    let returned = 0;
    const reader = new Reader(
      iterable<string>({
        next: () => {
          if (ends === "throws") return Promise.reject(new Error("over"));
          return Promise.resolve(ends === "done" ? { done: true, value: undefined } : { done: false, value: "a" });
        },
        return: () => Promise.resolve({ done: true, value: returned++ }),
      }),
      life.signal,
    );

    await reader.next().catch(() => undefined);
    reader.release();

    assert.is(returned, asked, ends);
  }
});

test("an iterator that fails while it is thrown away disturbs nobody, nor one that promises nothing", async () => {
  const life = new AbortController();
  const next = (): Promise<IteratorResult<string>> => Promise.resolve({ done: false, value: "a" });
  const ways: AsyncIterator<string>[] = [
    { next },
    { next, return: () => Promise.reject(new Error("late")) },
    {
      next,
      return: () => {
        throw new Error("at once");
      },
    },
    { next, return: () => undefined as unknown as Promise<IteratorResult<string>> }, // As JavaScript callers may.
  ];

  for (const iterator of ways) {
    const reader = new Reader(iterable(iterator), life.signal);
    await reader.next();
    reader.release();
  }

  await new Promise((resolve) => setImmediate(resolve));
});

test("a next() that throws at once is a rejection", async () => {
  const life = new AbortController();
  const reader = new Reader(
    iterable<string>({
      next: () => {
        throw new TypeError("at once");
      },
    }),
    life.signal,
  );

  const error = await rejects(reader.next(), TypeError);
  reader.release();

  assert.is(error.message, "at once");
});

test("ten thousand reads leave one listener, and a release none", async () => {
  const life = counted();
  const read: IteratorResult<string> = { done: false, value: "a" };
  const reader = new Reader(iterable({ next: () => Promise.resolve(read) }), life.signal);

  for (let count = 0; count < 10_000; count++) await reader.next();

  assert.is(life.listening, 1);
  reader.release();
  assert.is(life.listening, 0);
});

test.run();
