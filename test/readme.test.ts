import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createClient, task } from "../src/mod.ts";
import { startEngine } from "../src/testing/mod.ts";
import { assert, suite } from "./harness.ts";

const test = suite("readme runs");

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, `test/.tmp/readme-${process.pid}`);
const readme = readFileSync(join(root, "README.md"), "utf8");
const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));

/** Each block of TypeScript behind what a comment above it says it stands in, and the heading above both. */
const blocks = [...readme.matchAll(/^#+ (.*)$|(?:<!-- given:([^]*?)-->\n+)?```ts\n([^]*?)```/gm)];

/** As if `coppice` were installed. */
function mapped(code: string): string {
  return code.replaceAll(/"coppice(\/\w+)?"/g, (_, entry = "") => JSON.stringify(join(root, exports[`.${entry}`])));
}

/** A file that loads the block, which ends by itself or by a time-out of its own; what it left open goes with it. */
function loader(block: string): string {
  return `import process from "node:process";
try {
  await import(${JSON.stringify(block)});
} catch (error) {
  if (!(error instanceof Error) || error.name !== "TimeoutError") throw error;
}
process.exit(0);
`;
}

function run(file: string, env: Record<string, string>): Promise<{ code: number | null; output: string }> {
  const args = "deno" in process.versions ? ["run", "-A", "--quiet", file] : [file];
  const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...env } });
  const kill = setTimeout(() => child.kill("SIGKILL"), 15_000);
  let output = "";
  for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (chunk: Uint8Array) => output += chunk);
  return new Promise((resolve) => {
    child.once("close", (code: number | null) => {
      clearTimeout(kill);
      resolve({ code, output });
    });
  });
}

test.before(() => void mkdirSync(folder, { recursive: true }));
test.after(() => rmSync(folder, { recursive: true }));

let heading = "";
let number = 0;
for (const [, title, given = "", code] of blocks) {
  if (code === undefined) {
    heading = title ?? "";
    continue;
  }
  const index = number++;
  test(`block ${index}, under "${heading}", runs`, { limitMs: 20_000 }, async () => {
    const engine = await startEngine();
    const client = createClient({ hostPort: engine.hostPort, token: engine.token, tls: false, logger: false });
    const report = task({ name: "report", run: ({ month }: { month: string }) => ({ total: month.length }) });
    const worker = client.worker("beside", { tasks: [report] });
    const working = worker.run();
    await worker.ready();
    const block = join(folder, `${index}.ts`);
    writeFileSync(block, mapped(`${given}\n${code}\nexport {};\n`));
    writeFileSync(join(folder, `run-${index}.ts`), loader(block));

    const { code: exit, output } = await run(join(folder, `run-${index}.ts`), {
      HATCHET_CLIENT_HOST_PORT: engine.hostPort,
      HATCHET_CLIENT_TLS_STRATEGY: "none",
      HATCHET_CLIENT_TOKEN: engine.token,
    });
    await client.close({ graceMs: 0 });
    await working;
    await engine.close();

    assert.is(exit, 0, output);
  });
}

test("a block that throws would fail", { limitMs: 20_000 }, async () => {
  const block = join(folder, "bad.ts");
  writeFileSync(block, `throw new Error("bad");`);
  writeFileSync(join(folder, "run-bad.ts"), loader(block));

  const { code, output } = await run(join(folder, "run-bad.ts"), {});

  assert.is(code === 0, false);
  assert.match(output, /bad/);
});

test.run();
