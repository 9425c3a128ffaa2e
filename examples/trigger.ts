/** Triggers runs and waits for them: `node examples/trigger.ts`. A worker that runs `greet` must be somewhere. */
import type { Client } from "../src/mod.ts";
import { RunFailedError } from "../src/mod.ts";
import { run } from "./run.ts";
import { greet, main as worker } from "./worker.ts";

export async function main(client: Client, signal: AbortSignal): Promise<void> {
  const { runs } = client;

  // Trigger and wait. With a task object, input and output have its types.
  const { greeting } = await runs.run(greet, { name: "Ada" }, { signal });
  console.log(greeting);

  // Trigger now and wait whenever: any process that has the id can.
  const { id } = await runs.trigger(greet, { name: "Grace" }, { signal });
  console.log(await runs.result(id, { signal }));

  // Many, in the order in which they settle.
  const started = await Promise.all(["Barbara", "Jean"].map((name) => runs.trigger(greet, { name }, { signal })));
  for await (const settled of runs.results(started.map((one) => one.id), { signal })) {
    console.log(settled.status);
  }

  // A run that failed throws what its tasks said.
  try {
    await runs.run(greet, { name: "" }, { signal });
  } catch (error) {
    if (!(error instanceof RunFailedError)) throw error;
    console.log(error.failures.map(({ message, task }) => `${task}: ${message}`).join("\n"));
  }
}

if (import.meta.main) await run(main, worker);
