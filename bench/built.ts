import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { command } from "../tools/with.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Builds what npm would ship where its packages are found, and gives back the URL of its folder. */
export function build(): URL {
  const directory = `${root}node_modules/.cache/bench/`;
  mkdirSync(directory, { recursive: true });
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  const args = [
    tsc,
    "-p",
    `${root}tsconfig.build.json`,
    "--outDir",
    directory,
    "--noCheck",
    "--declaration",
    "false",
    "--isolatedDeclarations",
    "false",
  ];
  const { status, stdout } = spawnSync(command("node")[0] ?? "", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`The build failed: ${stdout}`);
  writeFileSync(`${directory}package.json`, `{ "type": "module" }\n`);
  return pathToFileURL(directory);
}
