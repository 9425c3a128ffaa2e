// Which of the reference client's behaviours a test of ours covers: a title starts with the rows it covers
// ("A1: …", "A1, A8: …"). Prints every row with the files that cover it; a claimed row that is not listed fails.
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

const root = new URL("../", import.meta.url);
const rows = JSON.parse(readFileSync(new URL("test/fixtures/conformance.json", root), "utf8"));
const covered = new Map(rows.map(({ id }) => [id, new Set()]));
const letters = new Set(rows.map(({ id }) => id[0])); // Other letters name other lists.
const unlisted = [];

for (const file of readdirSync(new URL("test", root), { recursive: true }).sort()) {
  if (!file.endsWith(".test.ts")) continue;
  const text = readFileSync(new URL(`test/${file}`, root), "utf8");
  for (const [, ids] of text.matchAll(/\btest\(\s*["'`]((?:[A-Z]\d+(?:, )?)+): /g)) {
    for (const id of ids.split(", ")) {
      if (covered.has(id)) covered.get(id).add(file);
      else if (letters.has(id[0])) unlisted.push(`${file}: ${id}`);
    }
  }
}

for (const { id, behaviour } of rows) {
  const files = [...covered.get(id)].join(" ");
  console.log(`${files ? "ok  " : "miss"} ${id.padEnd(4)}${files.padEnd(36)} ${behaviour.slice(0, 110)}`);
}
const missing = rows.filter(({ id }) => covered.get(id).size === 0).map(({ id }) => id);
if (missing.length > 0) console.log(`\nmissing: ${missing.join(" ")}`);
for (const claim of unlisted) console.log(`claimed, but no such row: ${claim}`);
console.log(`covered ${rows.length - missing.length} of ${rows.length}`);
process.exitCode = unlisted.length > 0 ? 1 : 0;
