// How much code an entry point brings along: its built files and all they import here, compressed together.
// The budget stands in package.json; a bigger package is a decision, not an accident.
import { readFileSync } from "node:fs";
import process from "node:process";
import { gzipSync } from "node:zlib";

const root = new URL("../", import.meta.url);
const { exports, sizeBudgetKb } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));

for (const [entry, { default: built }] of Object.entries(exports)) {
  if (!built) continue;
  const files = reached(new URL(built, root));
  const kb = gzipSync([...files.values()].join("\n")).length / 1_000;
  const over = kb > (sizeBudgetKb[entry] ?? 0);
  console.log(
    `${over ? "OVER" : "ok  "} ${entry}  ${kb.toFixed(1)} kB of ${sizeBudgetKb[entry] ?? 0}, ${files.size} files`,
  );
  if (over) process.exitCode = 1;
}

function reached(url, files = new Map()) {
  if (files.has(url.href)) return files;
  const text = readFileSync(url, "utf8");
  files.set(url.href, text);
  for (const [, name] of text.matchAll(/\bfrom "(\.[^"]+)"/g)) reached(new URL(name, url), files);
  return files;
}
