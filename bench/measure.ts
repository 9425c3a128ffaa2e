import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { command } from "../tools/with.mjs";

/** What is measured on. */
export type Runtime = "node" | "deno" | "bun";

export const runtimes: readonly Runtime[] = ["node", "deno", "bun"];

/** What makes the collector callable from code. */
const exposed: Record<Runtime, readonly string[]> = {
  node: ["--expose-gc"],
  deno: ["--v8-flags=--expose-gc"],
  bun: [],
};

/** How long a process may take before it counts as hung, in milliseconds. */
const limitMs = 60_000;

/** Runs a subject in a process of its own, and gives back what it told in its last line. */
export function measure(runtime: Runtime, subject: string, ...args: readonly (string | number)[]): Promise<unknown> {
  const file = fileURLToPath(new URL(`./subjects/${subject}.ts`, import.meta.url));
  const [program = "", ...first] = command(runtime);
  const child = spawn(program, [...first, ...exposed[runtime], file, ...args.map(String)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const kill = setTimeout(() => child.kill("SIGKILL"), limitMs);
  let [output, complaint] = ["", ""];
  child.stdout.on("data", (piece: Uint8Array) => output += piece);
  child.stderr.on("data", (piece: Uint8Array) => complaint += piece);
  return new Promise((resolve, reject) => {
    child.once("close", (code) => {
      clearTimeout(kill);
      const line = output.trimEnd().split("\n").at(-1) ?? "";
      if (code === 0 && line !== "") resolve(JSON.parse(line));
      else reject(new Error(`${runtime} ${subject} ${args.join(" ")} ended with ${code}: ${complaint.slice(0, 600)}`));
    });
  });
}
