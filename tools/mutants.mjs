// `npm run mutants`: puts one slip at a time into a copy of the source and finds the test that catches it. Fails when a
// mutant survives, or when the list no longer fits the source.
// `-- --only NAME` tries the mutants whose names contain NAME, `-- --list` shows the list, `-- --check` sees only whether
// it fits the source, `-- --write` renews docs/mutants.md when all were caught.
import { spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { groups } from "../test/mutants/mod.mjs";
import { command } from "./with.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const lanes = 2;
/** How long a file may take that does not finish: this, and so many times what it takes without a mutant. */
const limitMs = 10_000;
const patience = 4;
const simulation = "test/simulation.test.ts";
const simulated = ["test/simulation/main.ts", "--seeds", "150", "--jobs", "1"];

const { values: asked } = parseArgs({
  options: {
    check: { type: "boolean" },
    list: { type: "boolean" },
    only: { type: "string", multiple: true },
    write: { type: "boolean" },
  },
});
const all = Object.entries(groups).flatMap(([group, mutants]) => mutants.map((mutant) => ({ ...mutant, group })));
const mutants = all.filter(({ name }) => asked.only === undefined || asked.only.some((part) => name.includes(part)));
if (asked.list) {
  for (const { group, name, file, why } of mutants) console.log(`${group.padEnd(12)} ${name}  (${file})\n    ${why}`);
  process.exit(0);
}
if (mutants.length === 0) quit(`No mutant's name contains ${asked.only.join(" or ")}.`);
const stale = mutants.flatMap(unfit);
if (stale.length > 0) quit(`The list no longer fits the source:\n${stale.join("\n")}`);
if (asked.check) {
  console.log(`${mutants.length} mutants, each fits the source.`);
  process.exit(0);
}

const commands = new Map(["node", "deno", "bun"].map((runtime) => [runtime, command(runtime)]));
const scratch = mkdtempSync(join(tmpdir(), "mutants-"));
const running = new Set();
const pristine = copy("pristine");
const files = readdirSync(join(pristine, "test"), { recursive: true })
  .map((file) => `test/${file.replaceAll("\\", "/")}`)
  .filter((file) => file.endsWith(".test.ts") && !about(file))
  .sort();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    for (const child of running) end(child);
    rmSync(scratch, { recursive: true, force: true });
    process.exit(130);
  });
}

const baselines = new Map();
const caught = new Map();
const survivors = [];
const queue = [...mutants];
const startedMs = Date.now();
try {
  await Promise.all(Array.from({ length: lanes }, (_, lane) => work(copy(`lane-${lane}`))));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

const tookS = Math.round((Date.now() - startedMs) / 1000);
console.log(`\n${mutants.length} mutants, ${caught.size} caught, ${survivors.length} survived  ${tookS} s`);
const unsound = (await Promise.all(baselines.values())).filter(({ failures }) => failures.length > 0);
for (const { file, failures } of unsound) {
  console.log(`not asked, because it fails without a mutant: ${file}: ${failures[0]}`);
}
if (asked.write && survivors.length === 0 && mutants.length === all.length) write();
process.exitCode = survivors.length > 0 ? 1 : 0;

/** One mutant after another, in a copy of its own. */
async function work(tree) {
  for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
    const beganMs = Date.now();
    const originals = mutant.edits ?? [mutant];
    const before = new Map(originals.map(({ file }) => [file, readFileSync(join(tree, file), "utf8")]));
    for (const { file, find, replace } of originals) {
      const text = readFileSync(join(tree, file), "utf8");
      writeFileSync(join(tree, file), text.replace(find, () => replace));
    }
    const by = await hunt(tree, mutant);
    for (const [file, text] of before) writeFileSync(join(tree, file), text);
    const took = `${((Date.now() - beganMs) / 1000).toFixed(1)} s`;
    if (by === undefined) {
      survivors.push(mutant);
      console.log(`SURVIVED ${mutant.name}  (${mutant.file})  ${took}\n         ${mutant.why}`);
    } else {
      caught.set(mutant, by);
      const astray = by.file === mutant.hint ? "" : `, not by ${mutant.hint}`;
      console.log(`caught   ${mutant.name}\n         by ${by.file}: ${by.title}${astray}  ${took}`);
    }
  }
}

/** The first test that fails: of the file that should know, then of those near, then of all. */
async function hunt(tree, mutant) {
  const { hint, runtime = "node" } = mutant;
  for (const file of order(mutant)) {
    const { failures: flaws, tookMs } = await baseline(file, runtime);
    if (flaws.length > 0) continue;
    const wayMs = limitMs + patience * tookMs;
    const [title] = (await run(tree, file, runtime, wayMs)).failures;
    if (title === undefined) continue;
    if (title.includes("SyntaxError")) throw new Error(`${mutant.name} is no program: ${title}`);
    // What measures real time may fail on a busy machine, whatever the source: it must fail twice, and only mutated.
    const isSure = file === hint && !file.startsWith("test/wire/");
    if (isSure || await again(tree, file, runtime, title, wayMs)) return { file, title };
  }
  return undefined;
}

async function again(tree, file, runtime, title, wayMs) {
  if ((await run(pristine, file, runtime, wayMs)).failures.length > 0) return false;
  return (await run(tree, file, runtime, wayMs)).failures.includes(title);
}

