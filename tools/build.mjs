// Builds dist from nothing, so that no file of an earlier build is left in the package.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
rmSync(`${root}/dist`, { recursive: true, force: true });
const tsc = [`${root}/node_modules/typescript/bin/tsc`, "-p", "tsconfig.build.json"];
process.exitCode = spawnSync(process.execPath, tsc, { cwd: root, stdio: "inherit" }).status ?? 1;
