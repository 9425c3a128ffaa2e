/** A worker that runs a task until it is told to stop: `node examples/worker.ts`. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../src/mod.ts";
import { task } from "../src/mod.ts";
import { run } from "./run.ts";

/** A definition needs no client: whoever triggers it imports this, and gets its types. */
export const greet = task({
  name: "greet",
  retries: 2,
  timeoutMs: 30_000,
  run: async ({ name }: { name: string }, { signal }) => {
    if (name === "") throw new Error("There is nobody to greet");
    await sleep(50, undefined, { signal }); // The signal aborts when the run is cancelled, or the worker stops.
    return { greeting: `Hello, ${name}!` };
  },
});

export async function main(client: Client, signal: AbortSignal): Promise<void> {
  const worker = client.worker("examples", { tasks: [greet], slots: 10 });
  const working = worker.run({ signal }); // Resolves when it has stopped, and rejects when it gave up.
  await Promise.race([worker.ready(), working]);
  console.log("The worker is ready.");
  await working;
}

if (import.meta.main) await run(main);
