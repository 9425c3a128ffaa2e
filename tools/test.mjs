// Runs every test file as a process of its own on Node, Deno and Bun, and adds up what they say.
// `npm test`, `npm test -- deno`, `RUNTIME=bun npm test`, `npm test -- streams/gate`: runtimes first, then parts of paths.
// Never `bun test` or `deno test`: on these files both run no test and exit 0.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { chosen, command } from "./with.mjs";

const fileLimitMs = 120_000;
const root = fileURLToPath(new URL("..", import.meta.url));
const [runtimes, parts] = chosen(process.argv.slice(2), ["node", "deno", "bun"]);
const commands = new Map(runtimes.map((runtime) => [runtime, resolve(runtime)]));
const files = readdirSync(join(root, "test"), { recursive: true })
  .map((file) => `test/${file.replaceAll("\\", "/")}`)
  .filter((file) => file.endsWith(".test.ts") && (parts.length === 0 || parts.some((part) => file.includes(part))))
  .sort();

const total = { passed: 0, failed: 0, skipped: 0 };
const running = new Set();
const queue = files.flatMap((file) => {
  const on = runtimes.filter((runtime) => runtime.startsWith("node") || !file.endsWith(".node.test.ts"));
  const results = [];
  return on.map((runtime) => async () => {
    results.push(await run(runtime, file));
    if (results.length === on.length) report(file, results);
  });
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    for (const child of running) end(child);
    process.exit(130);
  });
}

// Twice as many as there are cores: test files with a wire wait more than they work.
await Promise.all(Array.from({ length: 2 * availableParallelism() }, async () => {
  for (let next = queue.shift(); next; next = queue.shift()) await next();
}));
if (files.length === 0) {
  total.failed++;
  console.log(`No test file matches ${parts.join(" or ")}.`);
}
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ""}`);
process.exitCode = total.failed > 0 ? 1 : 0;

function run(runtime, file) {
  const [program, ...args] = commands.get(runtime);
  const startedMs = Date.now();
  return new Promise((done) => {
    // A group of its own: what a test file starts ends with it.
    const child = spawn(program, [...args, file], { cwd: root, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let [output, errors, late] = ["", "", false];
    const timer = setTimeout(() => (late = true, end(child)), fileLimitMs);
    running.add(child);
    child.stdout.on("data", (chunk) => output += chunk);
    child.stderr.on("data", (chunk) => errors += chunk);
    child.on("exit", () => end(child));
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      const ending = late ? `killed after ${fileLimitMs / 1_000} s` : signal ?? `exit ${code}`;
      done({ runtime, tookMs: Date.now() - startedMs, ...read(output, errors, ending) });
    });
  });
}

/** What a file said. Without its closing line, or with a code that contradicts it, the file itself counts as failed. */
function read(output, errors, ending) {
  const failures = [...output.matchAll(/^# failed (.*)$/gm)].map(([, line]) => line);
  const closing = /^# tests \d+ passed (\d+) failed (\d+) skipped (\d+)$/m.exec(output)?.slice(1).map(Number);
  const [passed, failed, skipped] = closing ?? [0, 0, 0];
  if (closing && (ending === "exit 0") === (failed === 0)) return { passed, failed, skipped, failures };
  // An error stands at the top of what went to stderr, the last test at the bottom of the rest.
  const said = [...output.trim().split("\n").slice(-4), ...errors.trim().split("\n").slice(0, 12)].join("\n         ");
  const why = closing ? "although every test passed" : "before its closing line";
  return {
    passed,
    failed: failed + 1,
    skipped,
    failures: [...failures, `${ending} ${why}; it said last:\n         ${said}`],
  };
}

function report(file, results) {
  for (const name of ["passed", "failed", "skipped"]) for (const result of results) total[name] += result[name];
  const counts = results.map(({ runtime, passed, failed, skipped }) =>
    `${runtime} ${passed}${failed ? ` failed ${failed}` : ""}${skipped ? ` skipped ${skipped}` : ""}`
  );
  const took = (Math.max(...results.map(({ tookMs }) => tookMs)) / 1_000).toFixed(1);
  console.log(
    `${results.some(({ failed }) => failed) ? "FAIL" : "ok  "} ${file}  ${counts.sort().join(", ")}  ${took} s`,
  );
  for (const { runtime, failures } of results) for (const failure of failures) console.log(`  ${runtime}  ${failure}`);
}

function end(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL"); // No group: it is gone already, or the system knows no groups.
  }
}

function resolve(runtime) {
  try {
    return command(runtime);
  } catch (error) {
    console.error(error.message);
    process.exit(2);
  }
}
