import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { AssignedAction } from "../../gen/dispatcher/dispatcher_pb.ts";
import { Dispatcher, StepActionEventType } from "../../gen/dispatcher/dispatcher_pb.ts";
import { encodeOutput } from "../json.ts";
import type { Root } from "../root.ts";
import { fullJitter } from "../streams/backoff.ts";
import { isCaller, isUnsent } from "../streams/errors.ts";
import { linked } from "../streams/signal.ts";
import { saidOfSize } from "../streams/texts.ts";
import { originOf } from "../streams/verdict.ts";
import type { Reports } from "./action.ts";

/**
 * How long the engine has for what may have reached it, once it is reachable again, before it is told the same again: it
 * takes in what it is told by the batch, and where one report is twice in a batch, it gives the outputs of that batch to
 * the wrong runs.
 */
const settlingMs = 2000;

/**
 * The reports of one action. Each is sent again until the engine has it or says that it never will: a result that is
 * lost on its way would leave the run waiting for its time-out.
 */
export function reports(root: Root, message: AssignedAction, workerId: string): Reports {
  const { actionId, jobId, jobRunId, retryCount, taskId, taskRunExternalId } = message;
  const send = async (
    eventType: StepActionEventType,
    eventPayload: string,
    signal: AbortSignal | undefined,
    shouldNotRetry?: boolean,
  ) => {
    const eventTimestamp = timestampFromMs(Math.floor(root.clock.now()));
    await insist(root, signal, (options) =>
      root.rpc(Dispatcher).sendStepActionEvent({
        workerId,
        jobId,
        jobRunId,
        taskId,
        taskRunExternalId,
        actionId,
        eventTimestamp,
        eventType,
        eventPayload,
        retryCount,
        ...(shouldNotRetry !== undefined && { shouldNotRetry }),
      }, options));
  };
  return {
    started: ({ signal } = {}) => send(StepActionEventType.STEP_EVENT_TYPE_STARTED, "", signal),
    completed: async (output, { signal } = {}) =>
      send(StepActionEventType.STEP_EVENT_TYPE_COMPLETED, encodeOutput(output), signal),
    failed: (error, { retry = true, signal } = {}) =>
      send(StepActionEventType.STEP_EVENT_TYPE_FAILED, failure(error), signal, retry ? undefined : true),
  };
}

/** Makes a background call until it is answered with OK or with a word that no repetition changes. */
async function insist(
  root: Root,
  signal: AbortSignal | undefined,
  call: Parameters<Root["background"]>[0],
): Promise<void> {
  const { clock, random, doubt } = root;
  const backoff = fullJitter({ baseMs: 500, capMs: 10_000, random });
  const life = linked(root.signal, signal);
  try {
    for (let failures = 1;; failures++) {
      life.signal.throwIfAborted();
      try {
        await root.background(call, life.signal);
        return;
      } catch (error) {
        life.signal.throwIfAborted();
        if (isFinal(error) || doubt.judge("transient", error) === "fatal") throw error;
        await clock.sleep(backoff(failures), life.signal);
        if (originOf(error) === "engine" || isUnsent(error)) continue;
        await root.channel.up(life.signal);
        await clock.sleep(settlingMs, life.signal);
      }
    }
  } finally {
    life.abort();
  }
}

/**
 * The engine does not know the task, or the report is more than it takes, or the caller's own code is at fault. All else
 * passes: a proxy says Unimplemented, and in the engine's own way, while its routes change.
 */
function isFinal(error: unknown): boolean {
  if (isCaller(error)) return false; // A token function that fails now and then is a passing trouble.
  const origin = originOf(error);
  if (origin === "caller" || !(error instanceof ConnectError)) return true;
  if (error.code === Code.ResourceExhausted) return origin === "local" || (origin === "engine" && saidOfSize(error));
  return origin === "engine" && error.code === Code.InvalidArgument;
}

/** As the official client writes it: an object with the message and the stack. */
function failure(error: unknown): string {
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  return JSON.stringify({ message, stack }).replaceAll("\\u0000", "\\ufffd");
}
