import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { WorkflowEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import { ResourceEventType, ResourceType } from "../../gen/dispatcher/dispatcher_pb.ts";
import { failureText } from "../errors.ts";
import { decode } from "../json.ts";

/** What every event but a gap carries. */
interface Told {
  readonly runId: string;
  /** When it happened, by the engine's clock; a chunk's by its sender's. */
  readonly at: Date | undefined;
}

/** What every event of an attempt carries. */
interface OfTask extends Told {
  readonly taskId: string;
  /** Which try of the task, counted from 0, where the engine says so. */
  readonly attempt?: number;
}

/**
 * Something that happened to a task of a run. `started` means that the engine knows the task, not that it runs; `failed`
 * is one attempt, and not final while retries remain.
 */
export type TaskEvent =
  | OfTask & { readonly kind: "started" }
  | OfTask & { readonly kind: "completed"; readonly output: unknown }
  | OfTask & { readonly kind: "failed"; readonly error: string }
  | OfTask & { readonly kind: "cancelled" };

/** A piece of what a task streams. */
export interface RunChunk extends Told {
  readonly kind: "chunk";
  readonly taskId: string;
  readonly text: string;
  /** Its place among the chunks of its task, counted from 0, where the sender numbers them. */
  readonly index?: number;
}

/**
 * Something may be missing here: the stream was opened again (`reconnect`), it came too late for the first chunks of a
 * task (`start`), or numbers or the end of the stream show that something was lost (`missing`). The engine repeats
 * nothing; {@link RunRef.details} tells where the run is.
 */
export interface RunGap {
  readonly kind: "gap";
  readonly why: "reconnect" | "start" | "missing";
  /** Whose chunks are missing; without it, anything may be. */
  readonly taskId?: string;
}

/** The end of a whole run; after `run failed` it may go on, while retries remain. */
export interface RunEnd extends Told {
  readonly kind: "run completed" | "run failed" | "run cancelled";
}

/** What streams of events tell. Ends of runs are told by those of many runs only: that of one run ends with it. */
export type RunEvent = TaskEvent | RunChunk | RunGap | RunEnd;

const ends: Readonly<Partial<Record<ResourceEventType, RunEnd["kind"]>>> = {
  [ResourceEventType.COMPLETED]: "run completed",
  [ResourceEventType.FAILED]: "run failed",
  [ResourceEventType.CANCELLED]: "run cancelled",
};

const sizes = new WeakMap<RunEvent, number>();

/** What the engine sent, as users see it; `undefined` for what this version does not know. */
export function toRunEvent(message: WorkflowEvent): RunEvent | undefined {
  return message.resourceType === ResourceType.WORKFLOW_RUN ? sized(ofRun(message), message) : toTaskEvent(message);
}

/** The same, of what happened to a task. */
export function toTaskEvent(message: WorkflowEvent): TaskEvent | RunChunk | undefined {
  return sized(ofTask(message), message);
}

/** How much of a queue's bounds an event takes: its payload, in characters. */
export function sizeOf(event: RunEvent): number {
  return sizes.get(event) ?? 0;
}

function sized<E extends RunEvent>(event: E | undefined, { eventPayload }: WorkflowEvent): E | undefined {
  if (event !== undefined && eventPayload !== "") sizes.set(event, eventPayload.length);
  return event;
}

function ofRun({ eventTimestamp, eventType, workflowRunId: runId }: WorkflowEvent): RunEnd | undefined {
  const kind = ends[eventType];
  return kind && { kind, runId, at: date(eventTimestamp) };
}

function ofTask(message: WorkflowEvent): TaskEvent | RunChunk | undefined {
  const { eventIndex, eventPayload, eventTimestamp, resourceId: taskId, retryCount: attempt } = message;
  const told = { runId: message.workflowRunId, taskId, at: date(eventTimestamp) };
  const ofAttempt = { ...told, ...(attempt !== undefined && { attempt }) };
  switch (message.eventType) {
    case ResourceEventType.STARTED:
      return { kind: "started", ...ofAttempt };
    case ResourceEventType.COMPLETED:
      return { kind: "completed", ...ofAttempt, output: output(eventPayload) };
    case ResourceEventType.FAILED:
    case ResourceEventType.TIMED_OUT:
      return { kind: "failed", ...ofAttempt, error: failureText(eventPayload) };
    case ResourceEventType.CANCELLED:
      return { kind: "cancelled", ...ofAttempt };
    case ResourceEventType.STREAM: {
      const index = Number(eventIndex ?? -1);
      const isPlace = index >= 0 && Number.isSafeInteger(index);
      return { kind: "chunk", ...told, text: eventPayload, ...(isPlace && { index }) };
    }
    default:
      return undefined;
  }
}

/** An output that nobody can read ends no stream: it is told as it came. */
function output(payload: string): unknown {
  if (payload === "") return {};
  try {
    return decode(payload);
  } catch {
    return payload;
  }
}

function date(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && timestampDate(timestamp);
}
