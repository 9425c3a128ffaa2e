import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { command } from "../tools/with.mjs";

/** A bundle of one entry point, minified, in bytes. */
export interface Bundle {
  readonly bytes: number;
  readonly gzip: number;
}

/** Bundles an entry point with Bun; `alone` leaves out the packages that it depends on. */
export function bundle(file: string, alone: boolean): Bundle {
  const directory = mkdtempSync(join(tmpdir(), "bundle-"));
  try {
    const [bun = ""] = command("bun");
    const packages = alone ? ["--packages=external"] : [];
    const outfile = join(directory, "bundle.js");
    const build = spawnSync(bun, ["build", file, "--minify", "--target=node", ...packages, `--outfile=${outfile}`], {
      encoding: "utf8",
    });
    if (build.status !== 0) throw new Error(`bun build ${file} failed: ${build.stderr}`);
    const built = readFileSync(outfile);
    return { bytes: built.length, gzip: gzipSync(built).length };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