function order({ file, hint }) {
  const near = file.replace(/^src/, "test").replace(/\.ts$/, ".test.ts");
  const first = [hint, near];
  const stages = ["test/streams/", "test/listeners/", "test/worker/", "test/", simulation, "test/invariants.test.ts"];
  const last = ["test/fuzz/", "test/examples", "test/wire/", "test/soak/"];
  const stage = (one) => {
    if (first.includes(one)) return first.indexOf(one);
    const all = [...stages, ...last];
    // The longest that fits.
    const fits = all.filter((start) => one.startsWith(start)).sort((a, b) => b.length - a.length)[0];
    return first.length + all.indexOf(fits);
  };
  return [...files].sort((a, b) => stage(a) - stage(b));
}

/** What a file says without a mutant; a file that fails by itself, twice, catches nothing. */
function baseline(file, runtime) {
  const key = `${runtime} ${file}`;
  const known = baselines.get(key) ?? twice(file, runtime);
  baselines.set(key, known);
  return known;
}

async function twice(file, runtime) {
  const first = await run(pristine, file, runtime, 120_000);
  return first.failures.length === 0 ? first : await run(pristine, file, runtime, 120_000);
}

function run(tree, file, runtime, withinMs) {
  const [program, ...first] = commands.get(runtime);
  const args = [...first, ...(file === simulation ? simulated : [file])];
  const env = { ...process.env, NO_COLOR: "1" };
  const beganMs = Date.now();
  return new Promise((done) => {
    // A group of its own: what a test file starts ends with it.
    const child = spawn(program, args, { cwd: tree, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let [output, errors, late] = ["", "", false];
    const timer = setTimeout(() => (late = true, end(child)), withinMs);
    running.add(child);
    child.stdout.on("data", (chunk) => output += output.length < 2 ** 20 ? chunk : "");
    child.stderr.on("data", (chunk) => errors += errors.length < 2 ** 20 ? chunk : "");
    child.on("exit", () => end(child));
    child.on("close", (code) => {
      clearTimeout(timer);
      running.delete(child);
      const tookMs = Date.now() - beganMs;
      done({ file, tookMs, failures: read(output, errors, code === 0 ? undefined : late ? "hangs" : `exit ${code}`) });
    });
  });
}

/** Titles of what failed, the harness's own complaints last. */
function read(output, errors, ending) {
  if (ending === undefined) return [];
  const titles = [...output.matchAll(/^ {3}FAIL {2}\S.*? {2}"(.*)"$/gm)].map(([, title]) => title);
  const findings = [...output.matchAll(/^seed \d+ failed: .*$/gm)].map(([line]) => line);
  const complaints = [...output.matchAll(/^# failed (.*)$/gm)].map(([, line]) => line.slice(0, 160));
  const said = /^\w*Error: .*$/m.exec(errors)?.[0] ?? (errors.trim() || output.trim()).split("\n")[0];
  return [...titles, ...findings, ...complaints, `${ending}: ${said.trim().slice(0, 120)}`];
}

/** A copy of the tree that shares its node_modules. */
function copy(name) {
  const tree = join(scratch, name);
  const left = new Set(["node_modules", ".git", "dist", "coverage", ".tmp"]);
  cpSync(root, tree, { recursive: true, filter: (path) => !left.has(relative(root, path)) });
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"), "junction");
  return tree;
}

/** Whether a test file is about the repository, or a server that is not here, and not about what src does. */
function about(file) {
  const others = ["bench", "exports", "harness", "layers", "lockfile", "readme", "tools"];
  return file.startsWith("test/live/") || others.includes(basename(file).split(".")[0]);
}

/** What is wrong with an entry: its name is its own, each `find` occurs once and is changed, its hint is a file. */
function unfit(mutant) {
  const { hint, name } = mutant;
  const wrong = (mutant.edits ?? [mutant]).flatMap(({ file, find, replace }) => {
    if (!existsSync(join(root, file))) return [`${file} is not there`];
    const count = readFileSync(join(root, file), "utf8").split(find).length - 1;
    if (count === 1 && find !== replace) return [];
    return [`${JSON.stringify(find)} ${count === 1 ? "changes nothing" : `is there ${count} times in ${file}`}`];
  });
  if (!existsSync(join(root, hint))) wrong.push(`${hint} is not there`);
  if (all.filter((one) => one.name === name).length > 1) wrong.push("another has the same name");
  return wrong.map((what) => `  ${name}: ${what}`);
}

function write() {
  const cell = (text) => text.replaceAll("|", "\\|");
  const row = (mutant) => {
    const { file, title } = caught.get(mutant);
    const cells = [mutant.name, mutant.file.slice(4), mutant.why, `${file.slice(5)}: ${title}`];
    return `| ${cells.map(cell).join(" | ")} |`;
  };
  const parts = Object.keys(groups).map((group) => {
    const rows = all.filter((mutant) => mutant.group === group);
    return `## ${group}\n\n| Mutant | In src/ | What it breaks | Caught by test/ |\n|---|---|---|---|\n${
      rows.map(row).join("\n")
    }\n`;
  });
  const head =
    "# Mutants\n\nFaults that other clients of this engine have or had, and slips that are easily made, put into the source one at a\n" +
    "time: `npm run mutants` fails unless a test catches each of them. It wrote this table (`npm run mutants -- --write`);\n" +
    "the list is in `test/mutants/`. The test named is the first that failed, seldom the only one.\n";
  writeFileSync(join(root, "docs/mutants.md"), `${head}\n${parts.join("\n")}`);
}

function end(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL"); // No group: it is gone already, or the system knows no groups.
  }
}

function quit(message) {
  console.error(message);
  process.exit(1);
}
