import { report } from "../bench/report.ts";
import { quick } from "../bench/plan.ts";
import { Series } from "../bench/series.ts";
import { Frames } from "../bench/source/frames.ts";
import { chunkOf, framed } from "../bench/source/messages.ts";
import { done, lost, serve } from "../bench/source/server.ts";
import { runId } from "../bench/subjects/engine.ts";
import type { ReaderName } from "../bench/subjects/readers.ts";
import { readers, requestFor } from "../bench/subjects/readers.ts";
import { median, paired, spread } from "../bench/statistics.ts";
import { assert, suite } from "./harness.ts";

const test = suite("bench");

test("a median is the middle, whatever the order, and there is none of nothing", () => {
  const [odd, even] = [median([9, 1, 5]), median([4, 1, 2, 9])];

  assert.is(odd, 5);
  assert.is(even, 3);
  assert.throws(() => median([]), RangeError);
});

test("a spread leaves a quarter out on each side", () => {
  const { low, median, high } = spread([1000, 5, 4, 3, 0]);

  assert.equal([low, median, high], [3, 4, 5]);
});

test("ratios are made of rounds, not of medians", () => {
  const { median } = paired([10, 20, 90], [5, 20, 30]);

  assert.is(median, 2);
});

test("a measurement that failed takes its round out of the pairs and of nothing else", () => {
  const series = new Series();
  for (const value of [10, NaN, 30]) series.add(["a"], value);
  for (const value of [5, 5, 10]) series.add(["b"], value);

  const ratio = series.ratio(["a"], ["b"]);

  assert.equal(series.values("a"), [10, 30]);
  assert.equal([ratio?.low, ratio?.high], [2, 3]);
  assert.is(series.spread("c"), undefined);
});

test("chunks hold whole messages of the length asked for", () => {
  for (const bytes of [96, 1024, 65_536]) {
    const chunk = chunkOf(bytes);
    const lengths = new Set<number>();
    let count = 0;
    new Frames().take(chunk.bytes, ({ length }) => {
      lengths.add(length);
      count++;
    });

    assert.equal([...lengths], [bytes]);
    assert.is(count, chunk.messages);
  }
});

test("messages that come in pieces are put together", () => {
  const whole = ["a", "b", "c"].map((letter) => framed(new TextEncoder().encode(letter.repeat(7))));
  const bytes = whole.flatMap((frame) => [...frame]);
  const frames = new Frames();
  const heard: string[] = [];

  for (const byte of bytes) {
    frames.take(Uint8Array.of(byte), (message) => heard.push(new TextDecoder().decode(message)));
  }

  assert.equal(heard, ["aaaaaaa", "bbbbbbb", "ccccccc"]);
});

test(
  "every reader reads all that the source writes",
  { limitMs: 10_000 },
  async () => {
    const source = await serve();
    for (const name of Object.keys(readers) as ReaderName[]) {
      const reader = readers[name](source.hostPort);

      await reader.read(requestFor(96, 3000), 3000);

      await reader.close();
    }
    await source.close();
  },
);

test("a report says what was measured, what was promised, and why something was missed", () => {
  const series = new Series();
  for (const [reader, rate] of [["connect", 100_000], ["reconnect", 50_000], ["live", 99_000]] as const) {
    for (const { bytes } of quick.sizes) series.add(["read", "node", bytes, reader, "perSecond"], rate);
  }
  const circumstances = {
    command: "npm run bench",
    cores: 2,
    date: "2026-01-02",
    kernel: "Linux 6",
    load: [0.5, 1],
    machine: "2 × cores",
    rounds: 1,
    versions: { node: "24.0.0" },
  } as const;

  const text = report(series, { ...quick, runtimes: ["node"] }, circumstances, () => ({ bytes: 2000, gzip: 1000 }));

  const missed = [...text.matchAll(/^- \*(\S+) reads/gm)].map(([, reader]) => reader);
  assert.equal(missed, ["`reconnect()`"]);
  assert.match(text, "| **no**: 0.50 ×, 0.50 ×, 0.50 × |");
  assert.match(text, "2026-01-02");
  assert.match(text, "2.0 kB, 1.0 kB gzipped");
});

test("ids differ in their first letter, which the source goes by", () => {
  const ids = [runId(done, 1), runId(lost, 255)];

  assert.equal(ids, ["d0000001-0000-4000-8000-000000000000", "f00000ff-0000-4000-8000-000000000000"]);
});

test.run();
