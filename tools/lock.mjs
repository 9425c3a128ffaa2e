// Completes package-lock.json: run it after every `npm install`.
// A registry that does not serve every platform's binary packages makes npm write a lockfile without them, and then
// `npm ci` fails, here or on another platform. This adds the optional packages that a locked package names.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

const systems = /^(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32|windows)$/;
const processors = /^(arm|arm64|aarch64|armv7|ia32|loong64|mips64el|ppc64|riscv64|s390x|wasm32|x64)$/;
const libraries = /^(gnu|glibc|gnueabihf|musl|musleabihf)$/;
const npmNames = { windows: "win32", aarch64: "arm64", armv7: "arm", gnu: "glibc" };

/** The optional packages that locked packages name and the lockfile lacks. */
export function missing(lock) {
  const found = [];
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
      if (!isLocked(lock, path, name)) found.push({ name, range, dev: path !== "" && entry.dev === true });
    }
  }
  return found;
}

/** Node looks in the package's own node_modules, then in that of each package around it. */
function isLocked(lock, path, name) {
  for (let at = path;; at = at.slice(0, Math.max(0, at.lastIndexOf("/node_modules/")))) {
    if (`${at && `${at}/`}node_modules/${name}` in lock.packages) return true;
    if (at === "") return false;
  }
}

/** What a package's name says about its platform, for packages the registry does not serve. */
export function platform(name) {
  const words = name.split(/[-/@]/);
  const pick = (pattern) => words.filter((word) => pattern.test(word)).map((word) => npmNames[word] ?? word);
  const [os, cpu, libc] = [pick(systems).slice(-1), pick(processors), pick(libraries)];
  const known = libc.filter((word) => word === "glibc" || word === "musl");
  return { ...(os.length && { os }), ...(cpu.length && { cpu }), ...(known.length && { libc: known }) };
}

function describe({ name, range, dev }) {
  const fields = ["version", "os", "cpu", "libc", "dist.integrity", "license"];
  const view = spawnSync("npm", ["view", `${name}@${range}`, ...fields, "--json"], { encoding: "utf8", shell: exe });
  const served = view.status === 0 && view.stdout ? [JSON.parse(view.stdout)].flat().at(-1) : undefined;
  if (!served && !/^\d+\.\d+\.\d+/.test(range)) throw new Error(`${name}@${range} is not served and names no version.`);
  const { version = range, "dist.integrity": integrity, license, ...rest } = served ?? platform(name);
  const { os, cpu, libc } = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, [value].flat()]));
  return JSON.parse(
    JSON.stringify({ version, integrity, cpu, dev: dev || undefined, libc, license, optional: true, os }),
  );
}

const exe = process.platform === "win32";
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = new URL("../package-lock.json", import.meta.url);
  const lock = JSON.parse(readFileSync(file, "utf8"));
  const added = missing(lock);
  for (const lack of added) lock.packages[`node_modules/${lack.name}`] = describe(lack);
  for (const entry of Object.values(lock.packages)) delete entry.resolved;
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en")));
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`package-lock.json: ${added.length} added${added.map(({ name }) => `\n  ${name}`).join("")}`);
}
