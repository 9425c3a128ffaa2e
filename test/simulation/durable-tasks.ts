import { Dispatcher } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { Client } from "../../src/client.ts";
import { RunFailedError } from "../../src/errors.ts";
import { DurableError } from "../../src/listeners/durable-errors.ts";
import type { DurableSession } from "../../src/listeners/durable-tasks.ts";
import type { Clock } from "../../src/streams/clock.ts";
import { StreamError } from "../../src/streams/errors.ts";
import type { DurableTask, Step } from "./durable-log.ts";
import type { DurableModel } from "./durable-model.ts";

/** What a durable task does, part by part; times are milliseconds until it comes true. */
export type Part =
  /** A value, or a function that takes so long. */
  | { readonly memo: "value" | number }
  | { readonly waits: readonly number[] }
  | { readonly children: readonly number[] };

/** What the tasks need of the simulation. */
export interface DurableTasksOptions {
  readonly client: Client;
  readonly model: DurableModel;
  readonly clock: Clock;
  readonly random: () => number;
  readonly over: AbortSignal;
  readonly found: (what: string) => void;
}

/** One invocation, as it runs. */
class Invocation {
  readonly task: DurableTask;
  readonly taskId: string;
  readonly invocation: number;
  readonly session: DurableSession;
  readonly begunAt: number;
  readonly controller = new AbortController();
  /** Steps that were asked for. */
  node = 0;
  /** The number of the last outcome that was told. */
  order = 0;
  /** What was remembered, by node. */
  readonly memos = new Map<number, string>();
  /** What has not settled yet. */
  readonly open = new Set<string>();
  evictions = 0;

  constructor(task: DurableTask, invocation: number, session: DurableSession, begunAt: number) {
    this.task = task;
    this.taskId = task.id;
    this.invocation = invocation;
    this.session = session;
    this.begunAt = begunAt;
  }
}

/** Runs durable tasks as users write them, on the sessions of two workers, and checks what they are told. */
export class DurableTasks {
  readonly #options: DurableTasksOptions;
  readonly #parts = new Map<DurableTask, readonly Part[]>();
  readonly #invocations: Invocation[] = [];
  readonly #finished: Invocation[] = [];
  #sessions: DurableSession[] = [];

  constructor(options: DurableTasksOptions) {
    const { found, model } = options;
    this.#options = options;
    model.onAssigned = (task, invocation) => void this.#run(task, invocation);
    model.onStalled = ({ id }) => found(`task ${id} was sent away, for it did not ask for what it was told before`);
  }

  get pending(): DurableTask[] {
    return [...this.#parts.keys()].filter(({ state }) => state !== "done");
  }

  start(parts: readonly Part[]): void {
    this.#parts.set(this.#options.model.start(), parts);
  }

  /** An invocation is given up by whoever runs it. */
  giveUp(): void {
    const running = this.#invocations.filter(({ invocation, open, task }) =>
      task.invocation === invocation && open.size > 0
    );
    this.#pick(running)?.controller.abort(new Error("given up"));
  }

  /** The engine assigns a task anew, and the one who has it does not know. */
  steal(): void {
    const task = this.#pick(this.pending.filter(({ state }) => state === "running"));
    if (task !== undefined) this.#options.model.assign(task);
  }

  end(): void {
    const { found } = this.#options;
    for (const { id, invocation, state } of this.pending) found(`task ${id} is ${state} in invocation ${invocation}`);
    for (const { invocation, open, taskId } of this.#invocations) {
      for (const what of open) found(`${what} of invocation ${invocation} of task ${taskId} hangs`);
    }
    for (const one of this.#finished) this.#check(one);
    for (const { awaited, buffered, pending } of this.#sessions) {
      if (awaited + buffered + pending > 0) found(`a session keeps ${awaited} waits, ${buffered} and ${pending}`);
    }
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) await session.close();
  }

