// How fast one reader reads: read.ts NAME HOST:PORT BYTES WARMUP COUNT.
import process from "node:process";
import { cost, sourceCpuMs, tell } from "./clock.ts";
import type { ReaderName } from "./readers.ts";
import { readers, requestFor } from "./readers.ts";

const [name = "", hostPort = "", ...numbers] = process.argv.slice(2);
const [bytes = 0, warmup = 0, count = 0] = numbers.map(Number);
const reader = readers[name as ReaderName](hostPort); // The plan knows the names.
await reader.read(requestFor(bytes, warmup), warmup);
const before = await sourceCpuMs(hostPort);
const { cpuMs, wallMs } = await cost(() => reader.read(requestFor(bytes, count), count));
const sourceMs = await sourceCpuMs(hostPort) - before;
tell({ perSecond: count / wallMs * 1000, cpuUs: cpuMs / count * 1000, sourceBusy: sourceMs / wallMs });
