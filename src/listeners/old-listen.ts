import { Code, ConnectError } from "@connectrpc/connect";
import { Dispatcher } from "../../gen/dispatcher/dispatcher_pb.ts";
import { isRefusal } from "../doubt.ts";
import type { Root } from "../root.ts";
import { originOf } from "../streams/verdict.ts";
import { beatTimeoutMs } from "./heartbeat.ts";

/** What an engine says that cannot answer at the moment, and a proxy in its name: it proves no engine. */
const unproven: readonly Code[] = [
  Code.Unimplemented,
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.ResourceExhausted,
  Code.Canceled,
];

/**
 * Whether an engine that said Unimplemented to ListenV2 is too old for it. Proxies say so too, and even in the engine's
 * own way: only an engine that answers another call of the same service lacks this one. The call asked for does nothing,
 * and is as old as the engine.
 */
export async function lacksListenV2(root: Root, signal: AbortSignal): Promise<boolean> {
  try {
    await root.channel.up(signal);
    await root.rpc(Dispatcher).putOverridesData({}, { signal, timeoutMs: beatTimeoutMs });
    return true;
  } catch (error) {
    // Where nobody of the engine's has answered, nobody of the engine's has said Unimplemented.
    return isAnswer(error);
  }
}

export function isUnimplemented(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.Unimplemented;
}

/** Whether the engine itself looked at the call, and said what it thinks of it. */
function isAnswer(error: unknown): boolean {
  return error instanceof ConnectError && originOf(error) === "engine" && !isRefusal(error) &&
    !unproven.includes(error.code);
}
