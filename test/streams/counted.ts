/** A signal that knows how many listen to it. */
export interface Counted {
  readonly signal: AbortSignal;
  readonly listening: number;
  abort(reason: unknown): void;
}

export function counted(): Counted {
  const controller = new AbortController();
  const { signal } = controller;
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  const listeners = new Set<unknown>();
  Object.defineProperties(signal, {
    addEventListener: {
      value: (...args: Parameters<typeof addEventListener>) => {
        listeners.add(args[1]);
        addEventListener.apply(signal, args);
      },
    },
    removeEventListener: {
      value: (...args: Parameters<typeof removeEventListener>) => {
        listeners.delete(args[1]);
        removeEventListener.apply(signal, args);
      },
    },
  });
  return {
    signal,
    get listening() {
      return listeners.size;
    },
    abort: (reason) => controller.abort(reason),
  };
}
