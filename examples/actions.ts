/** The loop below a worker, for those who run actions in their own way: `node examples/actions.ts`. */
import type { Client, StartAction } from "../src/mod.ts";
import { AdminService } from "../src/proto.ts";
import { run } from "./run.ts";

export async function main(client: Client, signal: AbortSignal): Promise<void> {
  // Any service of the engine, with the client's connection and credentials.
  await client.rpc(AdminService).putWorkflow({
    name: "shout",
    tasks: [{ readableId: "shout", action: "shout:shout", inputs: "{}", timeout: "30s" }],
  }, { signal });

  const actions = client.actions({
    register: { name: "examples", actions: ["shout:shout"], slots: 10 },
    onRegistered: ({ workerId }) => console.log(`Registered as ${workerId}.`),
    signal,
  });
  try {
    for await (const action of actions) {
      // Not awaited: the next action may be the cancel of this one.
      if (action.kind === "start") shout(action).catch(unreported);
    }
  } catch (error) {
    if (!signal.aborted) throw error; // Else it is the signal's own reason.
  }
}

/** Each report is sent until the engine has it, whatever becomes of the connection. */
async function shout(action: StartAction): Promise<void> {
  await action.started();
  const { text = "" } = action.input as { readonly text?: string }; // The trigger's word for it.
  if (text === "") await action.failed(new Error("There is nothing to shout"), { retry: false });
  else await action.completed({ text: text.toUpperCase() });
}

/** The engine would not take a report, or the client was closed before it could. */
function unreported(error: unknown): void {
  console.error(String(error));
}

/** Somebody who triggers what the loop runs. */
async function shoutOnce(client: Client, signal: AbortSignal): Promise<void> {
  const { shout } = await client.runs.run("shout", { text: "hello" }, { signal });
  console.log(shout);
}

if (import.meta.main) {
  await run(async (client, signal) => {
    const stop = AbortSignal.any([signal, AbortSignal.timeout(2000)]);
    const looping = main(client, stop);
    await shoutOnce(client, stop);
    await looping;
  });
}
