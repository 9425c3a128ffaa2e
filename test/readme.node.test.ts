import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { assert, suite } from "./harness.ts";

const test = suite("readme");
const root = fileURLToPath(new URL("..", import.meta.url));
const path = join(root, "README.md");
const readme = existsSync(path) ? readFileSync(path, "utf8") : "";
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Each block of TypeScript, after what a comment above it says it stands in: `<!-- given: declare const id: string -->`. */
const snippets = [...readme.matchAll(/(?:<!-- given:([^]*?)-->\n+)?```ts\n([^]*?)```/g)]
  .map(([, given = "", code = ""]) => `${given}\n${code}\nexport {};\n`);

test("its code compiles against the entry points", { limitMs: 60_000 }, () => {
  assert.ok(snippets.length > 0);

  const { status, stdout } = compile(snippets);

  assert.is(status, 0, stdout);
});

test("a name that does not exist would not compile", { limitMs: 60_000 }, () => {
  const { status } = compile([`import { nothingOfThatName } from "coppice";\nexport {};`]);

  assert.is(status === 0, false);
});

test("every script it names exists", () => {
  const named = [...readme.matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)].map(([, run, own]) => run ?? own!);

  assert.ok(named.length > 0);
  assert.equal(named.filter((name) => !(name in scripts)), []);
});

test("every file it links to exists", () => {
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, link]) => link!);

  assert.equal(links.filter((link) => !existsSync(join(root, link))), []);
});

/** Compiles snippets as if `coppice` were installed, against the sources. */
function compile(files: readonly string[]) {
  const folder = join(root, "test/.tmp/readme");
  const paths = Object.entries(JSON.parse(readFileSync(join(root, "deno.json"), "utf8")).exports)
    .map(([entry, source]) => [`coppice${entry.slice(1)}`, [join(root, String(source))]]);
  mkdirSync(folder, { recursive: true });
  try {
    files.forEach((file, index) => writeFileSync(join(folder, `${index}.ts`), file));
    const config = {
      extends: "../../../tsconfig.json",
      compilerOptions: { rootDir: "../../..", paths: Object.fromEntries(paths) },
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ ...config, include: ["*.ts"] }));
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    return spawnSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test.run();
