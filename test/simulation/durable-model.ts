import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  DurableTaskCompleteMemoRequest,
  DurableTaskRequest,
  DurableTaskResponseSchema,
  DurableTaskWorkerStatusRequest,
} from "../../gen/v1/dispatcher_pb.ts";
import { DurableTaskErrorType } from "../../gen/v1/dispatcher_pb.ts";
import type { Clock } from "../../src/streams/clock.ts";
import { Release } from "../../src/testing/engine/release.ts";
import type { Outcome, Step } from "./durable-log.ts";
import { DurableTask } from "./durable-log.ts";
import type { Engine } from "./engine.ts";
import type { ServerStream } from "./server-stream.ts";

type Message = NonNullable<MessageInitShape<typeof DurableTaskResponseSchema>["message"]>;

/** How long a completion may wait for one before it, in milliseconds; then the engine sends the invocation away. */
const orderGapMs = 60_000;
/** How long the engine takes for a request, and for an assignment, at the most, in milliseconds. */
const handleMs = 20;
const assignMs = 3000;

/** What a stream of durable tasks knows, and what ends with it. */
interface Side {
  readonly bound: Set<string>;
  /** By task and invocation, and always from the first: what left on the stream before does not count. */
  readonly releases: Map<string, Release<() => void>>;
}

/** The model engine's DurableTask: what is malformed or leads nowhere is met with silence. */
export class DurableModel {
  /** How many answers will never leave. */
  losing = 0;
  /** How many answers and completions will leave twice. */
  doublingAnswers = 0;
  doublingCompletions = 0;
  readonly tasks = new Map<string, DurableTask>();
  /** Told of each assignment. */
  onAssigned: (task: DurableTask, invocation: number) => void = () => {};
  /** Told when an invocation is sent away because completions were stuck: the client could have known. */
  onStalled: (task: DurableTask) => void = () => {};
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #over: AbortSignal;
  readonly #sides = new Map<ServerStream, Side>();
  /** On which stream a task's completions are told. */
  readonly #bindings = new Map<string, ServerStream>();

  constructor(engine: Engine, clock: Clock, random: () => number, over: AbortSignal) {
    this.#engine = engine;
    this.#clock = clock;
    this.#random = random;
    this.#over = over;
  }

