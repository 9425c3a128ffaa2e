import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { assert, suite } from "./harness.ts";

const test = suite("tools");
const root = fileURLToPath(new URL("..", import.meta.url));

test(
  "the runner adds up what the files say, and counts a file that says nothing as failed",
  { limitMs: 30_000 },
  () => {
    const { status, stdout } = project(
      {
        "good.test.ts": `test("passes", () => {}); test.skip("waits", "no engine"); test.run();`,
        "bad.test.ts": `test("fails", () => { throw new Error("as told"); }); test.run();`,
        "mute.test.ts": `process.exit(0);`,
        "liar.test.ts": `test("passes", () => {}); test.run(); process.on("exit", () => process.exitCode = 3);`,
        "killed.test.ts": `test("ends", () => process.kill(process.pid, "SIGKILL")); test.run();`,
        "broken.test.ts": `const;`,
      },
      ["test.mjs", "node"],
    );

    assert.is(stdout.trimEnd().split("\n").at(-1), "2 passed, 5 failed, 1 skipped");
    assert.is(status, 1);
    assert.match(stdout, /bad: fails: as told/);
    assert.match(stdout, /broken\.test\.ts.*\n.*exit 1 before its closing line/);
    assert.match(stdout, /liar\.test\.ts.*\n.*exit 3 although every test passed/);
    assert.match(stdout, /killed\.test\.ts.*\n.*SIGKILL before its closing line/);
  },
);

test("the runner runs the files named, and fails when none is", { limitMs: 30_000 }, () => {
  const files = {
    "one.test.ts": `test("a", () => {}); test.run();`,
    "two.test.ts": `test("b", () => {}); test.run();`,
  };

  const one = project(files, ["test.mjs", "node", "one"]);
  const none = project(files, ["test.mjs", "node", "three"]);

  assert.is(one.stdout.trimEnd().split("\n").at(-1), "1 passed, 0 failed");
  assert.equal([one.status, none.status], [0, 1]);
});

test("a runtime that does not exist is a sentence and exit code 2", { limitMs: 30_000 }, () => {
  const { status, stderr } = project({}, ["test.mjs"], { RUNTIME: "pypy" });

  assert.is(status, 2);
  assert.match(stderr, /^There is no runtime "pypy"/);
});

test("a script that ends with a code ends its starter with the same", { limitMs: 30_000 }, () => {
  const { status } = project({ "leaves.ts": "process.exit(7);" }, ["with.mjs", "test/leaves.ts"]);

  assert.is(status, 7);
});

/** A project of the given test files and our tools, and what the tool said there. */
function project(files: Record<string, string>, [tool, ...args]: [string, ...string[]], env: NodeJS.ProcessEnv = {}) {
  const folder = mkdtempSync(join(tmpdir(), "tools-"));
  try {
    cpSync(join(root, "tools"), join(folder, "tools"), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"), "junction");
    mkdirSync(join(folder, "test"));
    cpSync(join(root, "test/harness.ts"), join(folder, "test/harness.ts"));
    writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);
    for (const [file, body] of Object.entries(files)) {
      const head = `import { suite } from "./harness.ts"; const test = suite("${file.replace(/\..*/, "")}"); `;
      writeFileSync(join(folder, "test", file), file.endsWith(".test.ts") ? head + body : body);
    }
    return spawnSync(process.execPath, [join(folder, "tools", tool), ...args], {
      cwd: folder,
      env: { ...process.env, RUNTIME: "", ...env },
      encoding: "utf8",
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test.run();
