// The source in a process of its own, a wire to it that can be cut, and an echo: says all addresses in a line, obeys lines, and ends
// with its standard input.
import process from "node:process";
import { createInterface } from "node:readline";
import { cuttingProxy } from "../../src/testing/mod.ts";
import { echo } from "./echo.ts";
import { serve } from "./server.ts";

const [port = 0, asks = 2] = process.argv.slice(2).map(Number);
const source = await serve({ port, asks });
const wire = await cuttingProxy(source.hostPort);
const { hostPort: echoing } = await echo();
const orders: Record<string, () => void> = { drain: () => source.drain(), cut: () => wire.cut("rst") };
console.log(`${source.hostPort} ${wire.hostPort} ${echoing}`);
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => orders[line]?.());
lines.once("close", () => process.exit());
