// `npm run coverage`: the suite on Node, its child processes included, and which branches of the folders that keep
// streams alive no test goes through. One that no test can has a comment above it that says why:
// `/* c8 ignore next -- why */`. Any other fails, and so does a comment without a reason.
// `-- streams/gate` runs and shows the files whose paths contain that.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Report } from "c8";

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = ["streams", "listeners", "transport"];
const parts = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), "coverage-"));

process.chdir(root);
try {
  const suite = await run("tools/test.mjs", "node", ...parts);
  const map = await new Report({
    include: folders.map((folder) => `src/${folder}/**`),
    exclude: [],
    extension: [".ts"],
    all: true,
    src: [join(root, "src")],
    resolve: "",
    tempDirectory: scratch,
  }).getCoverageMapFromAllCoverageFiles();
  const missed = folders.flatMap((folder) => table(folder, map));
  const careless = folders.flatMap(ignores).filter(({ why }) => why === undefined);
  for (const { at, text } of missed) console.log(`not hit    ${at}  ${text}`);
  for (const { at } of careless) console.log(`no reason  ${at}`);
  if (suite !== 0) console.log("the suite failed");
  process.exitCode = suite !== 0 || missed.length > 0 || careless.length > 0 ? 1 : 0;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function run(...args) {
  const env = { ...process.env, NODE_V8_COVERAGE: scratch };
  const child = spawn(process.execPath, args, { stdio: "inherit", env });
  return new Promise((done) => child.on("close", (code) => done(code ?? 1)));
}

/** Prints a line per file; returns the branches that no test goes through. */
function table(folder, map) {
  const files = map.files().filter((file) => relative(root, file).startsWith(join("src", folder)))
    .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part))).sort();
  const missed = [];
  const sum = { hit: 0, all: 0, ignored: ignores(folder).length };
  for (const path of files) {
    const { b: hits, branchMap } = map.fileCoverageFor(path).toJSON();
    const file = relative(root, path);
    const lines = readFileSync(path, "utf8").split("\n");
    let [hit, all] = [0, 0];
    for (const [id, { locations }] of Object.entries(branchMap)) {
      for (const [index, { end, start }] of locations.entries()) {
        if (isTail(lines, start, end)) continue;
        all++;
        if (hits[id][index] > 0) hit++;
        else {
          const line = lines[start.line - 1] ?? "";
          const text = line.slice(start.column).trim() || line.trim();
          missed.push({ at: `${file}:${start.line}:${start.column + 1}`, text: text.slice(0, 100) });
        }
      }
    }
    sum.hit += hit;
    sum.all += all;
    console.log(`${hit === all ? "ok  " : "miss"} ${file.padEnd(36)} ${`${hit} of ${all}`.padStart(12)} branches`);
  }
  const ignored = sum.ignored > 0 ? `, ${sum.ignored} that none can hit` : "";
  console.log(`     ${`src/${folder}`.padEnd(36)} ${`${sum.hit} of ${sum.all}`.padStart(12)} branches${ignored}\n`);
  return missed;
}

/** Nothing but braces: the end of a block that only a return or a throw leaves, which V8 counts as one more block. */
function isTail(lines, start, end) {
  if (start.line !== end.line) return false;
  return /^[\s}]*$/.test((lines[start.line - 1] ?? "").slice(Math.max(0, start.column), end.column));
}

/** The comments that excuse a branch, each with its reason. */
function ignores(folder) {
  return readdirSync(join(root, "src", folder), { recursive: true }).filter((file) => file.endsWith(".ts"))
    .flatMap((name) => {
      const file = join("src", folder, name);
      return readFileSync(join(root, file), "utf8").split("\n").flatMap((line, index) => {
        const [, mode, why] =
          /\/\* (?:[cv]8|node:coverage) ignore (\w+)(?:[^-]*-- (.{10,}?))? *(?:\*\/|$)/.exec(line) ?? [];
        return mode === undefined || mode === "stop" ? [] : [{ at: `${file}:${index + 1}`, why }];
      });
    });
}
