// How many unary calls a second are made, so many at once: unary.ts NAME ECHO SOURCE AT_ONCE WARMUP COUNT, two HOST:PORT of
// one process.
import process from "node:process";
import type { CallerName } from "./callers.ts";
import { callAll, callers } from "./callers.ts";
import { rate, tell } from "./clock.ts";

const [name = "", hostPort = "", source = "", ...numbers] = process.argv.slice(2);
const [atOnce = 0, warmup = 0, count = 0] = numbers.map(Number);
const make = callers[name as CallerName](hostPort); // The plan knows the names.
await callAll(make, warmup, atOnce);
tell(await rate(source, count, () => callAll(make, count, atOnce)));
