import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { DurableTaskErrorType, type DurableTaskResponse, DurableTaskResponseSchema } from "../../proto.ts";
import { type Core, delayed } from "./core.ts";
import { type Durable, type Outlet, stored } from "./durable.ts";
import { Feed } from "./feed.ts";
import type { Entry } from "./log.ts";
import { Release } from "./release.ts";
import type { Task } from "./state.ts";

type Message = NonNullable<MessageInitShape<typeof DurableTaskResponseSchema>["message"]>;

/** The sending side of one DurableTask stream. */
export class DurableStream implements Outlet {
  readonly feed: Feed<DurableTaskResponse> = new Feed();
  readonly #core: Core;
  readonly #durable: Durable;
  readonly #bound = new Set<string>();
  /** By task and invocation. */
  readonly #releases = new Map<string, Release<Message>>();

  constructor(core: Core, durable: Durable) {
    this.#core = core;
    this.#durable = durable;
  }

  bind(task: Task): void {
    this.#bound.add(task.id);
    this.#durable.bind(task, this);
  }

  /** Echoes a worker's registration. */
  welcome(workerId: string): void {
    void this.#send({ case: "registerWorker", value: { workerId } });
  }

  /** Acknowledges a request, unless a fault loses that; resolves when it is on its way. */
  async ack(message: Message): Promise<void> {
    await delayed(this.#core, this.#core.faults.ackDelayMs);
    if (!this.#core.faults.take("loseAcks")) void this.#send(message);
  }

  /** Tells an outcome, in its turn; `again` reads it from the database. */
  complete(task: Task, entry: Entry, again = false): void {
    const { order, outcome } = entry;
    if (outcome === undefined) return;
    const payload = again || entry.kind === "memo" ? stored(outcome.payload) : outcome.payload;
    const message: Message = {
      case: "entryCompleted",
      value: {
        ref: ref(task, entry.node),
        payload: new TextEncoder().encode(payload),
        isFailure: outcome.error !== undefined,
        ...(outcome.error === undefined ? {} : { errorMessage: outcome.error }),
      },
    };
    if (order === undefined) return this.#tell(message);
    const release = this.#release(task);
    for (const due of release.take(order, message, this.#core.clock.now())) this.#tell(due);
    this.#durable.log(task).noteReleased(release.last);
  }

  /** Tells the worker to drop an invocation; in the database nothing changes. */
  evict(durableTaskExternalId: string, invocationCount: number, reason: string): void {
    void this.#send({ case: "serverEvict", value: { durableTaskExternalId, invocationCount, reason } });
  }

  /** A request did not repeat what the task did at this node before. */
  differs(task: Task, node: number): void {
    this.#fail(ref(task, node), DurableTaskErrorType.NONDETERMINISM, `node ${node} holds another request`);
  }

  /** A request went wrong for no reason of its own. */
  fail(durableTaskExternalId: string, invocationCount: number, errorMessage: string): void {
    this.#fail({ durableTaskExternalId, invocationCount }, DurableTaskErrorType.UNSPECIFIED, errorMessage);
  }

  /** Whether a completion has waited too long for one before it. */
  stalled(task: Task): boolean {
    const since = this.#release(task).heldSinceMs;
    return since !== undefined && this.#core.clock.now() - since >= this.#core.timing.orderGapMs;
  }

  close(): void {
    this.feed.close();
    for (const taskId of this.#bound) this.#durable.unbind(taskId);
  }

  #release(task: Task): Release<Message> {
    const key = `${task.id}/${task.invocations}`;
    // In the real engine every stream starts from the first, whatever left on the one before.
    const last = this.#core.faults.trapping ? 0 : this.#durable.log(task).released;
    const release = this.#releases.get(key) ?? new Release(last);
    this.#releases.set(key, release);
    return release;
  }

  #tell(message: Message): void {
    void this.#send(message);
    if (this.#core.faults.take("duplicateCompletions")) void this.#send(message);
  }

  #fail(reference: ReturnType<typeof ref>, errorType: DurableTaskErrorType, errorMessage: string): void {
    void this.#send({ case: "error", value: { ref: reference, errorType, errorMessage } });
  }

  async #send(message: Message): Promise<void> {
    await delayed(this.#core, this.#core.faults.sendDelayMs);
    await this.feed.push(create(DurableTaskResponseSchema, { message }));
  }
}

/** What an entry of the live invocation is called on the wire. */
export function ref(task: Task, node: number): {
  durableTaskExternalId: string;
  invocationCount: number;
  branchId?: bigint;
  nodeId?: bigint;
} {
  return {
    durableTaskExternalId: task.id,
    invocationCount: task.invocations,
    branchId: BigInt(task.branch),
    nodeId: BigInt(node),
  };
}
