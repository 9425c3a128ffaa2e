import process from "node:process";
import type { Client } from "../src/mod.ts";
import { createClient } from "../src/mod.ts";
import { startEngine } from "../src/testing/mod.ts";

/** What an example does; it ends by itself or when the signal aborts. */
export type Main = (client: Client, signal: AbortSignal) => Promise<void>;

/**
 * Runs an example with the engine that HATCHET_CLIENT_TOKEN names, or with one in memory; what else it needs runs beside
 * it. Ctrl-C stops it.
 */
export async function run(main: Main, ...beside: Main[]): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const engine = process.env["HATCHET_CLIENT_TOKEN"] ? undefined : await startEngine();
  const client = createClient(engine && { hostPort: engine.hostPort, token: engine.token, tls: false });
  try {
    const rest = beside.map((one) => one(client, stop.signal));
    await main(client, stop.signal);
    stop.abort();
    await Promise.all(rest);
  } finally {
    await client.close();
    await engine?.close();
  }
}
