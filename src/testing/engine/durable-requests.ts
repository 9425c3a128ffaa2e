import { ConnectError } from "@connectrpc/connect";
import type {
  DurableTaskCompleteMemoRequest,
  DurableTaskEvictInvocationRequest,
  DurableTaskMemoRequest,
  DurableTaskRequest,
  DurableTaskTriggerRunsRequest,
  DurableTaskWaitForRequest,
  DurableTaskWorkerStatusRequest,
} from "../../proto.ts";
import { type Condition, fingerprint, readConditions, watch } from "./conditions.ts";
import type { Core } from "./core.ts";
import { childKeyOf, trigger } from "./durable-children.ts";
import { type Durable, stored } from "./durable.ts";
import { type DurableStream, ref } from "./durable-stream.ts";
import { parse } from "./json.ts";
import type { Entry } from "./log.ts";
import type { Runs } from "./runs.ts";
import { ended, type Task } from "./state.ts";
import { checkTrigger } from "./triggers.ts";

/**
 * The receiving side of one DurableTask stream. What is malformed or leads nowhere is met with silence: the real engine
 * only notes it in its log.
 */
export class DurableRequests {
  readonly #core: Core;
  readonly #runs: Runs;
  readonly #durable: Durable;
  readonly #stream: DurableStream;

  constructor(core: Core, runs: Runs, durable: Durable, stream: DurableStream) {
    this.#core = core;
    this.#runs = runs;
    this.#durable = durable;
    this.#stream = stream;
  }

  take({ message }: DurableTaskRequest): void {
    switch (message.case) {
      case "registerWorker":
        return this.#register(message.value.workerId);
      case "memo":
        return this.#memo(message.value);
      case "completeMemo":
        return this.#completeMemo(message.value);
      case "triggerRuns":
        return this.#triggerRuns(message.value);
      case "waitFor":
        return this.#waitFor(message.value);
      case "evictInvocation":
        return this.#evict(message.value);
      case "workerStatus":
        return this.#status(message.value);
    }
  }

