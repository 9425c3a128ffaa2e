import { ConnectError } from "@connectrpc/connect";
import type { Attempt } from "./attempt.ts";
import { Moments } from "./attempt.ts";
import type { Proof } from "./course.ts";
import { Course } from "./course.ts";
import { isCaller } from "./errors.ts";
import type { Policy, StreamOptions } from "./options.ts";
import { resolve } from "./options.ts";
import type { Pushed } from "./pushed.ts";
import { push } from "./pushed.ts";
import { Reader } from "./reader.ts";
import { unlessAborted } from "./signal.ts";
import type { Ending } from "./verdict.ts";
import { judge } from "./verdict.ts";

/** Opens a stream; called once per attempt. */
export type Open<T> = (attempt: Attempt<T>) => AsyncIterable<T>;

/**
 * Yields what `open()` yields, and opens it again each time it ends: after cuts, restarts and silence, for as long as
 * you loop.
 *
 * It pulls: nothing is opened before the first `next()`, and while your loop body runs nothing is read, noticed or
 * reopened. Messages on the way when a wire is lost are lost with it, unless `open` resumes behind `attempt.last`.
 *
 * Name the type of its messages: TypeScript cannot infer it from an `open` that is told of the last one.
 *
 * Three ways to stop: `break` ends quietly; `options.signal` throws its own reason; an ending that no retry can mend
 * throws a {@link StreamError} whose `cause` is what the peer said. What your own code throws inside the call comes out
 * as it is.
 *
 * @throws RangeError at once, when an option makes no sense
 * @throws StreamError `refused`, `unreachable` or `stalled`
 *
 * @example
 * ```ts
 * const changes = reconnect<Change>(({ signal, last }) => watch.changes({ after: last?.offset }, { signal }), { signal });
 * for await (const change of changes) console.log(change.offset);
 * ```
 */
export function reconnect<T>(open: Open<T>, options: StreamOptions = {}): AsyncGenerator<T, void> {
  return Object.assign(stay(open, resolve(options), options.signal), pushing(open, options));
}

/** The same for a pump, without a promise for each message. */
export function pushing<T>(open: Open<T>, options: StreamOptions): Pushed<T> {
  const policy = resolve(options);
  return { [push]: (take) => stay(open, policy, options.signal, take) };
}

/**
 * The loop. What an ending means is a word; what the loop does about it is a switch. An attempt is read right here: each
 * generator that a message passes would make it wait for a few turns more. Yields every message; or hands all of them to
 * `take`, and yields those that were enough for now.
 */
async function* stay<T>(
  open: Open<T>,
  policy: Policy,
  signal: AbortSignal | undefined,
  take?: (message: T) => boolean,
): AsyncGenerator<T, void> {
  const course = new Course<T>(policy);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const moments = new Moments(course, policy, signal);
      try {
        let reader: Reader<T> | undefined;
        let error: unknown;
        try {
          await moments.connect();
          moments.signal.throwIfAborted();
          reader = new Reader(open(moments), moments.signal);
          const first = reader.next();
          moments.sent();
          for (let read = await first; read.done !== true; read = reader.poll() ?? await reader.next()) {
            const { value } = read;
            moments.heard(value);
            if (take === undefined || take(value)) yield value;
          }
        } catch (thrown) {
          error = thrown ?? new TypeError(`The stream threw ${thrown}`);
        } finally {
          reader?.release();
          moments.end();
        }
        signal?.throwIfAborted();
        const ending = endingOf(moments, error, policy, course.wasLive);
        const verdict = await unlessAborted(policy.judge(judge(ending, policy.onEnd), ending), signal);
        signal?.throwIfAborted();
        switch (verdict) {
          case "end":
            return;
          case "bug":
            throw own(error);
          case "fatal":
            throw course.failure("refused", "The peer refused the stream", error);
          case "suspect":
            course.suspect(error);
        }
        await course.wait(moments, ending, verdict === "doubt", signal);
      } finally {
        moments.leave();
      }
    }
  } catch (error) {
    if (!signal?.aborted) course.tell({ state: "ended", error });
    throw error;
  } finally {
    course.tell({ state: "ended" });
  }
}

/** How an attempt ended, as far as a verdict needs to know. */
function endingOf(proof: Proof, error: unknown, policy: Policy, wasLive: boolean): Ending {
  const { connection, heardAny: heard, wasSent: sent } = proof;
  const origin = error === undefined ? "engine" : policy.origin(error);
  return { alone: connection?.alive === true, error, heard, origin, sent, wasLive };
}

/** What the caller's own code threw, out of what Connect wrapped it in. */
function own(error: unknown): unknown {
  if (!(error instanceof ConnectError) || error.cause === undefined) return error;
  return isCaller(error) && !isCaller(error.cause) ? error : error.cause;
}
