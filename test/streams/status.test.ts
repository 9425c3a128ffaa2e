import type { StreamStatus } from "../../src/streams/status.ts";
import { moves } from "../../src/streams/status.ts";
import { assert, suite } from "../harness.ts";

const test = suite("status");

const states = ["connecting", "live", "waiting", "ended"] as const satisfies readonly StreamStatus["state"][];

test("a stream goes from connecting to live, waiting or ended, from live to waiting or ended, and back by waiting", () => {
  const legal = states.flatMap((from) => moves[from].map((to) => `${from} → ${to}`));

  assert.equal(legal, [
    "connecting → live",
    "connecting → waiting",
    "connecting → ended",
    "live → waiting",
    "live → ended",
    "waiting → connecting",
    "waiting → ended",
  ]);
});

test("every state can end, and an end is final", () => {
  const open = states.filter((state) => state !== "ended");

  assert.ok(open.every((state) => moves[state].includes("ended")));
  assert.equal(moves.ended, []);
});

test.run();
