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
  ["work stays lost on a renewal that was lost with a connection of its own, while the older stream goes on", 51_454, [
    { at: 13996, do: "reset" },
    { at: 19211, do: "expire" },
    { at: 22297, do: "cancel" },
    { at: 27043, do: "reset" },
    { at: 33911, do: "run", workMs: 4660 },
    { at: 39546, do: "double completion" },
    { at: 42526, do: "durable", parts: [{ waits: [2659, 14878, 30] }, { waits: [5909] }] },
    { at: 49423, do: "run", workMs: 3119 },
    { at: 51743, do: "cut", engineNotices: true },
    { at: 60118, do: "run", workMs: 1076 },
    { at: 65866, do: "signal", afterMs: 746 },
    { at: 85750, do: "hold", up: true, down: true, forMs: 12756 },
    { at: 93836, do: "run", workMs: 889 },
    { at: 107607, do: "abort signal" },
    { at: 120909, do: "steal" },
    {
      at: 122936,
      do: "durable",
      parts: [{ memo: "value" }, { children: [43, 19, 26] }, { memo: "value" }, { waits: [19] }],
    },
    { at: 126865, do: "run", workMs: 1293 },
    { at: 132192, do: "run", workMs: 31395 },
    { at: 132697, do: "goaway" },
    { at: 138184, do: "run", workMs: 267 },
    { at: 152176, do: "cut", engineNotices: false },
    { at: 166036, do: "run", workMs: 3089 },
  ]],
  ["the renewal of an action stream connects beside another stream", 68_893, [
    { at: 17255, do: "reset" },
    { at: 35666, do: "reset" },
    { at: 41995, do: "run", workMs: 1279 },
    { at: 55987, do: "signal", afterMs: 5963 },
  ]],
  ["what runs is taken from a worker that waits because another stream was refused, long after that is over", 53_752, [
    { at: 5611, do: "drop", forMs: 10344 },
    { at: 15763, do: "run", workMs: 7330 },
    { at: 27865, do: "durable", parts: [{ children: [12612] }, { waits: [9824, 10705] }, { waits: [12880] }] },
    { at: 36004, do: "vanish" },
    { at: 50889, do: "drain", forMs: 200 },
    { at: 54261, do: "kill", forMs: 16289 },
    { at: 66298, do: "run", workMs: 4966 },
    { at: 72323, do: "run", workMs: 7382 },
    {
      at: 78979,
      do: "durable",
      parts: [{ waits: [25, 10592] }, { waits: [10197, 7071] }, { memo: 4100 }, { waits: [9582, 19] }],
    },
    { at: 82911, do: "no auth", forMs: 44058 },
    { at: 109943, do: "kill", forMs: 11979 },
    { at: 123749, do: "run", workMs: 2741 },
    { at: 135869, do: "run", workMs: 48386 },
    { at: 138977, do: "signal", afterMs: 821 },
    { at: 142506, do: "no auth", forMs: 3827 },
    { at: 143318, do: "talk", reader: "quick", isNumbered: true, forMs: 20211 },
    { at: 161164, do: "reset" },
  ]],
  ["what a durable task waits for is told out of turn, for it came before it was asked for", 73_716, [
    {
      at: 32671,
      do: "durable",
      parts: [{ waits: [0, 14206, 731] }, { waits: [10338, 7759] }, { memo: "value" }, { waits: [5947, 5639, 12937] }],
    },
    { at: 36259, do: "reset" },
    { at: 44606, do: "cut", engineNotices: true },
    { at: 47053, do: "hold", up: false, down: true, forMs: 24054 },
    { at: 47790, do: "reset" },
    { at: 55189, do: "run", workMs: 5979 },
    { at: 70952, do: "abort" },
    { at: 71400, do: "talk", reader: "slow", isNumbered: true, forMs: 3132 },
    { at: 78262, do: "give up" },
    { at: 78713, do: "signal", afterMs: 231 },
  ]],
  ["what runs is feared to be taken, and left, though the engine took every beat", 20_589, [
    { at: 4529, do: "run", workMs: 5734 },
    { at: 17341, do: "signal", afterMs: 2786 },
    { at: 36273, do: "reset" },
    { at: 37117, do: "durable", parts: [{ children: [37] }, { waits: [25, 5584] }, { waits: [12955] }] },
    { at: 54039, do: "run", workMs: 84513 },
    { at: 56016, do: "drop", forMs: 26816 },
    { at: 97089, do: "cut", engineNotices: true },
  ]],
  ["the end of a run is told again while the engine takes in the first, which mixes up its results", 1774, [
    { at: 4750, do: "run", workMs: 3744 },
    { at: 25_001, do: "steal" },
    { at: 28_643, do: "run", workMs: 35_636 },
    { at: 45_304, do: "run", workMs: 13_390 },
    { at: 55_248, do: "run", workMs: 7886 },
    { at: 56_198, do: "run", workMs: 5786 },
    { at: 60_553, do: "run", workMs: 5178 },
    { at: 79_535, do: "drop", forMs: 20_798 },
    { at: 82_240, do: "run", workMs: 2160 },
    { at: 100_504, do: "run", workMs: 3213 },
    { at: 110_853, do: "signal", afterMs: 39_525 },
    { at: 118_601, do: "run", workMs: 7365 },
    { at: 125_411, do: "hold", up: true, down: false, forMs: 9122 },
    { at: 126_062, do: "run", workMs: 4195 },
  ]],
  ["a start is lost that is on its way on the older of two streams when it is let go of", 66, [
    { at: 11_581, do: "reset" },
    { at: 25_662, do: "reset" },
    { at: 45_590, do: "run", workMs: 10 },
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
