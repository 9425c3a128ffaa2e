// How long an entry point takes to import: imports.ts URL.
import process from "node:process";
import { tell } from "./clock.ts";

const startedAt = performance.now();
await import(process.argv[2] ?? "");
tell({ wallMs: performance.now() - startedAt });
