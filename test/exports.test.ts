import { readFileSync } from "node:fs";
import { assert, suite } from "./harness.ts";

const test = suite("exports");
const npm = read("../package.json");
const jsr = read("../deno.json");
const entries = Object.keys(npm.exports).filter((entry) => entry !== "./package.json");

test("npm and JSR offer the same entry points, built and unbuilt", () => {
  const built = entries.map((entry) => [entry, npm.exports[entry].default]);

  const expected = Object.entries<string>(jsr.exports).map((
    [entry, source],
  ) => [entry, source.replace(/^\.(.*)ts$/, "./dist$1js")]);

  assert.ok(entries.length > 0);
  assert.equal(built, expected);
});

test("every entry point has types beside its code", () => {
  for (const entry of entries) {
    const { types, default: code, ...others } = npm.exports[entry];

    assert.is(types, code.replace(/\.js$/, ".d.ts"));
    assert.equal(others, {});
  }
});

test("npm and JSR have the same version and licence", () => {
  assert.equal([npm.version, npm.license], [jsr.version, jsr.license]);
});

for (const [entry, source] of Object.entries<string>(jsr.exports)) {
  test(`"${entry}" can be imported and offers something`, async () => {
    const module: object = await import(new URL(`.${source}`, import.meta.url).href);

    assert.ok(Object.keys(module).length > 0);
  });
}

function read(path: string) {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
}

test.run();
