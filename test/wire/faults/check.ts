import type { Test } from "../../harness.ts";
import { assert } from "../../harness.ts";
import { deviations } from "./deviations.ts";
import type { Row } from "./row.ts";
import { measure } from "./run.ts";

/** What each row must come to, as a test of its own. */
export function checkAll(test: Test, rows: readonly Row[]): void {
  for (const row of rows) {
    test(`${row.name}: ${sentence(row)}`, { limitMs: 10_000 }, async () => {
      const rounds = await measure(row);

      assert.equal(rounds.flatMap((measured) => deviations(row, measured)), []);
    });
  }
}

const whose = {
  caller: "the caller's",
  engine: "the engine's",
  local: "a message we do not take",
  own: "our own signal",
  wire: "the wire's",
} as const;

const did = {
  again: "the loop waits and opens again",
  call: "the call throws it",
  ended: "the loop ends",
  failed: "the loop fails",
  held: "the loop waits for ever, until its signal aborts",
  reason: "the loop throws its signal's reason",
  refused: "the loop throws refused",
  stalled: "the loop throws stalled",
  thrown: "the loop throws what the caller threw",
} as const;

/** What a row says, in words. */
function sentence({ guard, loop, origin, verdict }: Row): string {
  const by = guard === undefined || guard === "signal" ? "" : ` by our ${guard}`;
  const word = verdict === "none" ? "" : `, ${verdict}`;
  return `${whose[origin]}${by}${word}: ${did[loop]}`;
}
