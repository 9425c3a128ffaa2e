import type { DurableTaskErrorResponse, DurableTaskResponse } from "../../gen/v1/dispatcher_pb.ts";
import { DurableTaskErrorType } from "../../gen/v1/dispatcher_pb.ts";
import { uuid } from "../ids.ts";
import { show } from "../show.ts";
import type { Invocation } from "./durable-errors.ts";
import { DurableError, NonDeterminismError } from "./durable-errors.ts";
import type { Place } from "./durable-log.ts";
import { DurableLog } from "./durable-log.ts";
import type { Kind, Named } from "./durable-request.ts";

/** An invocation that the engine has given up, and why. */
export interface ServerEviction extends Invocation {
  readonly reason: string;
}

/** How many ended invocations are remembered, so that nobody goes on with one. */
const remembered = 1000;

/** The live invocation of each task, and what the engine says about them. */
export class Ledger {
  /** By task. */
  readonly #logs = new Map<string, DurableLog>();
  readonly #ended = new Map<string, DurableError>();
  readonly #onEvict: (eviction: ServerEviction) => void;

  /** `onEvict` is told once of each invocation that the engine gives up. */
  constructor(onEvict: (eviction: ServerEviction) => void) {
    this.#onEvict = onEvict;
  }

  get size(): number {
    return this.#logs.size;
  }

  logs(): Iterable<DurableLog> {
    return this.#logs.values();
  }

  /**
   * The log of an invocation; the first word about a newer one ends the older.
   *
   * @throws DurableError `stale` or `evicted`
   */
  enter(invocation: Invocation): DurableLog {
    const known = this.#logs.get(invocation.taskId);
    if (known?.invocation === invocation.invocation) return known;
    const ended = this.#ended.get(nameOf(invocation));
    if (ended !== undefined) throw ended;
    if (known !== undefined && known.invocation > invocation.invocation) {
      throw new DurableError("stale", `invocation ${known.invocation} has replaced it`, invocation);
    }
    if (known !== undefined) {
      this.end(known, new DurableError("stale", `invocation ${invocation.invocation} has replaced it`, known));
    }
    const log = new DurableLog(invocation);
    this.#logs.set(log.taskId, log);
    return log;
  }

  /** The log of a live invocation that is known. */
  find(ref: Named | undefined): DurableLog | undefined {
    const log = this.#logs.get(ref?.durableTaskExternalId.toLowerCase() ?? "");
    return log?.invocation === ref?.invocationCount ? log : undefined;
  }

  /** An invocation is over; with an eviction it is remembered that nothing of it goes on. */
  end(log: DurableLog, error: unknown): void {
    if (this.#logs.get(log.taskId) === log) this.#logs.delete(log.taskId);
    if (error instanceof DurableError && error.code === "evicted") this.#remember(log, error);
    log.end(error);
  }

  /** Hands what the engine says to whoever it is for; what is for nobody any more is dropped. */
  take({ message }: DurableTaskResponse): void {
    switch (message.case) {
      case "memoAck":
        return this.#ack("memo", message.value.ref, message.value.ref, message.value);
      case "waitForAck":
        return this.#ack("waitFor", message.value.ref, message.value.ref, message.value);
      case "triggerRunsAck":
        return this.#ack("triggerRuns", message.value, message.value.runEntries[0], message.value);
      case "entryCompleted": {
        const { errorMessage = "", isFailure, payload, ref } = message.value;
        if (ref !== undefined) this.find(ref)?.complete(ref, { payload, error: isFailure ? errorMessage : undefined });
        return;
      }
      case "evictionAck": {
        const log = this.find(message.value);
        if (log === undefined) return;
        for (const eviction of [...log.evictions]) eviction.ack(undefined);
        return this.end(log, new DurableError("evicted", "it was evicted", log));
      }
      case "serverEvict": {
        const log = this.find(message.value);
        if (log === undefined) return;
        const { reason } = message.value;
        const { invocation, taskId } = log;
        this.end(log, new DurableError("evicted", `the engine has given it up: ${reason}`, log));
        return this.#onEvict({ invocation, reason, taskId });
      }
      case "error":
        return this.#refuse(message.value);
    }
  }

  /**
   * An answer names no request, so it is for the one that was sent, if that asked for such an answer; unless it is about
   * a step that is known, for then it came before.
   */
  #ack(kind: Kind, ref: Named | undefined, place: Place | undefined, ack: unknown): void {
    const log = this.find(ref);
    const request = log?.requests[0];
    if (log === undefined || (place !== undefined && log.has(place))) return;
    if (request?.kind === kind && request.sent) request.ack(ack);
    log.release();
  }

  #refuse({ errorMessage, errorType, ref }: DurableTaskErrorResponse): void {
    const log = this.find(ref);
    if (log === undefined || ref === undefined) return;
    const request = log.requests[0]?.sent ? log.requests[0] : undefined;
    if (errorType === DurableTaskErrorType.NONDETERMINISM) {
      request?.fail(new NonDeterminismError(log, Number(ref.nodeId), errorMessage));
      return log.release();
    }
    const refused = new DurableError("refused", `the engine refused it: ${errorMessage}`, log);
    const evictions = log.evictions.filter(({ sent }) => sent);
    for (const eviction of evictions) eviction.fail(refused);
    if (evictions.length === 0) request?.fail(refused);
    log.release();
  }

  #remember(log: DurableLog, error: DurableError): void {
    this.#ended.set(nameOf(log), error);
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size <= remembered) break;
      this.#ended.delete(oldest);
    }
  }
}

/** A durable task's invocation, in the engine's spelling. @throws TypeError or RangeError saying what makes no sense */
export function invoked(task: Invocation): Invocation {
  const taskId = uuid(task?.taskId, "task id");
  const { invocation } = task;
  if (Number.isInteger(invocation) && invocation >= 1 && invocation < 2 ** 31) return { taskId, invocation };
  throw new RangeError(`invocation must be a whole number from 1, got ${show(invocation)}`);
}

function nameOf({ invocation, taskId }: Invocation): string {
  return `${taskId}/${invocation}`;
}
