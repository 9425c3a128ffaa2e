import type { ConnectError } from "@connectrpc/connect";
import { Code } from "@connectrpc/connect";
import type { StepActionEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import { ActionType, StepActionEventType } from "../../gen/dispatcher/dispatcher_pb.ts";
import { RunStatus } from "../../gen/v1/workflows_pb.ts";
import type { Clock } from "../../src/streams/clock.ts";
import { Completions } from "./completions.ts";
import type { Item, Wire } from "./network.ts";
import type { Run, Worker } from "./runs.ts";
import { action, finished, status } from "./runs.ts";
import { ServerStream } from "./server-stream.ts";

/** As the engine has them, in milliseconds. No execution time-out brings lost work back before the simulation is over. */
const schedulableMs = 5000;
const silentMs = 30_000;
const pollMs = 1000;

/** A model of the engine, true to what matters to a client that reconnects; everything happens in virtual time. */
export class Engine {
  isUp = true;
  /** Every stream ends with OK as soon as it opens: a drain, or a balancer without a backend. */
  dropping = false;
  /** Every call is answered with Unauthenticated: the engine's database is away. */
  refusing = false;
  /** How many finished events will count as sent and never leave. */
  losing = 0;
  /** Told of a run that is taken from a worker that fell silent. */
  onTaken: (run: Run) => void = () => {};
  /** Told of a completion that was reported again before the engine had taken in the first. */
  onTwice: (runId: string) => void = () => {};
  /** How many finished events will leave twice. */
  doubling = 0;
  readonly runs = new Map<string, Run>();
  readonly workers = new Map<string, Worker>();
  readonly streams = new Set<ServerStream>();
  /** When each stream was opened, by method. */
  readonly opens: { readonly at: number; readonly method: string }[] = [];
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #completions: Completions;
  #ids = 0;

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
    this.#completions = new Completions({
      clock,
      isUp: () => this.isUp,
      done: (report, output) => this.#done(report, output),
      twice: ({ taskRunExternalId }) => this.onTwice(taskRunExternalId),
    });
  }

  uuid(): string {
    return `00000000-0000-4000-8000-${(++this.#ids).toString(16).padStart(12, "0")}`;
  }

  trigger(): Run {
    const id = this.uuid();
    const run: Run = { id, state: "queued", attempt: 0, worker: undefined, output: "", cancelled: false };
    this.runs.set(id, run);
    return run;
  }

  /** Schedules and polls, once a second of virtual time, until the signal aborts. */
  async live(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await this.#clock.sleep(pollMs, signal);
        if (this.isUp) this.tick(this.#clock.now());
      }
    } catch {
      // The run of the simulation is over.
    }
  }

  /** Ends every stream with OK, and refuses from now on. */
  drain(): void {
    for (const stream of [...this.streams]) stream.finish();
    this.isUp = false;
  }

  unary(method: string, request: Record<string, unknown>, token: string): unknown {
    this.#admit(token);
    switch (method) {
      case "Register": {
        const id = this.uuid();
        const streams = new Set<ServerStream>();
        this.workers.set(id, { id, active: true, listened: false, beatAt: -Infinity, streams });
        return { workerId: id, workerName: request["workerName"] };
      }
      case "Heartbeat": {
        const worker = this.#worker(request["workerId"]);
        if (worker.listened && !worker.active) throw status(Code.FailedPrecondition, "worker stream is not active");
        worker.beatAt = this.#clock.now();
        return {};
      }
      case "SendStepActionEvent":
        this.#report(request as unknown as StepActionEvent); // The only shape that is sent.
        return {};
      case "ReleaseSlot": {
        const run = this.runs.get(String(request["taskRunExternalId"]));
        if (run?.state !== "assigned") throw status(Code.NotFound, "task run not found");
        run.worker = undefined;
        return {};
      }
      case "GetRunDetails":
        return this.#details(String(request["externalId"]));
      default:
        return {};
    }
  }

  open(method: string, token: string, wire: Wire, send: (item: Item) => void): ServerStream {
    const stream = new ServerStream(this, method, this.#clock.now(), wire, send);
    this.streams.add(stream);
    this.opens.push({ at: stream.openedAt, method });
    try {
      this.#admit(token);
      if (!this.isUp || this.dropping) stream.finish();
    } catch (error) {
      stream.finish(error as ConnectError);
    }
    return stream;
  }

  request(stream: ServerStream, message: { workflowRunId: string; workerId: string }): void {
    if (stream.method === "SubscribeToWorkflowRuns") {
      stream.ids.add(message.workflowRunId);
      return;
    }
    const worker = this.workers.get(message.workerId);
    if (worker === undefined) return stream.finish(status(Code.NotFound, "not found"));
    stream.worker = worker;
    worker.streams.add(stream);
    worker.active = worker.listened = true;
  }

  closed(stream: ServerStream): void {
    this.streams.delete(stream);
    const { worker } = stream;
    if (worker === undefined) return;
    worker.streams.delete(stream);
    // In about half of the closes the engine takes the worker for active all the same.
    if (worker.streams.size === 0 && this.#random() < 0.5) worker.active = false;
  }

  /** Cancels a run, and says so to the worker that it is assigned to, if there is one. */
  cancel(run: Run): void {
    run.state = "done";
    run.cancelled = true;
    for (const stream of run.worker?.streams ?? []) stream.send(action(run, ActionType.CANCEL_STEP_RUN));
  }

  #admit(_token: string): void {
    if (this.refusing) throw status(Code.Unauthenticated, "invalid auth token");
  }

  #worker(id: unknown): Worker {
    const worker = this.workers.get(String(id));
    if (worker === undefined) throw status(Code.NotFound, "worker not found");
    return worker;
  }

  protected tick(now: number): void {
    this.#completions.takeIn();
    for (const run of this.runs.values()) {
      const { worker } = run;
      if (run.state === "assigned" && worker !== undefined && now - worker.beatAt > silentMs) {
        this.onTaken(run);
        run.state = "queued";
        run.attempt++;
      }
      if (run.state === "queued") this.#assign(run, now);
    }
    for (const stream of this.streams) if (stream.ids.size > 0) this.#settle(stream);
  }

  #assign(run: Run, now: number): void {
    for (const worker of this.workers.values()) {
      if (!worker.active || now - worker.beatAt > schedulableMs) continue;
      const [stream] = worker.streams;
      if (stream === undefined) {
        run.attempt++; // Nobody there to send it to: an internal retry.
        continue;
      }
      Object.assign(run, { state: "assigned", worker });
      return stream.send(action(run, ActionType.START_STEP_RUN));
    }
  }

  #report(report: StepActionEvent): void {
    if (!this.runs.has(report.taskRunExternalId)) throw status(Code.InvalidArgument, "unknown task");
    if (report.eventType === StepActionEventType.STEP_EVENT_TYPE_COMPLETED) this.#completions.add(report);
  }

  #done({ retryCount, taskRunExternalId }: StepActionEvent, output: string): void {
    const run = this.runs.get(taskRunExternalId);
    if (run?.state === "assigned" && retryCount === run.attempt) Object.assign(run, { state: "done", output });
  }

  #settle(stream: ServerStream): void {
    for (const id of [...stream.ids]) {
      const run = this.runs.get(id);
      if (run?.state !== "done") continue;
      stream.ids.delete(id);
      if (this.losing > 0) {
        this.losing--;
        continue;
      }
      stream.send(finished(run));
      if (this.doubling > 0) {
        this.doubling--;
        stream.send(finished(run));
      }
    }
  }

  #details(id: string): unknown {
    const run = this.runs.get(id);
    if (run === undefined) throw status(Code.NotFound, "workflow run not found");
    const done = run.state === "done";
    const ended = run.cancelled ? RunStatus.CANCELLED : RunStatus.COMPLETED;
    const task = {
      externalId: id,
      status: done ? ended : RunStatus.RUNNING,
      readableId: "work",
      ...(done && { output: new TextEncoder().encode(run.output) }),
    };
    return { done, status: task.status, taskRuns: { work: task } };
  }
}
