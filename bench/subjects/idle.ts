// How much heap an open stream takes on which nothing comes: idle.ts NAME HOST:PORT COUNT, with the collector exposed.
import process from "node:process";
import { setImmediate } from "node:timers/promises";
import { source, tell } from "./clock.ts";
import { heap } from "./heap.ts";
import type { ReaderName } from "./readers.ts";
import { readers, requestFor } from "./readers.ts";

const [name = "", hostPort = "", size = "0"] = process.argv.slice(2);
const count = Number(size);
const reader = readers[name as ReaderName](hostPort); // The plan knows the names.
// The connection and the code are there before.
await reader.read(requestFor(96, 1000), 1000);
const { heapBytes } = await heap();
const before = await heapBytes();
for (let opened = 0; opened < count; opened++) void reader.read(requestFor(96, 0), 1); // The process ends first.
while ((await source(hostPort)).streams < count) await setImmediate();
const after = await heapBytes();
tell({ bytes: (after - before) / count });
