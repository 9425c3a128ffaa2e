import type { Durable } from "../../src/durable.ts";
import type { Clock } from "../../src/streams/clock.ts";
import { StreamError } from "../../src/streams/errors.ts";
import type { Signals } from "./signals.ts";

interface Wait {
  readonly taskId: string;
  readonly signalKey: string;
  readonly controller: AbortController;
  readonly begunAt: number;
  settled: number;
  aborted: boolean;
}

/** What the waits need of the simulation. */
export interface SignalWaitsOptions {
  readonly clock: Clock;
  readonly durable: Durable;
  readonly signals: Signals;
  readonly found: (what: string) => void;
  /** Whether a stream of the kind was let in: who waits before may be told that nobody answers. */
  readonly wasIn: () => boolean;
}

/** Those who wait for signals of durable tasks: each is told once, what was given, and after it was given. */
export class SignalWaits {
  readonly #options: SignalWaitsOptions;
  readonly #waits: Wait[] = [];

  constructor(options: SignalWaitsOptions) {
    this.#options = options;
  }

  get all(): readonly Wait[] {
    return this.#waits;
  }

  get pending(): readonly Wait[] {
    return this.#waits.filter(({ aborted, settled }) => !aborted && settled === 0);
  }

  begin(taskId: string, signalKey: string): void {
    const { clock, durable, found, signals, wasIn } = this.#options;
    const controller = new AbortController();
    const wait: Wait = { taskId, signalKey, controller, begunAt: clock.now(), settled: 0, aborted: false };
    const name = `the wait for signal ${signalKey} of ${taskId}`;
    this.#waits.push(wait);
    durable.event(taskId, signalKey, { signal: wait.controller.signal }).then((event) => {
      wait.settled++;
      const told = JSON.stringify([event.taskId, event.signalKey, event.matches]);
      const expected = JSON.stringify([taskId, signalKey, { [signalKey]: [{ signalKey, taskId }] }]);
      if (told !== expected) found(`${name} got ${told}`);
      if (!signals.has(taskId, signalKey)) found(`${name} was told before it was given`);
    }, (error) => {
      wait.settled++;
      const early = error instanceof StreamError && error.code === "unreachable" && !wasIn();
      const own = wait.aborted && error === wait.controller.signal.reason;
      if (!early && !own) found(`${name} threw ${error}`);
    });
  }

  abort(wait: Wait): void {
    wait.aborted = true;
    wait.controller.abort(new Error("not interested any more"));
  }

  end(): void {
    const { found } = this.#options;
    for (const { signalKey, taskId } of this.pending) {
      found(`nobody told who waits for signal ${signalKey} of ${taskId}`);
    }
    for (const { aborted, settled, signalKey } of this.#waits) {
      if (aborted && settled === 0) found(`an aborted wait for signal ${signalKey} hangs`);
    }
  }
}
