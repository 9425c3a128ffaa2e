import { readFileSync } from "node:fs";
import { missing, platform } from "../tools/lock.mjs";
import { assert, suite } from "./harness.ts";

type Entry = { version: string; resolved?: string; os?: string[]; cpu?: string[]; optional?: boolean };

const test = suite("lockfile");
const lock: { packages: Record<string, Entry> } = read("../package-lock.json");

test("names every optional package, so that `npm ci` passes on every platform", () => {
  const lacking = missing(lock).map(({ name }: { name: string }) => name);

  assert.equal(lacking, []);
});

test("names no registry", () => {
  const resolved = Object.keys(lock.packages).filter((path) => lock.packages[path]?.resolved);

  assert.equal(resolved, []);
});

test("belongs to the package.json beside it", () => {
  const { name, version, dependencies, devDependencies } = read("../package.json");

  const root: Record<string, unknown> = { ...lock.packages[""] };

  assert.equal([root.name, root.version], [name, version]);
  assert.equal([root.dependencies, root.devDependencies], [dependencies, devDependencies]);
});

test("a lockfile that lacks one is noticed", () => {
  const path = "node_modules/@deno/win32-x64";
  const { [path]: _, ...packages } = lock.packages;

  const lacking = missing({ packages }).map(({ name }: { name: string }) => `node_modules/${name}`);

  assert.equal(lacking, [path]);
});

test("a name says the same about its platform as the registry", () => {
  const binaries = Object.entries(lock.packages).filter(([, { optional, cpu }]) => optional && cpu);

  const read = binaries.map(([path]) => platform(path.slice("node_modules/".length)));

  assert.ok(binaries.length > 50);
  assert.equal(read.map(({ os, cpu }) => ({ os, cpu })), binaries.map(([, { os, cpu }]) => ({ os, cpu })));
});

function read(path: string) {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
}

test.run();
