import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { pause } from "../server.ts";

/** Where the built server is, or why there is none. */
export type Built = { readonly program: string; readonly lack?: undefined } | { readonly lack: string };

/** How long a build may take, in milliseconds: the first on a machine compiles all of grpc-go. */
const limitMs = 90_000;
/** For how long nobody tries again what failed: it failed for want of a network, and that takes its time. */
const regretMs = 600_000;

/** Whoever has it has it in the PATH. */
const command = "go";
const source = fileURLToPath(new URL("go/", import.meta.url));

/** Builds the server of go/ once for all who test with it on this machine, as long as its source stays the same. */
export async function buildPeer(): Promise<Built> {
  const version = await go(["version"]);
  if (version.code !== 0) return { lack: "there is no Go" };
  const folder = join(tmpdir(), `coppice-peer-${process.getuid?.() ?? 0}-${digest(version.output)}`);
  const program = join(folder, "peer");
  const lock = join(folder, "lock");
  const regret = join(folder, "failed");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const endAt = Date.now() + limitMs; Date.now() < endAt; await pause(100)) {
    if (existsSync(program)) return { program };
    if (ageMs(regret) < regretMs) return { lack: readFileSync(regret, "utf8") };
    // A lock as old as a build can get was left by one that was killed.
    if (ageMs(lock) < limitMs) continue;
    rmSync(lock, { force: true, recursive: true });
    if (!taken(lock)) continue;
    const fresh = join(lock, "peer");
    const { code, output } = await go(["build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", fresh]);
    if (code === 0) renameSync(fresh, program);
    else writeFileSync(regret, `it does not build: ${output.trim().split("\n").at(-1) ?? ""}`);
    rmSync(lock, { force: true, recursive: true });
  }
  return { lack: `it did not build within ${limitMs / 1000} s` };
}

function digest(version: string): string {
  const hash = createHash("sha256").update(version);
  for (const file of ["main.go", "go.mod", "go.sum"]) hash.update(readFileSync(join(source, file)));
  return hash.digest("hex").slice(0, 16);
}

/** How long ago something was made, in milliseconds; for ever where there is nothing. */
function ageMs(path: string): number {
  const made = statSync(path, { throwIfNoEntry: false });
  return made === undefined ? Infinity : Date.now() - made.mtimeMs;
}

function taken(lock: string): boolean {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    return false; // Somebody else was first.
  }
}

/** Runs the `go` command in the source's folder; without one its code is 127. */
function go(args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false", GOTOOLCHAIN: "local" };
  return new Promise((resolve) => {
    let output = "";
    const child = spawn(command, args, { cwd: source, env, stdio: ["ignore", "pipe", "pipe"] });
    const late = setTimeout(() => child.kill("SIGKILL"), limitMs - 5000);
    for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (chunk: Uint8Array) => output += chunk);
    child.once("error", () => resolve({ code: 127, output }));
    child.once("close", (code) => {
      clearTimeout(late);
      resolve({ code, output: code === null ? `${output}\nkilled after ${limitMs / 1000} s` : output });
    });
  });
}
