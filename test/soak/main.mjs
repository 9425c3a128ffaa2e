// `npm run soak`: a million messages, ten thousand reconnects, 110,000 waits, 100,000 of them aborted, and 100,000
// calls of the transport, most of them aborted at some moment, in one process per runtime. Nothing may grow: the rule is
// in flat.ts. With all three runtimes it draws docs/soak.svg; `npm run soak -- deno` or RUNTIME=deno runs one, and
// COPPICE_SOAK=0.1 does a tenth.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { chosen, command } from "../../tools/with.mjs";
import { draw } from "./chart.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const all = ["node", "deno", "bun"];
const [runtimes] = chosen(process.argv.slice(2), all);
const courses = [];

for (const runtime of runtimes) {
  const course = await run(runtime);
  if (course === undefined) process.exit(1);
  courses.push(course);
  const { amount, faults, tookMs, version } = course;
  const work =
    `${amount.messages} messages, ${amount.reconnects} reconnects, ${amount.waits} waits, ${amount.calls} calls`;
  console.log(
    `${faults.length === 0 ? "ok  " : "FAIL"} ${version.padEnd(12)} ${work} in ${Math.round(tookMs / 1000)} s`,
  );
  for (const fault of faults) console.log(`       ${fault}`);
  if (faults.length > 0) process.exitCode = 1;
}
if (all.every((runtime) => runtimes.includes(runtime))) {
  writeFileSync(`${root}docs/soak.svg`, draw(courses));
  console.log("drawn: docs/soak.svg");
}

/** What the runtime's own process read; undefined when it fell over. */
function run(runtime) {
  const [program, ...args] = command(runtime);
  const child = spawn(program, [...args, "test/soak/main.ts"], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  return new Promise((done) => {
    child.on("close", (code, signal) => {
      if (code === 0) return done(JSON.parse(output.trim().split("\n").at(-1)));
      console.log(`FAIL ${runtime} ended with ${signal ?? code}\n${output}`);
      done(undefined);
    });
  });
}
