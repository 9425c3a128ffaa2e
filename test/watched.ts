/** A signal that counts who listens to it. */
export interface Watched {
  readonly signal: AbortSignal;
  readonly abort: (reason?: unknown) => void;
  /** How many listeners are on it, those aside that it forgets by itself once they were told. */
  readonly listening: () => number;
}

export function watched(): Watched {
  const controller = new AbortController();
  const { signal } = controller;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  const listeners = new Map<unknown, boolean>();
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    const [, listener, options] = args;
    listeners.set(listener, typeof options === "object" && options.once === true);
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners.delete(args[1]);
    remove(...args);
  };
  return {
    signal,
    abort: (reason) => {
      controller.abort(reason);
      for (const [listener, once] of listeners) if (once) listeners.delete(listener);
    },
    listening: () => listeners.size,
  };
}
