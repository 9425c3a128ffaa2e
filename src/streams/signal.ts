/** Who listens to a signal, through one listener of its own. */
interface Audience {
  readonly listeners: Set<() => void>;
  readonly leave: () => void;
}

const audiences = new WeakMap<AbortSignal, Audience>();

/**
 * Calls `listener` once when `signal` aborts, at once if it has; returns the undo.
 *
 * The only place in this folder that listens for aborts: a long-lived signal keeps every listener that nobody removes,
 * looks through all of them for each one more, and `AbortSignal.any` leaks on some runtimes even without one.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) {
    listener();
    return () => {};
  }
  const { leave, listeners } = audiences.get(signal) ?? gather(signal);
  // One of its own, so that the same function may listen twice.
  const own = () => listener();
  listeners.add(own);
  return () => {
    if (listeners.delete(own) && listeners.size === 0) leave();
  };
}

function gather(signal: AbortSignal): Audience {
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of listeners) {
      listeners.delete(listener);
      listener();
    }
  };
  const leave = () => {
    signal.removeEventListener("abort", tell);
    audiences.delete(signal);
  };
  const audience: Audience = { leave, listeners };
  audiences.set(signal, audience);
  signal.addEventListener("abort", tell, { once: true });
  return audience;
}

/** Settles as `work` does, or rejects with the signal's own reason if that comes first: not all work heeds a signal. */
export function unlessAborted<T>(work: PromiseLike<T> | T, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return Promise.resolve(work);
  return new Promise<T>((resolve, reject) => {
    const undo = onAbort(signal, () => reject(signal.reason));
    Promise.resolve(work).finally(undo).then(resolve, reject);
  });
}

/** A signal that aborts with its parents, or by itself without disturbing them. */
export interface Linked {
  readonly signal: AbortSignal;
  /** Aborts this signal alone, and leaves the parents. */
  readonly abort: (reason?: unknown) => void;
  /** Leaves the parents without aborting: what lives on is no longer theirs to stop. */
  readonly release: () => void;
}

/** Links a new signal below its parents by hand; `abort()` or `release()` it, or it stays on them. */
export function linked(...parents: readonly (AbortSignal | undefined)[]): Linked {
  const controller = new AbortController();
  const undo: (() => void)[] = [];
  const release = () => {
    for (const leave of undo.splice(0)) leave();
  };
  const abort = (reason?: unknown) => {
    release();
    controller.abort(reason);
  };
  for (const parent of parents) {
    if (parent !== undefined && !controller.signal.aborted) undo.push(onAbort(parent, () => abort(parent.reason)));
  }
  return { signal: controller.signal, abort, release };
}
