import type { Client } from "nice-grpc";
import { createChannel, createClient } from "nice-grpc";
import { definitions } from "./peers.ts";

/** nice-grpc with every default. */
export function niceClient(hostPort: string): { client: Client<typeof definitions>; close: () => void } {
  const channel = createChannel(hostPort);
  return { client: createClient(definitions, channel), close: () => channel.close() };
}
