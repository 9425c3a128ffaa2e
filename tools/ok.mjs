// `npm run ok`: every gate a change must pass, two at a time, a line each. The first that fails shows all it said.
// `npm run ok -- lint types` runs the named ones, and what they need.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const scratch = mkdtempSync(join(tmpdir(), "ok-"));
const tarball = join(scratch, `${name}-${version}.tgz`);

/** A gate's command, and the gates it waits for. `tells` shows its last line. */
const gates = [
  { name: "build", run: "node tools/build.mjs" },
  { name: "types", run: "tsc -p ." },
  { name: "format", run: "deno fmt --check && buf format --diff --exit-code" },
  { name: "lint", run: "oxlint --type-aware --deny-warnings" },
  { name: "unused", run: "knip --no-progress" },
  {
    name: "generated",
    run: `buf lint && buf generate -o ${scratch} && git diff --no-index --exit-code gen ${join(scratch, "gen")}`,
  },
  { name: "api", run: "node tools/api.mjs --check" },
  { name: "jsr", run: "deno publish --dry-run --allow-dirty --quiet" },
  { name: "oldest", run: "node tools/with.mjs node-min tools/smoke.mjs", needs: ["build"], tells: true },
  { name: "size", run: "node tools/size.mjs", needs: ["build"] },
  {
    name: "npm",
    run: `npm pack --ignore-scripts --silent --pack-destination ${scratch} && publint run ${tarball} --strict && ` +
      `attw ${tarball} --profile esm-only --format ascii`,
    needs: ["build"],
  },
  { name: "conformance", run: "node tools/conformance.mjs", tells: true },
];
// The tests use every core themselves and measure time: they come last and alone.
const last = [{ name: "tests", run: "node tools/test.mjs", tells: true }];

const asked = process.argv.slice(2);
const needed = (gate) => asked.length === 0 || asked.includes(gate.name) || gates.some(wants(gate));
const wants = (gate) => (other) => asked.includes(other.name) && other.needs?.includes(gate.name);
const failed = [];
const verdicts = new Map();

const queue = gates.filter(needed);
await Promise.all([lane(), lane()]);
for (const gate of last.filter(needed)) await pass(gate);
rmSync(scratch, { recursive: true, force: true });

if (failed.length > 0) {
  console.log(`\nfailed:\n${failed.map((gate) => `  ${gate.name.padEnd(12)}${gate.run}`).join("\n")}`);
} else console.log("\nall is well");
process.exitCode = failed.length > 0 ? 1 : 0;

async function lane() {
  for (let gate = queue.shift(); gate; gate = queue.shift()) {
    const verdict = pass(gate);
    verdicts.set(gate.name, verdict);
    await verdict;
  }
}

async function pass(gate) {
  const before = await Promise.all((gate.needs ?? []).map((need) => verdicts.get(need)));
  const startedMs = Date.now();
  const { code, output } = before.includes(false) ? { code: 1, output: `${gate.needs} failed` } : await run(gate.run);
  const tookS = ((Date.now() - startedMs) / 1_000).toFixed(1);
  const told = gate.tells ? `  ${output.trimEnd().split("\n").at(-1)}` : "";
  console.log(`${code === 0 ? "ok  " : "FAIL"} ${gate.name.padEnd(12)} ${tookS.padStart(6)} s${told}`);
  if (code !== 0 && failed.push(gate) === 1) console.log(`\n${output.trim()}\n`);
  return code === 0;
}

function run(command) {
  const path = join(root, "node_modules/.bin") + delimiter + process.env.PATH;
  const child = spawn(command, { cwd: root, shell: true, env: { ...process.env, PATH: path, NO_COLOR: "1" } });
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  child.stderr.on("data", (chunk) => output += chunk);
  return new Promise((done) => child.on("close", (code) => done({ code, output })));
}
