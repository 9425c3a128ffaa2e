/**
 * Why a request or a wait of a durable task came to nothing: the wire was lost before the answer, the answer did not
 * come in time, the invocation was evicted or a newer one has replaced it, the engine would not have the request, what
 * was waited for failed, or the task does not do what it did before.
 */
export type DurableErrorCode = "lost" | "timeout" | "evicted" | "stale" | "refused" | "failed" | "nondeterminism";

/** Which assignment of a durable task, as its action says. */
export interface Invocation {
  readonly taskId: string;
  /** Counted from 1; every assignment is another. */
  readonly invocation: number;
}

/** How much of what the engine says an error's message bears, in characters. */
const longest = 400;
const brand: symbol = Symbol.for("coppice.DurableError");
const nonDeterminismBrand: symbol = Symbol.for("coppice.NonDeterminismError");

/**
 * A request or a wait of a durable task came to nothing. After `lost` and `timeout` nobody knows whether the engine took
 * the request, and asking again would be another step: give the invocation up with `evict()`, and the next one finds
 * what there is.
 */
export class DurableError extends Error {
  override readonly name: string = "DurableError";
  /** Why, in one word. */
  readonly code: DurableErrorCode;
  readonly taskId: string;
  readonly invocation: number;

  constructor(code: DurableErrorCode, message: string, { invocation, taskId }: Invocation, options?: ErrorOptions) {
    const text = message.length > longest ? `${message.slice(0, longest)}…` : message;
    super(`Invocation ${invocation} of task ${taskId}: ${text}`, options);
    this.code = code;
    this.taskId = taskId;
    this.invocation = invocation;
    Object.defineProperty(this, brand, { value: true });
  }

  /** Two installed copies of this package know each other's errors. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isMarked(this, DurableError, brand, value);
  }
}

/** The task does not do what an earlier invocation of it did at the same node; it cannot go on from what it left. */
export class NonDeterminismError extends DurableError {
  override readonly name = "NonDeterminismError";
  /** Which step, as the engine counts them. */
  readonly node: number;

  /** `text` is what the engine says. */
  constructor(invocation: Invocation, node: number, text: string) {
    super("nondeterminism", `node ${node} holds another request${text && `: ${text}`}`, invocation);
    this.node = node;
    Object.defineProperty(this, nonDeterminismBrand, { value: true });
  }

  /** Two installed copies of this package know each other's errors. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isMarked(this, NonDeterminismError, nonDeterminismBrand, value);
  }
}

/** By brand, except for somebody's subclass: not every error of ours is one of theirs. */
function isMarked(asked: unknown, ours: unknown, own: symbol, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return asked === ours ? own in value : Function.prototype[Symbol.hasInstance].call(asked, value);
}
