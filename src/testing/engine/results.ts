import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type StepRunResult,
  StepRunResultSchema,
  type SubscribeToWorkflowRunsRequest,
  type WorkflowRunEvent,
  WorkflowRunEventSchema,
} from "../../proto.ts";
import { onAbort } from "../../streams/signal.ts";
import { type Core, delayed } from "./core.ts";
import { Feed } from "./feed.ts";
import { isUuid } from "./ids.ts";
import { ended, type Task } from "./state.ts";

const batch = 1000;

/** Tells the end of every run that is asked for, once per asking; ids that lead nowhere are never answered. */
export async function* subscribeToWorkflowRuns(
  core: Core,
  requests: AsyncIterable<SubscribeToWorkflowRunsRequest>,
  { signal }: HandlerContext,
): AsyncGenerator<WorkflowRunEvent> {
  const feed = new Feed<WorkflowRunEvent>();
  const watch = new Watch(core, feed);
  const leave = onAbort(signal, () => feed.close());
  void read(core, requests, watch).finally(() => feed.close());
  try {
    yield* feed;
  } finally {
    leave();
    watch.close();
  }
}

/** Reads until the client's side is closed, which discards what is outstanding. */
async function read(
  core: Core,
  requests: AsyncIterable<SubscribeToWorkflowRunsRequest>,
  watch: Watch,
): Promise<void> {
  const seen = core.seen.subscribed("Dispatcher/SubscribeToWorkflowRuns");
  try {
    for await (const { workflowRunId } of requests) {
      seen.push(workflowRunId);
      if (isUuid(workflowRunId)) watch.add(workflowRunId.toLowerCase());
    }
  } catch {
    // The stream broke: it ends for the other side too, and nobody is left to tell.
  }
}

/** The runs one stream waits for. */
class Watch {
  readonly #core: Core;
  readonly #feed: Feed<WorkflowRunEvent>;
  readonly #wanted = new Set<string>();
  readonly #leave: () => void;
  #untick: (() => void) | undefined;

  constructor(core: Core, feed: Feed<WorkflowRunEvent>) {
    this.#core = core;
    this.#feed = feed;
    this.#leave = core.state.listen(({ run, task }) => {
      if (this.#wanted.has(run.id)) this.#report(run.id);
      if (task !== undefined && this.#wanted.has(task.id)) this.#soon();
    });
  }

  /** Nothing is looked up now: an ended run is answered by the next look of the ticker. */
  add(id: string): void {
    this.#wanted.add(id);
    this.#soon();
  }

  close(): void {
    this.#leave();
    this.#untick?.();
    this.#wanted.clear();
  }

  #soon(): void {
    const { agenda, clock, timing } = this.#core;
    const grid = Math.max(timing.pollMs, 1);
    this.#untick ??= agenda.at((Math.floor(clock.now() / grid) + 1) * grid, () => {
      this.#untick = undefined;
      this.#look();
    });
  }

  #look(): void {
    let looked = 0;
    for (const id of this.#wanted) {
      if (++looked > batch) return this.#soon();
      this.#report(id);
    }
  }

  /** An id is forgotten when its event is handed over; bytes that are lost afterwards are lost for good. */
  #report(id: string): void {
    const tasks = endedTasks(this.#core, id);
    if (tasks === undefined) return;
    this.#wanted.delete(id);
    if (this.#core.faults.take("swallowFinished")) return;
    const event = create(WorkflowRunEventSchema, {
      workflowRunId: id,
      eventTimestamp: timestampFromMs(Math.round(this.#core.clock.now())),
      results: this.#core.faults.take("emptyResults") ? [] : fitting(tasks, this.#core.maxMessageBytes),
    });
    void delayed(this.#core, this.#core.faults.sendDelayMs).then(() => this.#feed.push(event));
  }
}

/** The tasks an id stands for, run or task, when all of them have ended. */
function endedTasks(core: Core, id: string): readonly Task[] | undefined {
  const run = core.state.runs.get(id.toLowerCase());
  if (run !== undefined) return run.finished ? [...run.tasks.values()] : undefined;
  const task = core.state.tasks.get(id.toLowerCase());
  return task !== undefined && ended(task) ? [task] : undefined;
}

/** The results, with less in them when they would not fit into one message. */
function fitting(tasks: readonly Task[], limit: number): StepRunResult[] {
  const results = tasks.flatMap((task) => [task, ...task.late].map((end) => result(task, end)));
  const outputs = total(results.map(({ output }) => output));
  const errors = total(results.map(({ error }) => error));
  if (outputs + errors < limit) return results;
  const error = "Error is too large to send over the Hatchet stream.";
  const short = results.map((one) => one.error === undefined ? one : { ...one, error });
  return outputs + total(short.map((one) => one.error)) >= limit ? [] : short;
}

function total(texts: readonly (string | undefined)[]): number {
  return texts.reduce((sum, text) => sum + new TextEncoder().encode(text ?? "").length, 0);
}

/** Output only of what completed, error of everything else, be it the empty text. */
function result(task: Task, { error, output }: Pick<Task, "error" | "output">): StepRunResult {
  return create(StepRunResultSchema, {
    taskRunExternalId: task.id,
    taskName: task.step.name,
    jobRunId: task.id,
    ...(error === undefined ? { output: output ?? "" } : { error }),
  });
}
