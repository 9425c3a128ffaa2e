/** A signal that knows how many listen to it. */
export interface Counted {
  readonly signal: AbortSignal;
  readonly listening: number;
  abort(reason: unknown): void;
}

type Listen = (type: "abort", listener: () => void, options?: AddEventListenerOptions) => void;

export function counted(): Counted {
  const controller = new AbortController();
  const { signal } = controller;
  const add: Listen = signal.addEventListener.bind(signal);
  const remove: Listen = signal.removeEventListener.bind(signal);
  const listeners = new Set<unknown>();
  Object.defineProperties(signal, {
    addEventListener: {
      value: (...args: Parameters<Listen>) => {
        listeners.add(args[1]);
        add(...args);
      },
    },
    removeEventListener: {
      value: (...args: Parameters<Listen>) => {
        listeners.delete(args[1]);
        remove(...args);
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
