import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type {
  DurableTaskEventMemoAckResponse as MemoAck,
  DurableTaskEventTriggerRunsAckResponse as RunsAck,
  DurableTaskEventWaitForAckResponse as WaitAck,
  DurableTaskRequest,
} from "../../gen/v1/dispatcher_pb.ts";
import { DurableTaskRequestSchema } from "../../gen/v1/dispatcher_pb.ts";
import type { Clock } from "../streams/clock.ts";
import { after } from "../streams/clock.ts";
import { onAbort } from "../streams/signal.ts";
import type { Invocation } from "./durable-errors.ts";
import { DurableError } from "./durable-errors.ts";

/** What is asked of the engine, with what it carries. */
export type Message = NonNullable<MessageInitShape<typeof DurableTaskRequestSchema>["message"]>;

/** The kinds of requests that are acknowledged. */
export type Kind = "memo" | "triggerRuns" | "waitFor" | "evictInvocation";

/** What the engine answers to each kind of request. */
export interface Acks {
  readonly memo: MemoAck;
  readonly triggerRuns: RunsAck;
  readonly waitFor: WaitAck;
}

/** What every request names. */
export interface Named {
  readonly durableTaskExternalId: string;
  readonly invocationCount: number;
}

/** Makes a request of a kind. */
export type Asking<K extends Kind> = (of: Named) => Message & { readonly case: K };

/** Who made a request. */
export interface Asker<A> {
  /** Called in the turn in which the answer comes. */
  readonly acked: (ack: A) => void;
  readonly failed: (error: unknown) => void;
}

/** How long the engine may take, in milliseconds: what it does not like it only notes in its log. */
const ackMs = 60_000;
const evictionMs = 30_000;

/** A message as the stream carries it. */
export function wire(message: Message): DurableTaskRequest {
  return create(DurableTaskRequestSchema, { message });
}

/** How a request names what it is about. */
export function named({ invocation, taskId }: Invocation): Named {
  return { durableTaskExternalId: taskId, invocationCount: invocation };
}

/** One request that waits for the engine's answer. It is settled once, and its asker told once. */
export class Request<A = unknown> {
  readonly of: Invocation;
  readonly kind: Kind;
  readonly message: DurableTaskRequest;
  /** Attempts that failed before a stream was let in, while it waited to be sent. */
  tries = 0;
  /** Whether it was given to a stream, and not given back. */
  sent = false;
  /** Called once, when it is settled in whatever way. */
  onSettled: () => void = () => {};
  readonly #asker: Asker<A>;
  #timer = new AbortController();
  readonly #undo: (() => void) | undefined;
  #left = false;
  #settled = false;

  constructor(
    of: Invocation,
    message: Message & { readonly case: Kind },
    asker: Asker<A>,
    signal: AbortSignal | undefined,
  ) {
    this.of = of;
    this.kind = message.case;
    this.message = wire(message);
    this.#asker = asker;
    this.#undo = signal && onAbort(signal, () => this.#leave(signal.reason));
  }

  get settled(): boolean {
    return this.#settled;
  }

  /** It is on its way; `late` is called when no answer comes in time. */
  depart(clock: Clock, late: (error: DurableError) => void): void {
    this.sent = true;
    this.#timer = new AbortController();
    const limitMs = this.kind === "evictInvocation" ? evictionMs : ackMs;
    after(clock, limitMs, this.#timer.signal, () => {
      late(new DurableError("timeout", `${this.kind} timed out after ${limitMs / 1000} s`, this.of));
    });
  }

  /** The stream ended without having taken it. */
  giveBack(): void {
    this.sent = false;
    this.#timer.abort();
  }

  /** What came: the asker is told also when it has left, for what the engine has taken it has taken. */
  ack(ack: A): void {
    if (this.#settle()) this.#asker.acked(ack);
  }

  fail(error: unknown): void {
    if (this.#settle() && !this.#left) this.#asker.failed(error);
  }

  /** The caller's abort: what was not sent is withdrawn, what was sent waits for its answer alone. */
  #leave(reason: unknown): void {
    if (!this.sent) return this.fail(reason);
    this.#left = true;
    this.#asker.failed(reason);
  }

  #settle(): boolean {
    /* c8 ignore next -- whoever settles one takes it off all lists; should one be left, its asker is still told once. */
    if (this.#settled) return false;
    this.#settled = true;
    this.#timer.abort();
    this.#undo?.();
    this.onSettled();
    return true;
  }
}
