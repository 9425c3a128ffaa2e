import type { StartAction } from "../listeners/action.ts";
import type { Root } from "../root.ts";
import type { Effects } from "./effects.ts";
import { effectsOf } from "./effects.ts";

/** What a running task knows beside its input, and what it can tell the engine. */
export interface Context extends Effects {
  /** Aborts when the run is cancelled, a newer attempt has come, or the worker stops: then the result is not asked for. */
  readonly signal: AbortSignal;
  readonly runId: string;
  readonly taskId: string;
  /** The task's name. */
  readonly name: string;
  /** Which try this is, counted from 0. */
  readonly attempt: number;
  readonly workerId: string;
  /** What the run was triggered with beside its input. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The outputs of the tasks before this one, by name. */
  readonly parents: Readonly<Record<string, unknown>>;
  /** What satisfied the task's conditions, by key. */
  readonly triggers: Readonly<Record<string, unknown>>;
}

/** The context of one attempt. */
export function contextOf(root: Root, action: StartAction, signal: AbortSignal): Context {
  const { attempt, metadata, name, parents, runId, taskId, triggers, workerId } = action;
  return {
    signal,
    runId,
    taskId,
    name,
    attempt,
    workerId,
    metadata,
    parents,
    triggers,
    ...effectsOf(root, action, signal),
  };
}
