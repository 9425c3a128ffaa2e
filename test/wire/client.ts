import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { spawn } from "node:child_process";
import type { Client, ClientOptions, Worker, WorkerOptions } from "../../src/mod.ts";
import { createClient, task } from "../../src/mod.ts";
import type { Clock } from "../../src/streams/clock.ts";
import { systemClock } from "../../src/streams/clock.ts";
import type { CuttingProxy, Engine, EngineOptions } from "../../src/testing/mod.ts";
import { cuttingProxy, startEngine } from "../../src/testing/mod.ts";
import { assert } from "../harness.ts";

/** The waits of the defaults, a tenth to a fortieth of them. */
export const quick = { baseMs: 20, capMs: 250, connectTimeoutMs: 1000, firstDelayMs: 50, slowCapMs: 500 } as const;

/** A run id that no engine knows. */
export const nobody = "00000000-0000-4000-8000-000000000000";

/** An engine, a proxy before it, and clients that go through the proxy. */
export class Stage {
  readonly engine: Engine;
  readonly proxy: CuttingProxy;
  readonly #clients: Client[] = [];

  private constructor(engine: Engine, proxy: CuttingProxy) {
    this.engine = engine;
    this.proxy = proxy;
  }

  static async open(options: EngineOptions = {}): Promise<Stage> {
    const engine = await startEngine(options);
    return new Stage(engine, await cuttingProxy(engine.hostPort));
  }

  client(options: ClientOptions = {}): Client {
    const { engine: { token }, proxy: { hostPort } } = this;
    const client = createClient({ hostPort, token, tls: false, logger: false, retry: quick, ...options });
    this.#clients.push(client);
    return client;
  }

  /** A worker of `client` that receives, for these tasks. */
  async worker(client: Client, ...tasks: WorkerOptions["tasks"]): Promise<Worker> {
    const worker = client.worker("tester", { tasks });
    worker.run().catch((error: unknown) => {
      // Whoever awaits `ready()` hears of it.
      void error;
    });
    await worker.ready();
    return worker;
  }

  /** Closes everything, and asserts that the clients left nothing behind. */
  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close({ graceMs: 0 })));
    const left = [this.proxy.connections, this.proxy.connections === 0 ? 0 : await settledConnections(this.proxy)];
    await this.proxy.close();
    await this.engine.close();
    assert.is(left[1], 0, `${left[1]} connections outlived their clients`);
  }
}

async function settledConnections(proxy: CuttingProxy): Promise<number> {
  for (let waited = 0; proxy.connections > 0 && waited < 1000; waited += 10) await sleep(10);
  return proxy.connections;
}

/** Doubles a number after as many milliseconds as it is told. */
export const double = task({
  name: "double",
  retries: 5,
  timeoutMs: 5000,
  run: async ({ afterMs = 0, number }: { number: number; afterMs?: number }) => {
    await sleep(afterMs);
    return { doubled: 2 * number };
  },
});

/** The first read of a loop. */
export function first<T>(loop: AsyncIterable<T>): Promise<IteratorResult<T, unknown>> {
  return loop[Symbol.asyncIterator]().next();
}

export async function until(what: () => boolean, limitMs = 5000): Promise<void> {
  for (const end = Date.now() + limitMs; !what();) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await sleep(5);
  }
}

/** Time that runs so many times faster. */
export function hasty(factor: number): Clock {
  const startedAt = systemClock.now();
  return {
    now: () => startedAt + (systemClock.now() - startedAt) * factor,
    sleep: (ms, signal, options) => systemClock.sleep(ms / factor, signal, options),
  };
}

/** How a process of its own went: what it said, and how long it lived after it had said its last word. */
export interface Ran {
  readonly code: number | null;
  readonly output: string;
  readonly lingeredMs: number;
}

/** Runs client-exit.ts on the runtime that runs this file. */
export function run(...args: string[]): Promise<Ran> {
  const child = spawn(process.execPath, [
    ...("deno" in process.versions ? ["run", "-A"] : []),
    fileURLToPath(new URL("./client-exit.ts", import.meta.url)),
    ...args,
  ]);
  const kill = setTimeout(() => child.kill("SIGKILL"), 8000);
  let output = "";
  let saidAt = Date.now();
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.on("data", (chunk: Uint8Array) => {
      output += chunk;
      saidAt = Date.now();
    });
  }
  return new Promise((resolve) => {
    child.once("close", (code: number | null) => {
      clearTimeout(kill);
      resolve({ code, output, lingeredMs: Date.now() - saidAt });
    });
  });
}
