import { Code, ConnectError } from "@connectrpc/connect";
import type { Attempt } from "../streams/attempt.ts";
import type { Clock } from "../streams/clock.ts";
import { onAbort } from "../streams/signal.ts";

/** What a scripted attempt does instead of saying something. */
export type Step =
  | { readonly step: "throw"; readonly error: unknown }
  | { readonly step: "end" }
  | { readonly step: "silence" }
  | { readonly step: "headers" }
  | { readonly step: "pause"; readonly ms: number }
  | { readonly step: "requests"; readonly count: number };

const steps = new WeakSet<object>();

function known<S extends Step>(step: S): S {
  steps.add(step);
  return step;
}

/** Ends the attempt with OK. */
export const hangUp: Step = known({ step: "end" });
/** Says nothing more until the attempt is released. */
export const silence: Step = known({ step: "silence" });
/** Shows response headers. */
export const headers: Step = known({ step: "headers" });

/** Ends the attempt as the wire would: a code made locally, without a status of the peer's. */
export function cut(code: Code = Code.Canceled, cause?: unknown): Step {
  return broken(new ConnectError("the wire was cut", code, undefined, undefined, cause));
}

/** Ends the attempt with a status of the peer's own. */
export function status(code: Code, metadata: Readonly<Record<string, string>> = {}): Step {
  return broken(new ConnectError("the peer said so", code, { "grpc-status": String(code), ...metadata }));
}

/** Ends the attempt with whatever error. */
export function broken(error: unknown): Step {
  return known({ step: "throw", error });
}

/** Lets time pass. */
export function pause(ms: number): Step {
  return known({ step: "pause", ms });
}

/** Waits until the attempt has pulled so many requests. */
export function requests(count: number): Step {
  return known({ step: "requests", count });
}

/** A peer that follows a script, one line an attempt, and records what was done to it. */
export interface Script<T, R> {
  /** Opens an attempt of a stream without requests. */
  readonly open: (attempt: Attempt<T>) => AsyncIterable<T>;
  /** Opens an attempt of a stream with requests. */
  readonly exchange: (requests: AsyncIterable<R>, attempt: Attempt<T>) => AsyncIterable<T>;
  /** When each attempt was opened, on the clock. */
  readonly openedAt: number[];
  /** What each attempt was sent. */
  readonly sent: R[][];
  /** How many attempts were let go of. */
  readonly released: number;
}

/** Follows one line an attempt; attempts beyond the last line meet silence. */
export function script<T, R = never>(clock: Clock, ...lines: readonly (readonly (T | Step)[])[]): Script<T, R> {
  const openedAt: number[] = [];
  const sent: R[][] = [];
  let released = 0;

  async function* play(attempt: Attempt<T>, pulled: Pulled<R> | undefined): AsyncGenerator<T> {
    const line = lines[openedAt.length] ?? [silence];
    openedAt.push(clock.now());
    sent.push(pulled?.items ?? []);
    onAbort(attempt.signal, () => released++);
    for (const part of [...line, silence]) {
      if (!isStep(part)) {
        yield part;
        continue;
      }
      switch (part.step) {
        case "throw":
          throw part.error;
        case "end":
          return;
        case "headers":
          attempt.live();
          break;
        case "pause":
          await clock.sleep(part.ms, attempt.signal);
          break;
        case "requests":
          await pulled?.reached(part.count);
          break;
        case "silence":
          await new Promise((_, reject) => onAbort(attempt.signal, () => reject(attempt.signal.reason)));
      }
    }
  }

  return {
    open: (attempt) => play(attempt, undefined),
    exchange: (source, attempt) => play(attempt, new Pulled(source)),
    openedAt,
    sent,
    get released() {
      return released;
    },
  };
}

/** Pulls a request side as a transport would, and keeps what came. */
class Pulled<R> {
  readonly items: R[] = [];
  #waiting: { count: number; resolve: () => void }[] = [];

  constructor(source: AsyncIterable<R>) {
    void this.#pull(source);
  }

  reached(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.items.length >= count) return resolve();
      this.#waiting.push({ count, resolve });
    });
  }

  async #pull(source: AsyncIterable<R>): Promise<void> {
    for await (const item of source) {
      this.items.push(item);
      const reached = this.#waiting.filter(({ count }) => this.items.length >= count);
      this.#waiting = this.#waiting.filter(({ count }) => this.items.length < count);
      for (const { resolve } of reached) resolve();
    }
  }
}

function isStep(part: unknown): part is Step {
  return typeof part === "object" && part !== null && steps.has(part);
}
