import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { assert, suite } from "./harness.ts";

const test = suite("harness");

/** Each fixture, how it must exit, and what its output must hold. */
const fixtures: readonly (readonly [title: string, file: string, exit: number, ...lines: string[]])[] = [
  [
    "counts what passed and what was skipped, and why",
    "passes",
    0,
    "(the reason)",
    "tests 4 passed 3 failed 0 skipped 1",
  ],
  [
    "fails on a failed comparison, names both values, and goes on",
    "fails",
    1,
    "{ a: 2 }, got { a: 1 }",
    "passed 1 failed 1",
  ],
  ["fails on a thrown string and on a thrown undefined", "throws-text", 1, "'not an error'", "passed 0 failed 2"],
  ["fails a test that does not settle in time", "never-settles", 1, "not settled after 50 ms"],
  ["fails when nothing is left to wait for", "keeps-nothing-alive", 1, "1 tests never finished"],
  ["fails when a test leaves the process with code 0", "leaves-early", 1, "2 tests never finished"],
  ["fails a suite that is never queued", "forgets-run", 1, "1 tests never finished"],
  ["fails a file without a test", "empty", 1, "no test ran"],
  ["fails on a rejection nobody handles", "rejects-unheard", 1, "unhandled rejection", "nobody listens"],
  ["fails on an exception from a timer", "throws-later", 1, "uncaught exception", "from a timer"],
  ["fails on an exception while the file loads", "throws-loading", 1, "while loading"],
  ["fails when a hook before all tests throws", "fails-before", 1, "fails-before: before: no ground to stand on"],
  ["fails the test whose hook throws after it", "fails-after-each", 1, "is fine itself: left a mess"],
  ["fails a process that a timer keeps alive", "lingers", 1, "still alive"],
  ["passes a file that skips everything", "only-skips", 0, "(no token)", "tests 1 passed 0 failed 0 skipped 1"],
];

const runs = new Map(fixtures.map(([, file]) => [file, run(`./fixtures/harness/${file}.ts`)]));

for (const [title, file, exit, ...lines] of fixtures) {
  test(title, { limitMs: 30_000 }, async () => {
    const { code, stdout, output } = await runs.get(file)!;

    assert.is(code, exit, output);
    for (const line of lines) assert.ok(output.includes(line), `no "${line}" in: ${output}`);
    assert.match(stdout, /\n# tests \d+ passed \d+ failed \d+ skipped \d+\n$/);
  });
}

function run(file: string): Promise<{ code: number | null; stdout: string; output: string }> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, "Deno" in globalThis ? ["run", "-A", path] : [path]);
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => stdout += chunk);
  child.stderr.on("data", (chunk) => stderr += chunk);
  return new Promise((done) => child.on("close", (code) => done({ code, stdout, output: stderr + stdout })));
}

test.run();
