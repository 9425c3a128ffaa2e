// How long it takes from a cut to the result that the cut had lost: recover.ts CUT TIMES. All in parallel, for most of it is
// waiting, each with a source, a wire and a client of its own; the client has every default.
import process from "node:process";
import type { CuttingProxy } from "../../src/testing/mod.ts";
import { cuttingProxy } from "../../src/testing/mod.ts";
import type { SourceProcess } from "../source/child.ts";
import { startSource } from "../source/child.ts";
import { done, lost } from "../source/server.ts";
import { clientOf, runId } from "./engine.ts";

/** What breaks. */
interface Stage {
  readonly proxy: CuttingProxy;
  source: SourceProcess;
}

/** How it breaks; what it returns is to be done when the client waits to come back. */
const cuts: Record<string, (stage: Stage) => Promise<(() => void) | void> | (() => void) | void> = {
  fin: ({ proxy }) => proxy.cut("fin"),
  rst: ({ proxy }) => proxy.cut("rst"),
  goaway: ({ source }) => source.drain(),
  async restart(stage) {
    const port = Number(stage.source.hostPort.split(":")[1]);
    await stage.source.kill();
    // What the first process forgot the second one knows.
    stage.source = await startSource(port, 1);
  },
  blackhole({ proxy }) {
    proxy.stall();
    return () => proxy.resume();
  },
};

/** One recovery. */
interface Recovery {
  readonly wholeMs: number;
  /** What the client had drawn to wait, all its tries together. */
  readonly drawnMs: number;
}

async function recovery(cut: string): Promise<Recovery> {
  const source = await startSource();
  const stage: Stage = { source, proxy: await cuttingProxy(source.hostPort) };
  const client = clientOf(stage.proxy.hostPort);
  let drawnMs = 0;
  let mend: (() => void) | undefined;
  const watching = (async () => {
    for await (const report of client.status()) {
      if (report.state !== "waiting") continue;
      drawnMs += report.delayMs;
      mend?.();
    }
  })();
  try {
    const result = client.runs.result(runId(lost, 1));
    // Answered when the source has read what came before it: the first asking is what the cut has to lose.
    await client.runs.result(runId(done, 1));
    const startedAt = performance.now();
    mend = await cuts[cut]?.(stage) ?? undefined;
    await result;
    return { wholeMs: performance.now() - startedAt, drawnMs };
  } finally {
    await client.close();
    await watching;
    await stage.proxy.close();
    await stage.source.kill();
  }
}

const [cut = "", times = "1"] = process.argv.slice(2);
const recoveries = await Promise.all(Array.from({ length: Number(times) }, () => recovery(cut)));
console.log(JSON.stringify(recoveries));
process.exit(0);
