import type { DurableEvent as Message, ListenForDurableEventRequest } from "../../gen/v1/dispatcher_pb.ts";
import { V1Dispatcher } from "../../gen/v1/dispatcher_pb.ts";
import { uuid } from "../ids.ts";
import type { Root } from "../root.ts";
import { show } from "../show.ts";
import { StreamError } from "../streams/errors.ts";
import { Subscriptions } from "../streams/subscriptions.ts";
import type { Matches } from "./durable-conditions.ts";
import { toMatches } from "./durable-conditions.ts";

/** A signal of a durable task whose conditions were met. */
export interface DurableEvent {
  readonly taskId: string;
  readonly signalKey: string;
  /** What met them. */
  readonly matches: Matches;
}

const uuidLength = 36;

/** The signals of durable tasks, for any number of waiters on one shared ListenForDurableEvent stream. */
export class DurableEvents {
  /** A key is the task's id and the signal's key. */
  readonly #shared: Subscriptions<string, DurableEvent, ListenForDurableEventRequest, Message>;

  constructor(root: Root) {
    const entry = root.board.add("durable-events", "shared");
    this.#shared = new Subscriptions({
      ...root.policy(entry),
      priority: 1,
      open: (requests, attempt) => root.stream(V1Dispatcher.method.listenForDurableEvent, requests, attempt),
      request: (key) => ({ $typeName: "v1.ListenForDurableEventRequest", ...parts(key) }),
      deliver: ({ data, signalKey, taskId }) => {
        const key = keyOf(taskId, signalKey);
        try {
          this.#shared.settle(key, { ...parts(key), matches: toMatches(data) });
        } catch (error) {
          this.#shared.fail(key, error); // Data that is no JSON concerns its own waiters only.
        }
      },
    });
  }

  /**
   * The signal, however long it takes and whatever becomes of the connection.
   *
   * @throws TypeError when the id is no UUID or the key no text, before any I/O
   */
  async wait(taskId: string, signalKey: string, signal?: AbortSignal): Promise<DurableEvent> {
    const id = uuid(taskId, "task id");
    try {
      return await this.#shared.wait(keyOf(id, signalled(signalKey)), signal);
    } catch (error) {
      throw signal?.aborted ? error : about(id, signalKey, error);
    }
  }

  close(): void {
    this.#shared.close();
  }
}

/** A signal's key. @throws TypeError when it is no text */
export function signalled(signalKey: unknown): string {
  if (typeof signalKey === "string" && signalKey !== "") return signalKey;
  throw new TypeError(`signal key must be a text, got ${show(signalKey)}`);
}

function keyOf(taskId: string, signalKey: string): string {
  return `${taskId}:${signalKey}`;
}

function parts(key: string): { readonly taskId: string; readonly signalKey: string } {
  return { taskId: key.slice(0, uuidLength), signalKey: key.slice(uuidLength + 1) };
}

/** What ended the stream for all, as one of its waiters gets it. */
function about(taskId: string, signalKey: string, error: unknown): unknown {
  if (!(error instanceof StreamError) || error.code === "closed") return error;
  const { attempts, cause, code, message } = error;
  return new StreamError(code, `No signal ${show(signalKey)} of task ${taskId}: ${message}`, { attempts, cause });
}
