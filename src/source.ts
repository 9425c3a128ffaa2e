import { onAbort } from "./streams/signal.ts";
import { callers } from "./transport/failure.ts";

/** Tells a setting as it is now; rejects with the signal's own reason when that comes first. */
export type Ask<T> = (signal?: AbortSignal) => Promise<T>;

/**
 * Asks a function of the caller's each time, and checks each answer. What it throws, and what is wrong with its answer,
 * is marked as the caller's: a passing trouble once a stream was live.
 */
export function asked<A, T>(ask: () => A | Promise<A>, check: (answer: A) => T): Ask<T> {
  return (signal) =>
    new Promise((resolve, reject) => {
      const undo = signal === undefined ? () => {} : onAbort(signal, () => reject(signal.reason));
      if (signal?.aborted) return;
      const answer = (async () => check(await ask()))();
      answer.then(resolve, (thrown) => reject(callers(thrown))).finally(undo);
    });
}
