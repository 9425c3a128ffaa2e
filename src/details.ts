import type { GetRunDetailsResponse } from "../gen/v1/workflows_pb.ts";
import { RunStatus } from "../gen/v1/workflows_pb.ts";
import { failureText } from "./errors.ts";
import { decode } from "./json.ts";

/** Where a run or a task is. */
export type Status = "queued" | "running" | "completed" | "failed" | "cancelled" | "evicted";

/** Where a run is, and what came of its tasks. */
export interface RunDetails {
  readonly status: Status;
  /** Whether nothing of it is queued, running or evicted any more. */
  readonly done: boolean;
  readonly input: unknown;
  readonly metadata: unknown;
  /** By name. Until the whole run is done the engine shows no outputs. */
  readonly tasks: Readonly<Record<string, TaskDetails>>;
}

/** Where a task is, and what came of it. */
export interface TaskDetails {
  readonly taskId: string;
  readonly status: Status;
  readonly output?: unknown;
  /** What it failed with; an empty text is the engine's own word for a cancel. */
  readonly error?: string;
}

const words: Readonly<Record<number, Status>> = {
  [RunStatus.QUEUED]: "queued",
  [RunStatus.RUNNING]: "running",
  [RunStatus.COMPLETED]: "completed",
  [RunStatus.FAILED]: "failed",
  [RunStatus.CANCELLED]: "cancelled",
  [RunStatus.EVICTED]: "evicted",
};

/** The engine's answer, as users see it. */
export function toDetails({ additionalMetadata, done, input, status, taskRuns }: GetRunDetailsResponse): RunDetails {
  const tasks = Object.entries(taskRuns).map(([name, { error, externalId: taskId, output, status }]) => {
    const ended = status === RunStatus.FAILED || status === RunStatus.CANCELLED;
    const details: TaskDetails = {
      taskId,
      status: word(status),
      ...(output !== undefined && output.length > 0 && { output: decode(text(output)) }),
      ...(ended && { error: failureText(error ?? "") }),
    };
    return [name, details] as const;
  });
  return {
    status: word(status),
    done,
    input: input.length > 0 ? decode(text(input)) : undefined,
    metadata: additionalMetadata.length > 0 ? decode(text(additionalMetadata)) : {},
    tasks: Object.fromEntries(tasks),
  };
}

/** A status that this version does not know is on its way to one that it does. */
function word(status: RunStatus): Status {
  return words[status] ?? "queued";
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