  start(): DurableTask {
    const task = new DurableTask(this.#engine.uuid());
    this.tasks.set(task.id, task);
    this.assign(task);
    return task;
  }

  /** Another invocation, whatever becomes of the one before. */
  assign(task: DurableTask): void {
    task.begin();
    const { invocation } = task;
    this.#later(assignMs * this.#random(), () => this.onAssigned(task, invocation));
  }

  /** Brings an evicted task back; anything else stays as it is. */
  restore(taskId: string): void {
    const task = this.tasks.get(taskId);
    if (task?.state === "evicted") this.assign(task);
  }

  /** Whether the invocation was the live one, and the task is done with it. */
  finish(task: DurableTask, invocation: number): boolean {
    if (task.state === "done" || task.invocation !== invocation) return false;
    task.state = "done";
    return true;
  }

  closed(stream: ServerStream): void {
    // Whichever stream the task is on by now: the engine does not look.
    for (const taskId of this.#sides.get(stream)?.bound ?? []) this.#bindings.delete(taskId);
    this.#sides.delete(stream);
  }

  take(stream: ServerStream, { message }: DurableTaskRequest): void {
    switch (message.case) {
      case "registerWorker":
        this.#sides.set(stream, { bound: new Set(), releases: new Map() });
        return stream.send({ message });
      case "memo": {
        const { key, payload } = message.value;
        return this.#enter(stream, message.value, "memo", [text(key)], ([step], task) => {
          const memoAlreadyExisted = step.outcome !== undefined;
          if (payload?.length) task.settle(step, { payload: text(payload) });
          const memoResultPayload = bytes(step.outcome?.payload ?? "");
          return { case: "memoAck", value: { ref: ref(task, step), memoAlreadyExisted, memoResultPayload } };
        });
      }
      case "completeMemo":
        return this.#soon(() => this.#completeMemo(message.value));
      case "waitFor": {
        const { userEventConditions } = message.value.waitForConditions ?? {};
        const key = userEventConditions?.[0]?.userEventKey ?? "";
        return this.#enter(stream, message.value, "wait", [key], ([step], task) => {
          const payload = JSON.stringify({ CREATE: { [key]: [{ taskId: task.id, node: step.node }] } });
          this.#begin(task, step, { payload });
          return { case: "waitForAck", value: { ref: ref(task, step) } };
        });
      }
      case "triggerRuns": {
        const { durableTaskExternalId, invocationCount, triggerOpts } = message.value;
        const keys = triggerOpts.map(({ input, name }) => `${name} ${input}`);
        return this.#enter(stream, message.value, "run", keys, (steps, task) => {
          for (const step of steps) this.#begin(task, step, childOutcome(step));
          const runEntries = steps.map(({ childId = "", node }) => ({
            branchId: 1n,
            nodeId: BigInt(node),
            workflowRunExternalId: childId,
          }));
          return { case: "triggerRunsAck", value: { durableTaskExternalId, invocationCount, runEntries } };
        });
      }
      case "evictInvocation": {
        const { durableTaskExternalId, invocationCount } = message.value;
        return this.#soon(() => {
          const task = this.tasks.get(durableTaskExternalId);
          // The number is not looked at.
          if (task?.state === "running") task.state = "evicted";
          this.#answer(stream, { case: "evictionAck", value: { durableTaskExternalId, invocationCount } });
        });
      }
      case "workerStatus":
        return this.#soon(() => this.#status(stream, message.value));
    }
  }

  /** Applies a request of the live invocation at its next nodes, answers, and tells what is there already. */
  #enter(
    stream: ServerStream,
    of: { readonly durableTaskExternalId: string; readonly invocationCount: number },
    kind: Step["kind"],
    keys: readonly string[],
    apply: (steps: readonly [Step, ...Step[]], task: DurableTask) => Message,
  ): void {
    const { durableTaskExternalId, invocationCount } = of;
    const task = this.tasks.get(durableTaskExternalId);
    if (task === undefined || task.state === "done") return;
    if (task.invocation !== invocationCount) return this.#sendAway(stream, task, invocationCount);
    this.#bindings.set(task.id, stream);
    this.#sides.get(stream)?.bound.add(task.id);
    this.#soon(() => {
      if (task.invocation !== invocationCount) return;
      const steps = task.walk(kind, keys, () => (kind === "run" ? this.#engine.uuid() : undefined));
      if (typeof steps === "number") {
        const reference = { ...of, branchId: 1n, nodeId: BigInt(steps) };
        const value = { ref: reference, errorType: DurableTaskErrorType.NONDETERMINISM, errorMessage: "not the same" };
        return stream.send({ message: { case: "error", value } });
      }
      const done = steps.filter(({ outcome }) => outcome !== undefined);
      const answer = apply(steps as [Step, ...Step[]], task); // There is at least one key.
      // What comes true between the two is told before the answer.
      this.#soon(() => {
        this.#answer(stream, answer);
        for (const step of done) this.#complete(stream, task, step);
      });
    });
  }

  #completeMemo({ memoKey, payload, ref: reference }: DurableTaskCompleteMemoRequest): void {
    const task = this.tasks.get(reference?.durableTaskExternalId ?? "");
    const step = task?.at(Number(reference?.nodeId ?? 0n));
    if (task?.invocation !== reference?.invocationCount || step?.kind !== "memo" || step.key !== text(memoKey)) return;
    task?.settle(step, { payload: text(payload) });
  }

  /** A question: what is there already, in its order? It binds nothing. */
  #status(stream: ServerStream, { waitingEntries }: DurableTaskWorkerStatusRequest): void {
    const due: { readonly task: DurableTask; readonly step: Step }[] = [];
    const asked = new Set<DurableTask>();
    const stale = new Map<DurableTask, number>();
    for (const { durableTaskExternalId, invocationCount, nodeId } of waitingEntries) {
      const task = this.tasks.get(durableTaskExternalId);
      if (task === undefined || task.state === "done") continue;
      if (task.invocation > invocationCount) stale.set(task, invocationCount);
      if (task.invocation !== invocationCount) continue;
      asked.add(task);
      const step = task.at(Number(nodeId));
      if (step?.outcome !== undefined) due.push({ task, step });
    }
    const inOrder = due.toSorted((a, b) => (a.step.order ?? 0) - (b.step.order ?? 0));
    for (const { step, task } of inOrder) this.#complete(stream, task, step);
    for (const [task, invocation] of stale) this.#sendAway(stream, task, invocation);
    for (const task of asked) {
      const { heldSinceMs } = this.#release(stream, task) ?? {};
      if (heldSinceMs === undefined || this.#clock.now() - heldSinceMs < orderGapMs) continue;
      this.onStalled(task);
      this.#sendAway(stream, task, task.invocation);
    }
  }

  /** What a step is about comes true in its time, which its key tells. */
  #begin(task: DurableTask, step: Step, outcome: Outcome): void {
    if (step.begun) return;
    step.begun = true;
    const [, ms = "0"] = /-(\d+)/.exec(step.key) ?? [];
    this.#later(Number(ms), () => {
      if (!task.settle(step, outcome) || task.state === "done") return;
      if (task.state === "evicted") return this.assign(task);
      const stream = this.#bindings.get(task.id);
      if (stream !== undefined) this.#complete(stream, task, step);
    });
  }

  #complete(stream: ServerStream, task: DurableTask, step: Step): void {
    const { order, outcome } = step;
    if (outcome === undefined) return;
    const { error, payload } = outcome;
    const failure = error === undefined ? {} : { isFailure: true, errorMessage: error };
    const value = { ref: ref(task, step), payload: bytes(payload), ...failure };
    const tell = () => {
      if (!stream.open) return;
      step.toldAt = Math.min(step.toldAt, this.#clock.now());
      stream.send({ message: { case: "entryCompleted", value } });
      if (this.doublingCompletions === 0) return;
      this.doublingCompletions--;
      stream.send({ message: { case: "entryCompleted", value } });
    };
    if (order === undefined) return tell();
    for (const due of this.#release(stream, task)?.take(order, tell, this.#clock.now()) ?? []) due();
  }

  #release(stream: ServerStream, task: DurableTask): Release<() => void> | undefined {
    const releases = this.#sides.get(stream)?.releases;
    const name = `${task.id}/${task.invocation}`;
    const release = releases?.get(name) ?? new Release(0);
    releases?.set(name, release);
    return releases && release;
  }

  #answer(stream: ServerStream, message: Message): void {
    if (!stream.open) return;
    if (this.losing > 0) {
      this.losing--;
      return;
    }
    stream.send({ message });
    if (this.doublingAnswers === 0) return;
    this.doublingAnswers--;
    stream.send({ message });
  }

  #sendAway(stream: ServerStream, task: DurableTask, invocationCount: number): void {
    const reason = `invocation count mismatch: server has ${task.invocation}`;
    const value = { durableTaskExternalId: task.id, invocationCount, reason };
    if (stream.open) stream.send({ message: { case: "serverEvict", value } });
  }

  /** Requests are handled side by side, and what an engine that went down had not begun is not done. */
  #soon(act: () => void): void {
    this.#sleep(handleMs * this.#random(), () => void (this.#engine.isUp && act()));
  }

  /** As soon as the engine is there then. */
  #later(ms: number, act: () => void): void {
    this.#sleep(ms, () => (this.#engine.isUp ? act() : this.#later(1000, act)));
  }

  #sleep(ms: number, act: () => void): void {
    this.#clock.sleep(ms, this.#over).then(act, () => {
      // The simulation is over.
    });
  }
}

/** What a child gives: its output, or a failure. */
function childOutcome({ childId, key, node }: Step): Outcome {
  return key.startsWith("bad")
    ? { payload: "", error: `it broke at ${node}` }
    : { payload: JSON.stringify({ childId }) };
}

function ref(task: DurableTask, { node }: Step): {
  durableTaskExternalId: string;
  invocationCount: number;
  branchId: bigint;
  nodeId: bigint;
} {
  return {
    durableTaskExternalId: task.id,
    invocationCount: task.invocation,
    branchId: 1n,
    nodeId: BigInt(node),
  };
}

function text(value: Uint8Array): string {
  return new TextDecoder().decode(value);
}

function bytes(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(value);
}
