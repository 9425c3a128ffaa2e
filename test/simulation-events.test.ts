import process from "node:process";
import { assert, suite } from "./harness.ts";
import { talk } from "./simulation/talk.ts";

const test = suite("simulation of events");
const own = process.env["COPPICE_SEED"];
/** Everything on Node; a part elsewhere, for what differs between the runtimes. */
const seeds = process.versions["bun"] === undefined && process.versions["deno"] === undefined ? 200 : 20;

test(`every chunk is heard once or lies in a gap, and every loop ends, in ${seeds} storms`, {
  limitMs: 60_000,
}, async () => {
  const first = own === undefined ? 1 : Number(own);
  const last = own === undefined ? seeds : first;

  const failed: string[] = [];
  for (let seed = first; seed <= last; seed++) {
    const findings = await talk(seed);
    if (findings.length > 0) failed.push(`COPPICE_SEED=${seed} ${findings[0]}`);
  }

  assert.equal(failed, []);
});

test.run();
