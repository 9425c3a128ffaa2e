/** Watches where every stream is, and answers a readiness probe: `node examples/status.ts`. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Client, StreamReport } from "../src/mod.ts";
import { run } from "./run.ts";
import { main as worker } from "./worker.ts";

export async function main(client: Client, signal: AbortSignal): Promise<void> {
  const probe = createServer((_, response) => {
    const { ready, streams } = client.health(); // Never ready while a stream does not receive.
    response.statusCode = ready ? 200 : 503;
    response.end(JSON.stringify(streams.map(({ state, stream }) => ({ state, stream }))));
  });
  probe.listen(0, "127.0.0.1", () => {
    console.log(`The probe is http://127.0.0.1:${(probe.address() as AddressInfo).port}.`); // It listens on TCP.
  });

  // First a snapshot, then changes; it ends when the client closes, and keeps no process alive.
  const reports = client.status();
  signal.addEventListener("abort", () => void reports.return?.());
  for await (const report of reports) console.log(line(report));
  probe.close();
}

/** One status is one object, with what belongs to its state. */
function line(report: StreamReport): string {
  switch (report.state) {
    case "connecting":
      return `${report.stream}: connecting, for the ${report.attempt}. time`;
    case "live":
      return `${report.stream}: live${report.paused ? ", but its reader is behind" : ""}`;
    case "waiting":
      return `${report.stream}: lost ${report.failures} times in a row, back in ${Math.round(report.delayMs)} ms`;
    case "ended":
      return `${report.stream}: ended${report.error instanceof Error ? `: ${report.error.message}` : ""}`;
  }
}

if (import.meta.main) await run(main, worker);