  #register(workerId: string): void {
    const worker = this.#core.state.workers.get(workerId.toLowerCase());
    if (worker === undefined) return;
    worker.durableDispatcherId = this.#core.dispatcherId;
    this.#stream.welcome(workerId);
  }

  #memo({ durableTaskExternalId, invocationCount, key, payload }: DurableTaskMemoRequest): void {
    const task = this.#admit(durableTaskExternalId, invocationCount);
    if (task === undefined) return;
    const text = decode(payload ?? new Uint8Array());
    if (text !== "" && parse(text) === undefined) return;
    this.#enter(task, "memo", [decode(key)], ([node]) => {
      const log = this.#durable.log(task);
      const existed = log.at(node!) !== undefined;
      const entry = log.claim(node!, "memo", decode(key));
      if (text !== "") log.settle(entry, { payload: text });
      const result = entry.outcome === undefined ? undefined : encode(stored(entry.outcome.payload));
      this.#answer(task, [entry], {
        case: "memoAck",
        value: {
          ref: ref(task, node!),
          memoAlreadyExisted: existed,
          ...(result === undefined ? {} : { memoResultPayload: result }),
        },
      });
    });
  }

  /** Never answered; the second one changes nothing. */
  #completeMemo({ memoKey, payload, ref: reference }: DurableTaskCompleteMemoRequest): void {
    const task = this.#known(reference?.durableTaskExternalId ?? "", reference?.invocationCount ?? 0);
    if (task === undefined) return;
    const log = this.#durable.log(task);
    const entry = log.at(Number(reference?.nodeId ?? 0n));
    const text = decode(payload);
    if (entry?.kind !== "memo" || entry.key !== decode(memoKey) || (text !== "" && parse(text) === undefined)) return;
    log.settle(entry, { payload: text });
  }

  #triggerRuns({ durableTaskExternalId, invocationCount, triggerOpts }: DurableTaskTriggerRunsRequest): void {
    const task = this.#admit(durableTaskExternalId, invocationCount);
    if (task === undefined || triggerOpts.length === 0 || !valid(() => triggerOpts.forEach(checkTrigger))) return;
    this.#enter(task, "run", triggerOpts.map(childKeyOf), (nodes) => {
      const entries = trigger(this.#core, this.#runs, this.#durable, task, triggerOpts, nodes);
      if (typeof entries === "number") return this.#stream.differs(task, entries);
      this.#answer(task, entries, {
        case: "triggerRunsAck",
        value: {
          durableTaskExternalId: task.id,
          invocationCount,
          runEntries: entries.map(({ childId, node }) => ({
            nodeId: BigInt(node),
            branchId: BigInt(task.branch),
            workflowRunExternalId: childId ?? "",
          })),
        },
      });
    });
  }

  #waitFor({ durableTaskExternalId, invocationCount, waitForConditions }: DurableTaskWaitForRequest): void {
    const task = this.#admit(durableTaskExternalId, invocationCount);
    if (task === undefined) return;
    let conditions: readonly Condition[] = [];
    const read = () => {
      conditions = waitForConditions === undefined ? [] : readConditions(waitForConditions);
    };
    if (!valid(read, this.#core.crash)) return;
    const key = fingerprint(conditions);
    this.#enter(task, "wait", [key], ([node]) => {
      const log = this.#durable.log(task);
      const fresh = log.at(node!) === undefined;
      const entry = log.claim(node!, "wait", key);
      const answer = () => this.#answer(task, [entry], { case: "waitForAck", value: { ref: ref(task, node!) } });
      if (!fresh) return answer();
      let answered = false;
      watch(this.#core, conditions, {
        scoped: true,
        alive: () => !ended(task),
        done: (payload) => {
          // What a look back finds is told behind the answer, not before it.
          if (answered) this.#durable.settle(task, entry, { payload });
          else log.settle(entry, { payload });
        },
      });
      answered = true;
      answer();
    });
  }

  /** The number is not looked at, and the answer says nothing about what happened. */
  #evict({ durableTaskExternalId, invocationCount }: DurableTaskEvictInvocationRequest): void {
    this.#soon(() => {
      const task = this.#core.state.tasks.get(durableTaskExternalId.toLowerCase());
      if (task === undefined) return this.#stream.fail(durableTaskExternalId, invocationCount, "task not found");
      this.#durable.evict(task);
      void this.#stream.ack({ case: "evictionAck", value: { durableTaskExternalId, invocationCount } });
    });
  }

  /** A question: what is there of that already? It binds nothing. */
  #status({ waitingEntries }: DurableTaskWorkerStatusRequest): void {
    const due: { readonly task: Task; readonly entry: Entry }[] = [];
    const asked = new Set<Task>();
    const stale = new Map<string, number>();
    for (const { durableTaskExternalId, invocationCount, nodeId } of waitingEntries) {
      const task = this.#core.state.tasks.get(durableTaskExternalId.toLowerCase());
      if (task === undefined || ended(task)) continue;
      if (task.invocations > invocationCount) stale.set(durableTaskExternalId, invocationCount);
      if (task.invocations !== invocationCount) continue;
      asked.add(task);
      const entry = this.#durable.log(task).at(Number(nodeId));
      if (entry?.outcome !== undefined) due.push({ task, entry });
    }
    for (const { entry, task } of due.toSorted((a, b) => (a.entry.order ?? 0) - (b.entry.order ?? 0))) {
      this.#stream.complete(task, entry, true);
    }
    for (const [taskId, invocation] of stale) this.#stream.evict(taskId, invocation, this.#stale(taskId, invocation));
    for (const task of asked) {
      if (!this.#stream.stalled(task)) continue;
      this.#stream.evict(
        task.id,
        task.invocations,
        "ordered durable completion release stalled on a missing entry",
      );
    }
  }

  /** The task, if the request speaks for its live invocation; a stale one is sent away. */
  #known(id: string, invocation: number): Task | undefined {
    const task = this.#core.state.tasks.get(id.toLowerCase());
    if (task === undefined || !task.step.durable || ended(task)) return undefined;
    if (invocation === task.invocations) return task;
    this.#stream.evict(id, invocation, this.#stale(id, invocation));
    return undefined;
  }

  #admit(id: string, invocation: number): Task | undefined {
    const task = this.#known(id, invocation);
    if (task !== undefined) this.#stream.bind(task);
    return task;
  }

  /**
   * Applies a request at the next nodes, which it looks up now and claims a moment later: two at once take the same, and
   * the second one fails.
   */
  #enter(task: Task, kind: Entry["kind"], keys: readonly string[], apply: (nodes: readonly number[]) => void): void {
    const log = this.#durable.log(task);
    const first = log.next;
    const nodes = keys.map((_, index) => first + index);
    this.#soon(() => {
      const wrong = nodes.find((node, index) => !log.admits(node, kind, keys[index]!));
      if (wrong === undefined) apply(nodes);
      else this.#stream.differs(task, wrong);
    });
  }

  /** First the answer, then what is there already. */
  #answer(task: Task, entries: readonly Entry[], ack: Parameters<DurableStream["ack"]>[0]): void {
    const done = entries.filter((entry) => entry.outcome !== undefined);
    void this.#stream.ack(ack).then(() => {
      for (const entry of done) this.#stream.complete(task, entry);
    });
  }

  #stale(taskId: string, sent: number): string {
    const now = this.#core.state.tasks.get(taskId.toLowerCase())?.invocations;
    return `invocation count mismatch for task ${taskId}: server has ${now}, worker sent ${sent}`;
  }

  /** Requests are handled side by side: the answers come in any order. */
  #soon(act: () => void): void {
    this.#core.agenda.in(this.#core.random() * this.#core.timing.durableMs, act);
  }
}

/** Whether a check passes; what is no answer of the engine's own is given to `stumble`. */
function valid(check: () => void, stumble: () => void = () => {}): boolean {
  try {
    check();
    return true;
  } catch (error) {
    if (!(error instanceof ConnectError)) stumble();
    return false;
  }
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
