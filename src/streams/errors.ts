/**
 * Why a stream ended for good: the peer refused it, nobody was reachable while it was being set up, it was opened again
 * and again without a word, what was missed cannot be ruled out, or its owner was closed.
 */
export type StreamErrorCode = "refused" | "unreachable" | "stalled" | "gap" | "closed";

/** What goes with a {@link StreamError}. */
export interface StreamErrorOptions {
  /** What the peer or the wire said, untouched. */
  readonly cause?: unknown;
  /** How often the stream was opened. @default 0 */
  readonly attempts?: number;
}

const brand: symbol = Symbol.for("coppice.StreamError");

/** The one error of a stream that ended for good; `cause` is what the peer said, untouched. */
export class StreamError extends Error {
  override readonly name = "StreamError";
  /** Why, in one word. */
  readonly code: StreamErrorCode;
  /** How often the stream was opened. */
  readonly attempts: number;

  constructor(code: StreamErrorCode, message: string, options: StreamErrorOptions = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.attempts = options.attempts ?? 0;
    Object.defineProperty(this, brand, { value: true });
  }

  /** Two installed copies of this package know each other's errors. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && brand in value;
  }
}

const unsent = new WeakSet<object>();
const callers = new WeakSet<object>();

/** Notes that a call failed before anything of it was sent, so that repeating it repeats nothing. */
export function markUnsent<E extends object>(error: E): E {
  unsent.add(error);
  return error;
}

/** Whether a call that failed this way was never sent. */
export function isUnsent(error: unknown): boolean {
  return marked(unsent, error);
}

/** Notes that a function which the caller gave us threw this: an address or a token that we asked for. */
export function markCaller<E extends object>(error: E): E {
  callers.add(error);
  return error;
}

/** Whether a function which the caller gave us threw this. */
export function isCaller(error: unknown): boolean {
  return marked(callers, error);
}

/** The mark survives wrapping: Connect wraps what interceptors throw. */
function marked(marks: WeakSet<object>, error: unknown, depth = 4): boolean {
  if (typeof error !== "object" || error === null || depth === 0) return false;
  return marks.has(error) || (error instanceof Error && marked(marks, error.cause, depth - 1));
}
