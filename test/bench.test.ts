import { report } from "../bench/report.ts";
import { countFor, quick } from "../bench/plan.ts";
import { Series } from "../bench/series.ts";
import { echo } from "../bench/source/echo.ts";
import { Frames } from "../bench/source/frames.ts";
import { chunkOf, framed } from "../bench/source/messages.ts";
import { done, lost, serve } from "../bench/source/server.ts";
import type { CallerName } from "../bench/subjects/callers.ts";
import { callAll, callers } from "../bench/subjects/callers.ts";
import { source } from "../bench/subjects/clock.ts";
import { runId } from "../bench/subjects/engine.ts";
import type { PlayerName } from "../bench/subjects/players.ts";
import { players } from "../bench/subjects/players.ts";
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
    const server = await serve();
    for (const name of Object.keys(readers) as ReaderName[]) {
      const reader = readers[name](server.hostPort);

      await reader.read(requestFor(96, 3000), 3000);

      await reader.close();
    }
    await server.close();
  },
);

test("who asks for no messages leaves a stream open, and the source counts it", { limitMs: 10_000 }, async () => {
  const server = await serve();
  const reader = readers.grpcjs(server.hostPort);
  let settled = 0;
  const given = Promise.allSettled(
    Array.from({ length: 3 }, () => reader.read(requestFor(96, 0), 1).finally(() => settled++)),
  );

  while ((await source(server.hostPort)).streams < 3) await new Promise(setImmediate);

  assert.equal([(await source(server.hostPort)).streams, settled], [3, 0]);
  await server.close();
  await given;
  await reader.close();
});

test("every caller and every player gets back what it sends", { limitMs: 10_000 }, async () => {
  const { close, hostPort } = await echo();

  for (const name of Object.keys(callers) as CallerName[]) await callAll(callers[name](hostPort), 100, 8);
  for (const name of Object.keys(players) as PlayerName[]) await players[name](hostPort)(50);

  await close();
});

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

test("a report says what was measured, what was promised, and why something was missed", () => {
  const series = new Series();
  for (const [reader, rate] of [["connect", 100_000], ["reconnect", 50_000], ["live", 99_000]] as const) {
    for (const { bytes } of quick.sizes) series.add(["read", "node", bytes, reader, "perSecond"], rate);
  }

  const text = report(series, { ...quick, runtimes: ["node"] }, circumstances, () => ({ bytes: 2000, gzip: 1000 }));

  const missed = [...text.matchAll(/^- \*(\S+) reads/gm)].map(([, reader]) => reader);
  assert.equal(missed, ["`reconnect()`"]);
  assert.match(text, "| **no**: 0.50 ×, 0.50 ×, 0.50 × |");
  assert.match(text, "2026-01-02");
  assert.match(text, "2.0 kB, 1.0 kB gzipped");
});

test("each runtime is asked for its own ratio", () => {
  const series = new Series();
  const runtimes = ["node", "deno"] as const;
  for (const runtime of runtimes) {
    for (const [caller, rate] of [["connect", 1000], ["transport", 2500]] as const) {
      series.add(["unary", runtime, 64, caller, "perSecond"], rate);
    }
  }

  const text = report(series, { ...quick, runtimes }, circumstances, () => ({ bytes: 0, gzip: 0 }));

  assert.match(text, "at least 4 / 2.3 / 2.6 × | **no**: 2.50 × (2.50–2.50) | yes: 2.50 × (2.50–2.50) |");
});

test("only what was asked for is reported, and nothing is bundled for nothing", () => {
  const plan = { ...quick, parts: ["idle"], runtimes: ["node"] } as const;
  const bundle = () => {
    throw new Error("Nobody asked");
  };

  const text = report(new Series(), plan, circumstances, bundle);

  assert.equal([...text.matchAll(/^## (.+)/gm)].map(([, title]) => title), [
    "What is promised, and what was found",
    "Idle streams",
  ]);
});

test("who takes longer over each message is asked for fewer", () => {
  const counts = ["raw", "connect", "transport"].map((name) => countFor(name, 1000));

  assert.equal(counts, [4000, 250, 1000]);
});

test("ids differ in their first letter, which the source goes by", () => {
  const ids = [runId(done, 1), runId(lost, 255)];

  assert.equal(ids, ["d0000001-0000-4000-8000-000000000000", "f00000ff-0000-4000-8000-000000000000"]);
});

test.run();
