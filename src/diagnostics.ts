import { channel } from "node:diagnostics_channel";
import type { StreamReport } from "./board.ts";

const streams = channel("coppice:stream");

/**
 * Tells every subscriber of the diagnostics channel `coppice:stream` where a stream is: the same reports as
 * `client.status()`, of all clients of the process. Without subscribers it costs one look.
 */
export function publish(report: StreamReport): void {
  if (streams.hasSubscribers) streams.publish(report);
}
