import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import {
  type DurableEvent,
  DurableEventSchema,
  type ListenForDurableEventRequest,
  type RegisterDurableEventRequest,
} from "../../proto.ts";
import { onAbort } from "../../streams/signal.ts";
import { readConditions, watch } from "./conditions.ts";
import { type Core, delayed } from "./core.ts";
import { Feed } from "./feed.ts";
import { isUuid } from "./ids.ts";
import { ended, type Task } from "./state.ts";

const batch = 1000;

/** Durable events of the first generation: a task's signals, by key. */
export class Signals {
  readonly #core: Core;
  readonly #data = new WeakMap<Task, Map<string, string>>();

  constructor(core: Core) {
    this.#core = core;
  }

  /** Adds a match to the key, one more each time; what comes first stays. */
  register({ conditions, signalKey, taskId }: RegisterDurableEventRequest): void {
    if (!isUuid(taskId)) throw new ConnectError(`invalid task id: ${taskId}`, Code.InvalidArgument);
    const task = this.#core.state.tasks.get(taskId.toLowerCase());
    if (task === undefined) throw new ConnectError(`task run not found: ${taskId}`, Code.NotFound);
    if (conditions === undefined) throw new Error("a durable event without conditions");
    const signals = this.#data.get(task) ?? new Map<string, string>();
    this.#data.set(task, signals);
    watch(this.#core, readConditions(conditions), {
      scoped: false,
      alive: () => !ended(task),
      done: (data) => {
        if (!signals.has(signalKey)) signals.set(signalKey, data);
      },
    });
  }

  /** Tells each signal that is asked for, once per asking; nonsense is never answered. */
  async *listen(
    requests: AsyncIterable<ListenForDurableEventRequest>,
    { signal }: HandlerContext,
  ): AsyncGenerator<DurableEvent> {
    const feed = new Feed<DurableEvent>();
    const wanted = new Map<string, ListenForDurableEventRequest>();
    const leave = onAbort(signal, () => feed.close());
    const untick = this.#look(wanted, feed);
    void this.#read(requests, wanted).finally(() => feed.close());
    try {
      yield* feed;
    } finally {
      leave();
      untick();
    }
  }

  async #read(
    requests: AsyncIterable<ListenForDurableEventRequest>,
    wanted: Map<string, ListenForDurableEventRequest>,
  ): Promise<void> {
    const seen = this.#core.seen.subscribed("v1.V1Dispatcher/ListenForDurableEvent");
    try {
      for await (const request of requests) {
        const key = `${request.taskId}:${request.signalKey}`;
        seen.push(key);
        if (this.#core.state.tasks.has(request.taskId.toLowerCase())) wanted.set(key, request);
      }
    } catch {
      // The stream broke: it ends for the other side too, and nobody is left to tell.
    }
  }

  /** Looks again and again, and never at once; returns the undo. */
  #look(wanted: Map<string, ListenForDurableEventRequest>, feed: Feed<DurableEvent>): () => void {
    const { agenda, timing } = this.#core;
    let undo = () => {};
    const tick = () => {
      for (const [key, { signalKey, taskId }] of [...wanted].slice(0, batch)) {
        const task = this.#core.state.tasks.get(taskId.toLowerCase());
        const data = task === undefined ? undefined : this.#data.get(task)?.get(signalKey);
        if (data === undefined) continue;
        wanted.delete(key);
        const event = create(DurableEventSchema, { taskId, signalKey, data: new TextEncoder().encode(data) });
        void delayed(this.#core, this.#core.faults.sendDelayMs).then(() => feed.push(event));
      }
      undo = agenda.in(timing.pollMs, tick);
    };
    undo = agenda.in(timing.pollMs, tick);
    return () => undo();
  }
}
