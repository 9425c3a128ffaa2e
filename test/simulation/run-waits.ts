import { RunCancelledError } from "../../src/errors.ts";
import type { Runs } from "../../src/runs.ts";
import type { Clock } from "../../src/streams/clock.ts";
import { StreamError } from "../../src/streams/errors.ts";
import type { Run } from "./runs.ts";

interface Wait {
  readonly run: Run;
  readonly controller: AbortController;
  readonly begunAt: number;
  settled: number;
  aborted: boolean;
}

/** What the waits need of the simulation. */
export interface RunWaitsOptions {
  readonly clock: Clock;
  readonly runs: Runs;
  readonly found: (what: string) => void;
  /** Whether a stream of the kind was let in: who waits before may be told that nobody answers. */
  readonly wasIn: () => boolean;
}

/** Those who wait for the results of runs: each is told once, and its own. */
export class RunWaits {
  readonly #options: RunWaitsOptions;
  readonly #waits: Wait[] = [];

  constructor(options: RunWaitsOptions) {
    this.#options = options;
  }

  get all(): readonly Wait[] {
    return this.#waits;
  }

  get pending(): readonly Wait[] {
    return this.#waits.filter(({ aborted, settled }) => !aborted && settled === 0);
  }

  begin(run: Run): void {
    const { clock, found, runs, wasIn } = this.#options;
    const wait: Wait = {
      run,
      controller: new AbortController(),
      begunAt: clock.now(),
      settled: 0,
      aborted: false,
    };
    this.#waits.push(wait);
    runs.result(run.id, { signal: wait.controller.signal }).then((outputs) => {
      wait.settled++;
      const { id } = (outputs["work"] ?? {}) as { id?: unknown };
      if (id !== run.id) found(`run ${run.id} got the output of ${id}`);
    }, (error) => {
      wait.settled++;
      // Whoever waits to be let in is told when nobody answers; whoever was in stays in.
      const early = error instanceof StreamError && error.code === "unreachable" && !wasIn();
      const cancelled = error instanceof RunCancelledError && run.cancelled;
      if (!wait.aborted && !early && !cancelled) found(`the wait for ${run.id} threw ${error}`);
    });
  }

  abort(wait: Wait): void {
    wait.aborted = true;
    wait.controller.abort(new Error("not interested any more"));
  }

  end(): void {
    const { found } = this.#options;
    for (const { run } of this.pending) found(`nobody told the waiter of ${run.id}, which is ${run.state}`);
    for (const { aborted, run, settled } of this.#waits) {
      if (settled > 1) found(`run ${run.id} settled ${settled} times`);
      if (aborted && settled === 0) found(`an aborted wait for ${run.id} hangs`);
    }
  }
}
