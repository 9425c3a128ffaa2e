import type { Code } from "@connectrpc/connect";
import { ConnectError } from "@connectrpc/connect";
import type { ActionType } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { ServerStream } from "./server-stream.ts";

/** A worker, as the engine knows it. */
export interface Worker {
  readonly id: string;
  active: boolean;
  listened: boolean;
  beatAt: number;
  readonly streams: Set<ServerStream>;
}

/** A run of one task. */
export interface Run {
  readonly id: string;
  state: "queued" | "assigned" | "talking" | "done";
  attempt: number;
  worker: Worker | undefined;
  output: string;
  cancelled: boolean;
}

/** That a run has ended. */
export function finished({ cancelled, id, output }: Run): unknown {
  const result = cancelled ? { error: "" } : { output };
  return { workflowRunId: id, results: [{ taskRunExternalId: id, taskName: "work", jobRunId: id, ...result }] };
}

/** What a worker is told about a run. */
export function action({ attempt, id }: Run, actionType: ActionType): unknown {
  return {
    workflowRunId: id,
    taskRunExternalId: id,
    taskName: "work",
    actionId: "work:work",
    actionType,
    actionPayload: JSON.stringify({ input: { id } }),
    retryCount: attempt,
  };
}

/** A status of the engine's own. */
export function status(code: Code, message: string): ConnectError {
  return new ConnectError(message, code, { "grpc-status": String(code) });
}
