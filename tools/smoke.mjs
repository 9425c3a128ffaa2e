// The built package on the oldest Node we support: every entry point loads, and a stream comes back after a cut.
import { readFileSync } from "node:fs";
import process from "node:process";
import { reconnect } from "coppice/streams";
import { hangUp, script, VirtualClock } from "coppice/testing";

const { exports } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
for (const entry of Object.keys(exports).filter((entry) => entry !== "./package.json")) {
  const module = await import(`coppice${entry.slice(1)}`);
  if (Object.keys(module).length === 0) throw new Error(`coppice${entry.slice(1)} offers nothing`);
}

const clock = new VirtualClock();
const peer = script(clock, ["a", hangUp], ["b"]);
const heard = await clock.drive(async () => {
  const messages = [];
  for await (const message of reconnect(peer.open, { clock })) if (messages.push(message) === 2) return messages;
});
if (String(heard) !== "a,b") throw new Error(`heard ${String(heard)} instead of a,b`);
console.log(`Node ${process.version}: ${Object.keys(exports).length - 1} entry points, and a stream that came back`);
