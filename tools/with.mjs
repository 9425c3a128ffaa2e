// Starts a runtime: `node tools/with.mjs node|node-min|deno|bun file.ts …`. The first on PATH that is new enough wins,
// then the dev dependency. Plain JavaScript and no dependency, so that any Node ≥ 20 can run it.
import { spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const exe = process.platform === "win32" ? ".exe" : "";
const modules = fileURLToPath(new URL("../node_modules/", import.meta.url));

/** `least` is the oldest that runs our TypeScript unbuilt and passes our tests; `own` is where the dev dependency is. */
const runtimes = {
  "node": { name: "node", least: [22, 18], own: `node/bin/node${exe}`, args: [] },
  "node-min": { least: [22, 12], own: `node-min/bin/node${exe}`, args: [] },
  "deno": { name: "deno", least: [2, 9], own: `deno/deno${exe}`, args: ["run", "--quiet", "-A"] },
  "bun": { name: "bun", least: [1, 4], own: "bun/bin/bun.exe", args: [] },
};

/** The program and its first arguments, or an Error that says what to do. */
export function command(runtime) {
  const wanted = runtimes[runtime];
  if (!wanted) throw new Error(`There is no runtime "${runtime}"; there are ${Object.keys(runtimes).join(", ")}.`);
  const onPath = wanted.name ? process.env.PATH.split(delimiter).map((dir) => join(dir, wanted.name + exe)) : [];
  const program = [...onPath, join(modules, wanted.own)].find((path) => isAtLeast(path, wanted.least));
  if (program) return [program, ...wanted.args];
  throw new Error(`No ${runtime} ${wanted.least.join(".")} or newer here; \`npm ci\` brings one.`);
}

function isAtLeast(program, [major, minor]) {
  const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  const [, hasMajor, hasMinor] = /(\d+)\.(\d+)/.exec(stdout ?? "") ?? [];
  return status === 0 && (hasMajor > major || (Number(hasMajor) === major && hasMinor >= minor));
}

/** Which runtime a command was asked to use: `-- deno` before `RUNTIME=deno` before Node. */
export function chosen(args, fallback = ["node"]) {
  const named = args.filter((arg) => arg in runtimes);
  const rest = args.filter((arg) => !(arg in runtimes));
  return [named.length > 0 ? named : process.env.RUNTIME ? [process.env.RUNTIME] : fallback, rest];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // `with.mjs start.ts deno` and `with.mjs deno start.ts` are the same, so that `npm start -- deno` works.
  const [[runtime], args] = chosen(process.argv.slice(2));
  try {
    const [program, ...first] = command(runtime);
    const child = spawn(program, [...first, ...args], { stdio: "inherit" });
    process.on("SIGTERM", () => child.kill("SIGTERM"));
    process.on("SIGINT", () => {}); // A terminal sends Ctrl-C to both; the child decides what it means.
    child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
  } catch (error) {
    console.error(error.message);
    process.exit(2);
  }
}
