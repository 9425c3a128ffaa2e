// The public API as text, of every entry point: `node tools/api.mjs` writes docs/api.txt, `--check` compares with it.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { command } from "./with.mjs";

const root = new URL("../", import.meta.url);
const report = new URL("docs/api.txt", root);
const { exports } = JSON.parse(readFileSync(new URL("deno.json", root), "utf8"));

const sections = Object.entries(exports).map(([entry, source]) => {
  const [deno] = command("deno");
  const options = {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  };
  const text = execFileSync(deno, ["doc", "--quiet", source], { ...options, maxBuffer: 1 << 26 });
  // Where a symbol stands may change; that is nobody's API.
  const here = text.replaceAll(/^Defined in .*\n+/gm, "").replaceAll(
    new RegExp(`${root.href}(.*?):\\d+:\\d+`, "g"),
    "$1",
  );
  const stable = here.replaceAll(/\n{3,}/g, "\n\n").trim();
  return `${entry.replace(/^\./, "coppice")}\n${"=".repeat(70)}\n\n${stable}\n`;
});
const now = sections.join("\n\n");

if (!process.argv.includes("--check")) {
  writeFileSync(report, now);
} else if (!existsSync(report) || readFileSync(report, "utf8") !== now) {
  const before = new Set(existsSync(report) ? readFileSync(report, "utf8").split("\n") : []);
  const after = new Set(now.split("\n"));
  for (const line of before) if (!after.has(line)) console.log(`- ${line}`);
  for (const line of after) if (!before.has(line)) console.log(`+ ${line}`);
  console.log("The public API is not what docs/api.txt says. If that is meant: npm run api");
  process.exitCode = 1;
}
