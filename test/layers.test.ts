import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import { assert, suite } from "./harness.ts";

/** Lowest first; a file outside of these stands where its own imports put it. */
const layers = [
  /^src\/streams\//,
  /^src\/transport\//,
  /^src\/listeners\//,
  /^src\/worker\//,
  /^src\/client\.ts$/,
  /^src\/mod\.ts$/,
  /^src\/(testing|cli|status)\/|^src\/otel\.ts$/,
] as const;

const test = suite("layers");
const root = fileURLToPath(new URL("..", import.meta.url));
const sources = files("src").concat(files("gen"));
const imports = new Map(sources.map((file) => [file, importsOf(file)]));
const dependencies = Object.keys(JSON.parse(read("package.json")).dependencies);

test("no file imports itself, not even through others", () => {
  const cycles = sources.filter((file) => reached(file).has(file));

  assert.ok(sources.length > 20);
  assert.equal(cycles, []);
});

test("imports point left or down, never back", () => {
  const upward = sources.flatMap((file) => {
    const above = layers.slice(layerOf(file) + 1);
    return [...reached(file)].filter((other) => above.some((layer) => layer.test(other))).map((other) =>
      `${file} → ${other}`
    );
  });

  assert.equal(layers.filter((layer) => sources.some((file) => layer.test(file))).slice(0, 3), layers.slice(0, 3));
  assert.equal(upward, []);
});

test("streams know Connect, and nothing else outside their folder", () => {
  const strangers = inStreams().flatMap((file) =>
    imports.get(file)!.filter((name) => !/^src\/streams\/|^@connectrpc\/connect$|^@bufbuild\/protobuf(\/|$)/.test(name))
  );

  assert.equal(strangers, []);
});

test("one file of the streams sets timers, and one listens for aborts", () => {
  const timers = inStreams().filter((file) => /\bset(Timeout|Interval|Immediate)\(/.test(code(file)));
  const listeners = inStreams().filter((file) => code(file).includes("addEventListener("));

  assert.equal(timers, ["src/streams/clock.ts"]);
  assert.equal(listeners, ["src/streams/signal.ts"]);
});

test("what is imported at run time is Node's own or a declared dependency", () => {
  const packages = sources.flatMap((file) => imports.get(file)!.filter((name) => !/^(src|gen)\/|^node:/.test(name)));

  const undeclared = packages.filter((name) =>
    !dependencies.some((known) => name === known || name.startsWith(`${known}/`))
  );

  assert.equal(undeclared, []);
});

test("every test goes through the harness", () => {
  const around = files("test").filter((file) =>
    importsOf(file).some((name) => /^uvu$|^node:test$|^bun:test$/.test(name))
  );

  assert.equal(around, ["test/harness.ts"]);
});

function inStreams(): string[] {
  return sources.filter((file) => layers[0].test(file));
}

function layerOf(file: string): number {
  const own = layers.findIndex((layer) => layer.test(file));
  return own >= 0 ? own : layers.findLastIndex((layer) => [...reached(file)].some((other) => layer.test(other)));
}

/** Everything a file imports, directly or through others. */
function reached(file: string): Set<string> {
  const seen = new Set<string>();
  const queue = [...imports.get(file) ?? []];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    queue.push(...imports.get(next) ?? []);
  }
  return seen;
}

function importsOf(file: string): string[] {
  const names = [...code(file).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g)].map(([, name]) => name!);
  return names.map((name) => name.startsWith(".") ? posix.join(posix.dirname(file), name) : name);
}

function code(file: string): string {
  return read(file).replaceAll(/\/\*[\s\S]*?\*\//g, "");
}

function files(folder: string): string[] {
  return readdirSync(`${root}/${folder}`, { recursive: true, encoding: "utf8" })
    .map((file) => `${folder}/${file.replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith(".ts") && !file.includes("/."))
    .sort();
}

function read(file: string): string {
  return readFileSync(`${root}/${file}`, "utf8");
}

test.run();
