import type { StepActionEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { Clock } from "../../src/streams/clock.ts";

/** How long a batch stays open, in milliseconds; one of four, that of a busy engine, for longer. */
const batchMs = 20;
const busyMs = 1000;

/** What completions need of the engine. */
export interface CompletionsOptions {
  readonly clock: Clock;
  readonly isUp: () => boolean;
  readonly done: (report: StepActionEvent, output: string) => void;
  /** Told of a report that is twice in a batch, whether or not there is one behind it. */
  readonly twice: (report: StepActionEvent) => void;
}

/**
 * Completions that were acknowledged, until the engine takes them in: by the batch, and whatever it did not get to before
 * it was killed when it is back. Of two that are alike in one batch it leaves out the second, but not its output, so that
 * those behind it get the output of the one before.
 */
export class Completions {
  readonly #options: CompletionsOptions;
  #batch: StepActionEvent[] = [];
  #batches = 0;

  constructor(options: CompletionsOptions) {
    this.#options = options;
  }

  add(report: StepActionEvent): void {
    if (this.#batch.push(report) > 1) return;
    const openMs = ++this.#batches % 4 === 0 ? busyMs : batchMs;
    void this.#options.clock.sleep(openMs).then(() => this.takeIn());
  }

  takeIn(): void {
    const { done, isUp, twice } = this.#options;
    if (!isUp()) return;
    const reports = this.#batch.splice(0);
    const tasks = new Map<string, StepActionEvent>();
    for (const report of reports) {
      const key = `${report.taskRunExternalId} ${report.retryCount}`;
      if (tasks.has(key)) twice(report);
      else tasks.set(key, report);
    }
    for (const [index, report] of [...tasks.values()].entries()) done(report, reports[index]!.eventPayload);
  }
}
