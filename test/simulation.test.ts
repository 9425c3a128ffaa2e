import process from "node:process";
import { seeded } from "../src/testing/random.ts";
import { assert, suite } from "./harness.ts";
import { play } from "./simulation/play.ts";
import type { Event } from "./simulation/schedule.ts";
import { schedule } from "./simulation/schedule.ts";
import { shrink } from "./simulation/shrink.ts";

const test = suite("simulation");
const own = process.env["COPPICE_SEED"];
/** Everything on Node; a part elsewhere, for what differs between the runtimes. */
const seeds = process.versions["bun"] === undefined && process.versions["deno"] === undefined ? 1000 : 50;

test(`nobody is lost, hung, deaf, settled twice, told out of turn or left alive in ${seeds} storms`, {
  limitMs: 100_000,
}, async () => {
  const first = own === undefined ? 1 : Number(own);
  const last = own === undefined ? seeds : first;

  const failed: string[] = [];
  for (let seed = first; seed <= last; seed++) {
    const { findings } = await play(seed, schedule(seeded(seed)));
    if (findings.length > 0) failed.push(`COPPICE_SEED=${seed} ${findings[0]}`);
  }

  assert.equal(failed, []);
});

/** Storms that found something once, shrunk to what it took, and what they found. */
const kept: readonly (readonly [found: string, seed: number, events: readonly Event[]])[] = [
  ["a report is given up because the token function fails for a moment", 183, [
    { at: 5000, do: "run", workMs: 3000 },
    { at: 7000, do: "expire" },
  ]],
  ["a wait ends because the token function fails for a moment, though the client was live", 221, [
    { at: 3000, do: "expire" },
    { at: 3100, do: "run", workMs: 100 },
  ]],
  ["a start that was lost while the engine knew of no stream stays with a worker that beats on", 24_687, [
    { at: 71_812, do: "run", workMs: 69_518 },
    { at: 104_050, do: "run", workMs: 12_174 },
    { at: 104_911, do: "hold", up: true, down: true, forMs: 15_649 },
    { at: 106_097, do: "drain", forMs: 132 },
  ]],
  ["a slot is released for an attempt that ran under an id which fell silent", 23_292, [
    { at: 111_317, do: "run", workMs: 82_229 },
    { at: 121_900, do: "run", workMs: 7281 },
    { at: 131_278, do: "run", workMs: 4962 },
    { at: 136_692, do: "refuse", forMs: 26_022 },
    { at: 140_185, do: "cut", engineNotices: false },
    { at: 169_908, do: "hold", up: true, down: true, forMs: 10_053 },
  ]],
  ["a slot is released for an attempt that was taken while beats were refused", 40_468, [
    { at: 52_585, do: "run", workMs: 24_630 },
    { at: 60_714, do: "run", workMs: 5969 },
    { at: 66_914, do: "no auth", forMs: 53_761 },
    { at: 120_976, do: "expire" },
    { at: 128_884, do: "cut", engineNotices: false },
  ]],
  ["a slot is released for a start that the loop never got", 56_000, [
    { at: 42_702, do: "run", workMs: 61_523 },
    { at: 56_330, do: "run", workMs: 5768 },
    { at: 99_584, do: "vanish" },
    { at: 158_648, do: "slow consumer", forMs: 7535 },
    { at: 165_773, do: "run", workMs: 7159 },
    { at: 167_063, do: "run", workMs: 431 },
    { at: 169_817, do: "cut", engineNotices: true },
  ]],
  ["what runs is forgotten before the engine can have taken it", 486, [
    { at: 28_905, do: "kill", forMs: 3898 },
    { at: 80_861, do: "run", workMs: 42_271 },
    { at: 81_378, do: "run", workMs: 20_949 },
    { at: 82_096, do: "jump", forMs: 28_197 },
    { at: 102_245, do: "run", workMs: 995 },
    { at: 111_338, do: "reset" },
    { at: 113_459, do: "run", workMs: 27_956 },
    { at: 119_452, do: "run", workMs: 2803 },
    { at: 123_371, do: "run", workMs: 80_792 },
    { at: 126_839, do: "run", workMs: 2247 },
    { at: 130_456, do: "hold", up: true, down: false, forMs: 6436 },
    { at: 135_294, do: "drain", forMs: 4428 },
    { at: 141_905, do: "drain", forMs: 5040 },
    { at: 142_736, do: "cut", engineNotices: false },
    { at: 177_029, do: "cut", engineNotices: true },
  ]],
  ["a slot is released that is that of an attempt which nobody runs", 407, [
    { at: 50_824, do: "run", workMs: 4679 },
    { at: 52_413, do: "jump", forMs: 29_957 },
    { at: 53_456, do: "hold", up: false, down: true, forMs: 14_644 },
  ]],
  ["what a durable task waits for is told out of turn, for it overtook the answer to its request", 357, [
    { at: 40_758, do: "durable", parts: [{ waits: [1911] }, { waits: [13] }, { waits: [27, 0] }] },
  ]],
  ["an answer that comes twice is taken for that to the durable task's next request", 2, [
    { at: 97_834, do: "double answer" },
    { at: 104_841, do: "durable", parts: [{ waits: [10, 8999] }] },
  ]],
  ["a start that overtook the answer to the first beat after a silence is kept from the loop", 37_505, [
    { at: 75_815, do: "goaway" },
    { at: 105_699, do: "jump", forMs: 27_437 },
    { at: 111_714, do: "hold", up: false, down: true, forMs: 3105 },
    { at: 127_498, do: "run", workMs: 246 },
    { at: 128_308, do: "slow consumer", forMs: 1006 },
    { at: 135_592, do: "run", workMs: 71_330 },
  ]],
];

for (const [found, seed, events] of kept) {
  test(`it happens no more that ${found}`, async () => {
    const { findings } = await play(seed, events);

    assert.equal(findings, []);
  });
}

test("a seed replays to the same line", async () => {
  const first = await play(7, schedule(seeded(7)));

  const second = await play(7, schedule(seeded(7)));

  assert.equal(second, first);
});

test("a schedule that fails is shrunk to what makes it fail", async () => {
  const events = schedule(seeded(3));
  const cut = { at: 5, do: "drain", forMs: 8000 } as const;
  const long = (some: readonly { readonly at: number; readonly do: string; readonly forMs?: number }[]) =>
    some.some((event) => event.do === "drain" && event.at === 5 && (event.forMs ?? 0) >= 1000);

  const smallest = await shrink([...events, cut], (some) => Promise.resolve(long(some)));

  assert.equal(smallest, [{ ...cut, forMs: 1000 }]);
});

test("what a durable task does is shrunk to what makes it fail", async () => {
  const durable = { at: 9, do: "durable", parts: [{ memo: "value" }, { waits: [1, 2] }, { children: [3] }] } as const;
  const waits = (some: readonly Event[]) =>
    some.some((event) => event.do === "durable" && event.parts.some((part) => "waits" in part));

  const smallest = await shrink([durable], (some) => Promise.resolve(waits(some)));

  assert.equal(smallest, [{ ...durable, parts: [{ waits: [1, 2] }] }]);
});

test.run();
