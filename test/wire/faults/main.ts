/*
 * Measures every fault on the runtime that runs this file, for tools/faults.mjs: a line of JSON for each, with what was
 * not as the tests say.
 */
import { deviations } from "./deviations.ts";
import type { Measured } from "./row.ts";
import { measure } from "./run.ts";
import { table } from "./table.ts";

for (const [heading, rows] of Object.entries(table)) {
  for (const row of rows) {
    const rounds = await measure(row);
    const told = <K extends keyof Measured>(key: K) => [...new Set(rounds.map((one) => one[key]))];
    console.log(JSON.stringify({
      heading,
      name: row.name,
      codes: told("code"),
      origins: told("origin"),
      verdicts: told("verdict"),
      loops: told("loop"),
      guards: told("guard"),
      tookMs: told("tookMs"),
      deviations: rounds.flatMap((one) => deviations(row, one)),
    }));
  }
}
