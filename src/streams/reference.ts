import { Code, ConnectError } from "@connectrpc/connect";
import type { OnEnd, Verdict } from "./verdict.ts";

/** What the reference client's table needs beside the error. */
export interface ReferenceOptions {
  /** The caller's signal; asked before any code. */
  readonly signal?: AbortSignal;
  /** Whether the listener was closed. */
  readonly closed?: boolean;
  /** What a clean end means; asked every time. Without it a clean end made no progress. */
  readonly onEnd?: OnEnd;
}

/** The reference client's codes; what is absent made no progress, which is our `suspect`. */
const byCode: Readonly<Partial<Record<Code, Verdict>>> = {
  [Code.Unavailable]: "transient",
  [Code.Internal]: "transient",
  [Code.DeadlineExceeded]: "transient",
  [Code.ResourceExhausted]: "transient",
  [Code.Canceled]: "end",
  [Code.Unauthenticated]: "fatal",
  [Code.PermissionDenied]: "fatal",
  [Code.InvalidArgument]: "fatal",
  [Code.FailedPrecondition]: "fatal",
  [Code.NotFound]: "fatal",
  [Code.Unimplemented]: "fatal",
};

/**
 * The verdict of Hatchet's own Go client, kept beside ours so that its rows run unchanged: it goes by the code alone,
 * and takes every Canceled for a clean stop.
 */
export function reference(error: unknown, options: ReferenceOptions = {}): Verdict {
  if (options.signal?.aborted || options.closed) return "end";
  if (error === undefined) return options.onEnd?.() ?? "suspect";
  return error instanceof ConnectError ? byCode[error.code] ?? "suspect" : "suspect";
}
