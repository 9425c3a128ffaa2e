import { V1Dispatcher } from "../gen/v1/dispatcher_pb.ts";
import { uuid } from "./ids.ts";
import type { DurableCondition } from "./listeners/durable-conditions.ts";
import { toConditions } from "./listeners/durable-conditions.ts";
import type { DurableEvent } from "./listeners/durable-events.ts";
import { DurableEvents, signalled } from "./listeners/durable-events.ts";
import type { DurableSessionOptions } from "./listeners/durable-tasks.ts";
import { DurableSession } from "./listeners/durable-tasks.ts";
import type { Root } from "./root.ts";
import type { WaitOptions } from "./trigger.ts";

/** What durable tasks are made of: signals and steps, which the engine keeps for whoever comes after a crash. */
export class Durable {
  readonly #root: Root;
  readonly #events: DurableEvents;

  /** @internal A client has one. */
  constructor(root: Root) {
    this.#root = root;
    this.#events = new DurableEvents(root);
  }

  /**
   * Has the engine watch for a task's signal, until all of the conditions are met. Registering the same signal again
   * adds one more watch, so a call that was lost on the wire is not repeated: `unreachable` then means that it may have
   * taken effect.
   *
   * @throws TypeError or RangeError before any I/O; StreamError `unreachable`, `refused` or `closed`; ConnectError
   * NotFound for an unknown task
   */
  async register(
    taskId: string,
    signalKey: string,
    conditions: DurableCondition | readonly DurableCondition[],
    { signal }: WaitOptions = {},
  ): Promise<void> {
    const request = {
      taskId: uuid(taskId, "task id"),
      signalKey: signalled(signalKey),
      conditions: toConditions(conditions, this.#root.config.namespace),
    };
    await this.#root.call((call) => this.#root.rpc(V1Dispatcher).registerDurableEvent(request, call), { signal });
  }

  /**
   * Waits for a task's signal, through any number of cuts; one that came before is told like any other. Any number of
   * waiters share one stream. Of a task that the engine does not know nothing ever comes.
   *
   * @throws TypeError before any I/O; StreamError `unreachable`, `refused` or `closed`; SyntaxError when what the engine
   * tells is no JSON
   *
   * @example
   * ```ts
   * await hatchet.durable.register(taskId, "paid", { event: "invoice:paid", expression: "input.amount > 0" });
   * const { matches } = await hatchet.durable.event(taskId, "paid");
   * console.log(matches["invoice:paid"]?.[0]);
   * ```
   */
  event(taskId: string, signalKey: string, { signal }: WaitOptions = {}): Promise<DurableEvent> {
    return this.#events.wait(taskId, signalKey, signal);
  }

  /**
   * A session for the steps of durable tasks that the engine assigned to a worker. Its stream opens with the first
   * step, and stays until `close()`.
   *
   * @throws TypeError when the worker's id is no UUID
   *
   * @example
   * ```ts
   * const session = hatchet.durable.tasks({ workerId });
   * for await (const action of hatchet.actions({ workerId })) {
   *   if (action.kind !== "start" || action.invocation === undefined) continue;
   *   const task = { taskId: action.taskId, invocation: action.invocation };
   *   await session.waitFor(task, { sleepMs: 60_000 });
   *   const [child] = await session.triggerRuns(task, [{ task: "report", input: { month: "2026-10" } }]);
   *   await action.completed(await child?.result());
   *   session.forget(task);
   * }
   * ```
   */
  tasks(options: DurableSessionOptions): DurableSession {
    return new DurableSession(this.#root, options);
  }

  /** @internal The client closes it. */
  close(): void {
    this.#events.close();
  }
}
