/**
 * What the tests against a real engine share. The engine is the one that HATCHET_CLIENT_TOKEN and its relatives name;
 * LIVE_DRAIN, LIVE_KILL and LIVE_START are commands that stop it as a deploy does, kill it, and start it again. They
 * run under `npm run live` alone: `npm test` runs files side by side, and an engine that is drained is drained for all.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { resolveConfig } from "../../src/config.ts";
import type { AnyTask, Client, ClientOptions, Worker } from "../../src/mod.ts";
import { createClient } from "../../src/mod.ts";
import type { CuttingProxy } from "../../src/testing/mod.ts";
import { cuttingProxy } from "../../src/testing/mod.ts";
import type { Test } from "../harness.ts";
import { suite } from "../harness.ts";

/** Goes before every name that this process gives: other workers of the tenant must not get its runs. */
export const mark: string = `live-${Math.random().toString(36).slice(2, 8)}`;

/** After a kill the engine schedules nothing for so long, in milliseconds; what is triggered meanwhile waits. */
export const blindMs = 66_000;

/** The engine hangs up on whoever pings more often than every 5 s; this is as quick as a black hole gets noticed. */
export const quickPings = { intervalMs: 5500, timeoutMs: 2000 } as const;

/** The environment variable that holds the command. */
export type Command = "LIVE_DRAIN" | "LIVE_KILL" | "LIVE_START";

/** What a suite may want beyond the token. */
type Wanted = Command | "HATCHET_CLIENT_SERVER_URL";

/** Why nothing can be tested, or undefined. */
export function lack(...wanted: Wanted[]): string | undefined {
  if (!process.env["HATCHET_CLIENT_TOKEN"]) return "HATCHET_CLIENT_TOKEN names no engine";
  if (!process.env["COPPICE_LIVE"]) return "run by `npm run live`";
  const missing = wanted.filter((name) => !process.env[name]);
  return missing.length === 0 ? undefined : `without ${missing.join(", ")}`;
}

/** A suite that is skipped, and says why, when there is no engine or something else that it wants is missing. */
export function live(name: string, ...wanted: Wanted[]): Test {
  const test = suite(name);
  const reason = lack(...wanted);
  if (reason === undefined) return test;
  const hook = Object.assign(() => {}, { each: () => {} });
  return Object.assign((title: string) => test.skip(title, reason), {
    skip: test.skip,
    before: hook,
    after: hook,
    run: () => test.run(),
  });
}

/** Runs the command that a variable holds, and waits until it is done. */
export function command(name: Command): Promise<void> {
  const child = spawn("sh", ["-c", process.env[name] ?? ""], { stdio: "ignore" });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => code === 0 ? resolve() : reject(new Error(`${name} ended with ${code}`)));
  });
}

/**
 * Stops the engine as a deploy does: one that is still there after 30 s is killed, as orchestrators do. A busy engine
 * may hang in its own shutdown. True when it went by itself.
 */
export async function drain(): Promise<boolean> {
  const gone = command("LIVE_DRAIN");
  const inTime = await Promise.race([gone.then(() => true), sleep(30_000, false)]);
  if (!inTime) await command("LIVE_KILL");
  await gone;
  return inTime;
}

/** A cutting proxy before the engine, and clients that go through it. */
export class Stage {
  readonly proxy: CuttingProxy;
  readonly #clients: Client[] = [];

  private constructor(proxy: CuttingProxy) {
    this.proxy = proxy;
  }

  static async open(): Promise<Stage> {
    const { host, port } = await resolveConfig().address();
    // The certificate bears the engine's name, not the proxy's.
    process.env["HATCHET_CLIENT_TLS_SERVER_NAME"] ||= host;
    return new Stage(await cuttingProxy(`${host}:${port}`));
  }

  client(options: ClientOptions = {}): Client {
    const client = createClient({ hostPort: this.proxy.hostPort, logger: false, ...options });
    this.#clients.push(client);
    return client;
  }

  /** A worker that receives, for these tasks. */
  async worker(client: Client, tasks: readonly AnyTask[], slots = 100): Promise<Worker> {
    const worker = client.worker(`${mark}-worker`, { tasks, slots });
    worker.run().catch((error: unknown) => {
      // Whoever awaits `ready()` hears of it.
      void error;
    });
    await worker.ready();
    return worker;
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close({ graceMs: 0 })));
    await this.proxy.close();
  }
}

/** Waits until something holds. */
export async function until(what: () => boolean | Promise<boolean>, limitMs = 30_000): Promise<void> {
  for (const end = Date.now() + limitMs; !await what();) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await sleep(20);
  }
}

export function pause(ms: number): Promise<void> {
  return sleep(ms);
}
