import { seeded } from "../../src/testing/random.ts";
import { assert, suite } from "../harness.ts";
import { grown, growth } from "./flat.ts";
import type { Course } from "./work.ts";
import { soak } from "./work.ts";

const test = suite("soak");
const amount = { messages: 18_000, readings: 9, reconnects: 180, waits: 1800, calls: 1800 };

function leaks({ phases }: Course): string[] {
  return Object.entries(phases).flatMap(([phase, readings]) => grown(readings).map((fault) => `${phase}: ${fault}`));
}

const all = Object.entries(amount).filter(([name]) => name !== "readings").map(([name, count]) => `${count} ${name}`);

test(`nothing grows over ${all.join(", ")}`, {
  limitMs: 60_000,
}, async () => {
  const course = await soak(amount);

  assert.equal(leaks(course), []);
  const { after, before } = course;
  assert.equal([after.listeners, after.timers, after.sockets], [before.listeners, before.timers, before.sockets]);
});

test("a listener, a timer or some bytes that each step leaves behind are found", { limitMs: 30_000 }, async () => {
  const forever = new AbortController();
  const kept: unknown[] = [];
  const few = { messages: 9, readings: 9, reconnects: 9, waits: 9, calls: 9 };

  const course = await soak(few, (phase) => {
    if (phase === "messages") kept.push(Array.from({ length: 40_000 }, () => 0.5));
    if (phase === "reconnects") forever.signal.addEventListener("abort", () => {});
    // More than those that run out meanwhile: six streams have been steady for the first time.
    if (phase === "waits") kept.push(...[1, 2, 3].map(() => setTimeout(() => {}, 60_000)));
  });

  for (const timer of kept) clearTimeout(timer as ReturnType<typeof setTimeout>); // Anything else is no timer, and passed over.
  const found = leaks(course).map((fault) => fault.split(" grew")[0]);
  const planted = ["messages: heap", "reconnects: listeners", "waits: timers"];
  // So few steps are no proof that the rest is flat: on a busy machine streams become steady among them.
  assert.equal(planted.filter((leak) => !found.includes(leak)), []);
});

test("growth is told by its trend: noise and a warm-up are none, and one odd reading moves nothing", () => {
  const random = seeded(1);
  const noise = Array.from({ length: 40 }, () => 1000 + 20 * random());
  const warming = noise.map((value, at) => at < 12 ? value - 20 * (12 - at) : value);
  const odd = noise.map((value, at) => at === 39 ? 1e6 : value);
  const leaking = noise.map((value, at) => value + 10 * at);

  for (const flat of [noise, warming, odd]) assert.ok(Math.abs(growth(flat)) < 60, `${growth(flat)}`);
  assert.ok(Math.abs(growth(leaking) - 400) < 60, `${growth(leaking)}`);
});

test.run();
