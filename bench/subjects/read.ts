// How fast one reader reads, so many streams at once: read.ts NAME HOST:PORT BYTES STREAMS WARMUP COUNT, both per stream.
import process from "node:process";
import { rate, tell } from "./clock.ts";
import type { ReaderName } from "./readers.ts";
import { readers, requestFor } from "./readers.ts";

const [name = "", hostPort = "", ...numbers] = process.argv.slice(2);
const [bytes = 0, streams = 0, warmup = 0, count = 0] = numbers.map(Number);
const reader = readers[name as ReaderName](hostPort); // The plan knows the names.
const read = (count: number) =>
  Promise.all(Array.from({ length: streams }, () => reader.read(requestFor(bytes, count), count)));
await read(warmup);
tell(await rate(hostPort, streams * count, () => read(count)));