  async #run(task: DurableTask, invocation: number): Promise<void> {
    if (task.state === "done" || task.invocation !== invocation) return;
    const { clock, found, model, over } = this.#options;
    const one = new Invocation(task, invocation, this.#pick(this.#open())!, clock.now());
    this.#invocations.push(one);
    try {
      for (const part of this.#parts.get(task) ?? []) await this.#do(one, part);
      if (!model.finish(task, invocation)) return;
      this.#finished.push(one);
      for (const other of this.#invocations) if (other.task === task) other.session.forget(other);
    } catch (error) {
      if (over.aborted || !this.pending.includes(task)) return;
      const isOwn = error === one.controller.signal.reason;
      const code = error instanceof DurableError || error instanceof StreamError ? error.code : undefined;
      if (isOwn || code === "lost" || code === "timeout" || code === "unreachable") return await this.#abandon(one);
      const isLive = task.invocation === invocation && task.state === "running";
      if ((code !== "evicted" && code !== "stale") || isLive) found(`invocation ${invocation} of ${task.id}: ${error}`);
    }
  }

  async #do(one: Invocation, part: Part): Promise<void> {
    const { session } = one;
    const { signal } = one.controller;
    if ("memo" in part) {
      const node = ++one.node;
      const own = { madeIn: one.invocation };
      const known = one.task.at(node)?.outcome?.payload;
      const { clock, over } = this.#options;
      const ms = part.memo;
      const value = ms === "value" ? own : () => clock.sleep(ms, over).then(() => own);
      const got = await this.#track(one, `memo ${node}`, session.memo(one, `memo ${node}`, value, { signal }));
      one.memos.set(node, JSON.stringify(got));
      if (known !== undefined && one.memos.get(node) !== known) this.#wrong(one, node, `${one.memos.get(node)}`);
    } else if ("waits" in part) {
      await Promise.all(part.waits.map((ms) => {
        const node = ++one.node;
        const key = `wait-${ms}`;
        const expected = JSON.stringify({ [key]: [{ node, taskId: one.taskId }] });
        const wait = session.waitFor(one, { event: key }, { signal }).then((matches) => {
          this.#told(one, node, one.begunAt);
          if (JSON.stringify(matches) !== expected) this.#wrong(one, node, JSON.stringify(matches));
        });
        return this.#track(one, `wait ${node}`, wait);
      }));
    } else {
      const nodes = part.children.map(() => ++one.node);
      const runs = part.children.map((ms) => ({ task: `${ms % 5 === 0 ? "bad" : "good"}-${ms}`, input: { ms } }));
      const children = await this.#track(one, `runs ${nodes[0]}`, session.triggerRuns(one, runs, { signal }));
      const askedAt = this.#options.clock.now();
      await Promise.all(children.map((child, index) => {
        const node = nodes[index]!;
        if (child.node !== node) this.#wrong(one, node, `node ${child.node}`);
        const result = child.result({ signal }).then((output) => {
          this.#told(one, node, askedAt);
          if (JSON.stringify(output) !== JSON.stringify({ childId: child.id })) this.#wrong(one, node, `${output}`);
        }, (error) => {
          if (!(error instanceof RunFailedError)) throw error;
          this.#told(one, node, askedAt);
          if (!error.message.includes(`it broke at ${node}`)) this.#wrong(one, node, error.message);
        });
        return this.#track(one, `child ${node}`, result);
      }));
    }
  }

  async #track<T>(one: Invocation, what: string, promise: Promise<T>): Promise<T> {
    one.open.add(what);
    try {
      return await promise;
    } finally {
      one.open.delete(what);
    }
  }

  /** A step's outcome has come. One that the engine told before anybody could ask comes when it is asked for. */
  #told(one: Invocation, node: number, askedAt: number): void {
    const { order, outcome, toldAt } = one.task.at(node) ?? {} as Partial<Step>;
    if (outcome === undefined || order === undefined) return this.#wrong(one, node, "what did not happen");
    if (one.task.invocation === one.invocation && toldAt! <= askedAt) return;
    if (order < one.order) this.#wrong(one, node, `outcome ${order} behind ${one.order}`);
    one.order = order;
  }

  #wrong({ invocation, taskId }: Invocation, node: number, what: string): void {
    this.#options.found(`node ${node} of invocation ${invocation} of task ${taskId} was told ${what}`);
  }

  /** Nobody knows what the engine took: the invocation is given up, and the next finds what there is. */
  async #abandon(one: Invocation): Promise<void> {
    const { client, clock, found, over } = this.#options;
    for (const isTold of [false, true]) {
      for (;;) {
        try {
          if (one.task.state === "done" || one.task.invocation !== one.invocation) return;
          const taskRunExternalId = one.taskId;
          if (isTold) await client.rpc(Dispatcher).restoreEvictedTask({ taskRunExternalId });
          else await this.#track(one, `eviction ${++one.evictions}`, one.session.evict(one));
          break;
        } catch (error) {
          if (over.aborted) return;
          const code = error instanceof DurableError ? error.code : undefined;
          if (code === "evicted" || code === "stale") return;
          if (code === "refused" || code === "nondeterminism") found(`an eviction threw ${error}`);
          await clock.sleep(1000);
        }
      }
    }
  }

  /** What every invocation must leave: what it asked for once, and what it remembered. */
  #check({ memos, node, task }: Invocation): void {
    const { found } = this.#options;
    if (task.walked !== node) found(`task ${task.id} asked for ${node} steps, and the engine knows of ${task.walked}`);
    for (const [at, value] of memos) {
      const known = task.at(at)?.outcome?.payload;
      if (known !== value) {
        found(`memo ${at} of task ${task.id} gave ${value}, and the engine has ${known}`);
      }
    }
  }

  /** Opened by the first task. */
  #open(): readonly DurableSession[] {
    if (this.#sessions.length > 0) return this.#sessions;
    const { client, found } = this.#options;
    this.#sessions = ["a", "b"].map((name) => {
      const session = client.durable.tasks({ workerId: `00000000-0000-4000-9000-00000000000${name}` });
      const told = new Set<string>();
      session.onServerEvict(({ invocation, taskId }) => {
        const key = `invocation ${invocation} of task ${taskId}`;
        if (told.has(key)) found(`${key} was sent away twice`);
        told.add(key);
        if (this.#options.model.tasks.get(taskId)?.invocation === invocation) found(`${key} is live and was sent away`);
      });
      return session;
    });
    return this.#sessions;
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#options.random() * items.length)];
  }
}
