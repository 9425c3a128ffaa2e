/**
 * What hands its messages on by itself, instead of being asked for each: asking costs more than most messages do. The
 * generator runs as long as there is something to be read; it yields where `take` says that this was enough for now.
 */
export interface Pushed<T> {
  [push](take: (message: T) => boolean): AsyncIterable<unknown>;
}

/** See {@link Pushed}. */
export const push: unique symbol = Symbol("push");

/** An iterator that may have messages at hand, to be taken without waiting for a promise of each. */
export interface Polled<T> extends AsyncIterator<T> {
  /** What is here already; `undefined` when nothing is, and `next()` tells what comes. */
  poll?(): IteratorYieldResult<T> | undefined;
}
