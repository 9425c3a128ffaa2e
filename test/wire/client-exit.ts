/*
 * A process of its own for client-exit.test.ts: does what the first argument says with the engine at the second, by the
 * token that is the third, closes its client or not, says so, and does nothing more. It shall end by itself then.
 */
import process from "node:process";
import { createClient, task } from "../../src/mod.ts";

const [what = "", hostPort = "", token = ""] = process.argv.slice(2);
const nobody = "00000000-0000-4000-8000-000000000000";
const double = task({ name: "double", run: ({ number }: { number: number }) => ({ doubled: 2 * number }) });
const client = createClient({ hostPort, token, tls: false, logger: false });

/** Lets go of a promise that is expected to fail. */
function abandon(promise: Promise<unknown>): void {
  promise.catch((error: unknown) => error);
}

async function watch(): Promise<void> {
  for await (const _ of client.status()) {
    // Whoever watches holds nothing open.
  }
}

const scenes: Readonly<Record<string, () => Promise<void>>> = {
  async work() {
    const worker = client.worker("exit", { tasks: [double] });
    const running = worker.run();
    await worker.ready();
    await client.runs.run(double, { number: 1 });
    await client.close();
    await running;
  },
  async watching() {
    abandon(watch());
    await client.register({ name: "exit", actions: ["a:b"] });
    await client.close();
  },
  async "watching without a close"() {
    abandon(watch());
    await client.register({ name: "exit", actions: ["a:b"] });
  },
  async abandoned() {
    const read = client.actions({ register: { name: "exit", actions: ["a:b"] } })[Symbol.asyncIterator]().next();
    abandon(read);
    abandon(client.runs.result(nobody));
    abandon(client.worker("exit", { tasks: [double] }).run());
    while (client.health().streams.filter(({ state }) => state === "live").length < 2) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await client.close({ graceMs: 0 });
  },
  async "refused without a close"() {
    const settled = await Promise.allSettled([
      client.runs.result(nobody),
      client.runs.run(double, { number: 1 }),
      client.worker("exit", { tasks: [double] }).run(),
      client.actions({ workerId: nobody })[Symbol.asyncIterator]().next(),
    ]);
    console.log(settled.map((one) => one.status === "rejected" ? one.reason.code : "fulfilled").join(" "));
  },
  async "down"() {
    abandon(client.runs.result(nobody));
    abandon(client.runs.trigger(double, { number: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await client.close({ graceMs: 0 });
  },
  async "nothing"() {
    // Not even a close: a client that never called anybody holds nothing.
  },
};

await scenes[what]?.();
console.log("done");
