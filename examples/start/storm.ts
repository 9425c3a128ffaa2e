import type { Client } from "../../src/mod.ts";
import type { Ledger } from "./ledger.ts";
import type { Screen } from "./screen.ts";

/** One blow to the connection. */
export interface Cut {
  readonly kind: string;
  /** How long after the recovery from the one before, in milliseconds. */
  readonly afterMs: number;
  readonly fall: () => void | Promise<void>;
}

/** Lets the cuts fall one after another, each when the client has recovered from the one before. */
export async function storm(
  cuts: readonly Cut[],
  client: Client,
  ledger: Ledger,
  screen: Screen,
  signal: AbortSignal,
): Promise<void> {
  for (const { afterMs, fall, kind } of cuts) {
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    signal.throwIfAborted();
    const cutAt = Date.now();
    const noticed = lost(client);
    ledger.cut(kind);
    await fall();
    await noticed;
    await recovered(client);
    ledger.recovered(Date.now() - cutAt);
    screen.say(`${kind}: the worker's stream is back after ${((Date.now() - cutAt) / 1000).toFixed(1)} s`);
  }
}

/** Resolves when the worker's stream has been lost. */
async function lost(client: Client): Promise<void> {
  for await (const { state, stream } of client.status()) if (stream === "actions" && state !== "live") return;
}

/** Resolves when the worker's stream is live. */
async function recovered(client: Client): Promise<void> {
  for await (const { state, stream } of client.status()) if (stream === "actions" && state === "live") return;
}
