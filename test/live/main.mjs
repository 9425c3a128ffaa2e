// Tests the client against the engine that HATCHET_CLIENT_TOKEN names, one file after another, on Node unless told:
// `npm run live`, `npm run live -- deno`, `RUNTIME=bun npm run live`, `npm run live -- calls`, `npm run live -- --long`.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { chosen, command } from "../../tools/with.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const [runtimes, rest] = chosen(process.argv.slice(2));
const flags = rest.filter((arg) => arg.startsWith("-"));
const parts = rest.filter((arg) => !arg.startsWith("-"));

if (!process.env.HATCHET_CLIENT_TOKEN) console.log("HATCHET_CLIENT_TOKEN names no engine: everything is skipped.");

const total = { passed: 0, failed: 0, skipped: 0 };
if (flags.includes("--long")) {
  const [code] = await run(runtimes[0], "test/live/long.ts", ...rest.filter((arg) => arg !== "--long"));
  process.exit(code);
}
const files = readdirSync(new URL(".", import.meta.url), { recursive: true })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".test.ts") && (parts.length === 0 || parts.some((part) => file.includes(part))))
  .sort((a, b) => a.localeCompare(b));
for (const runtime of runtimes) {
  for (const file of files) {
    console.log(`\n${runtime} test/live/${file}`);
    const [code, output] = await run(runtime, `test/live/${file}`);
    const [, passed, failed, skipped] = /^# tests \d+ passed (\d+) failed (\d+) skipped (\d+)$/m.exec(output) ?? [];
    total.passed += Number(passed ?? 0);
    total.failed += Number(failed ?? 0) || (code === 0 && passed !== undefined ? 0 : 1);
    total.skipped += Number(skipped ?? 0);
  }
}
if (files.length === 0) {
  total.failed++;
  console.log(`No test file of test/live matches ${parts.join(" or ")}.`);
}
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ""}`);
process.exitCode = total.failed > 0 ? 1 : 0;

/** One file in a process of its own; what it says is passed on. */
function run(runtime, file, ...args) {
  const [program, ...first] = command(runtime);
  const child = spawn(program, [...first, file, ...args], {
    cwd: root,
    env: { ...process.env, COPPICE_LIVE: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pass = (signal) => child.kill(signal);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, pass);
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
    process.stdout.write(chunk);
  });
  return new Promise((resolve) => {
    child.on("close", (code) => {
      for (const signal of ["SIGINT", "SIGTERM"]) process.off(signal, pass);
      resolve([code ?? 1, output]);
    });
  });
}
