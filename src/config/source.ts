import { unlessAborted } from "../streams/signal.ts";
import { callers } from "../transport/failure.ts";

/** Tells a setting as it is now; rejects with the signal's own reason when that comes first. */
export type Ask<T> = (signal?: AbortSignal) => Promise<T>;

/**
 * Asks a function of the caller's each time, and checks each answer. What it throws, and what is wrong with its answer,
 * is marked as the caller's: a passing trouble once a stream was live.
 */
export function asked<A, T>(ask: () => A | Promise<A>, check: (answer: A) => T): Ask<T> {
  const answer = async () => {
    try {
      return check(await ask());
    } catch (thrown) {
      const marked: unknown = callers(thrown);
      throw marked;
    }
  };
  return async (signal) => {
    signal?.throwIfAborted();
    return await unlessAborted(answer(), signal);
  };
}
