import { uuid } from "../ids.ts";
import { decode, encodeMemo, ordered } from "../json.ts";
import type { Root } from "../root.ts";
import { show } from "../show.ts";
import { unlessAborted } from "../streams/signal.ts";
import type { WaitOptions } from "../trigger.ts";
import type { DurableChild, DurableRun } from "./durable-children.ts";
import { childRequest, childRuns } from "./durable-children.ts";
import type { DurableCondition, Matches } from "./durable-conditions.ts";
import { met, toConditions } from "./durable-conditions.ts";
import type { Invocation } from "./durable-errors.ts";
import { DurableError } from "./durable-errors.ts";
import type { ServerEviction } from "./durable-ledger.ts";
import { invoked } from "./durable-ledger.ts";
import { DurableLine } from "./durable-line.ts";
import type { DurableLog } from "./durable-log.ts";
import type { Acks, Asking } from "./durable-request.ts";
import { named, Request } from "./durable-request.ts";

/** Whose durable tasks a session is for. */
export interface DurableSessionOptions {
  /** The worker to which the engine assigns them. */
  readonly workerId: string;
}

/**
 * Steps of durable tasks, on one stream: what an invocation did is found by the next, and what it waits for comes in the
 * order in which the engine tells it, once, through any number of cuts.
 *
 * A request that was on its way when the stream was lost fails with `lost` and is never sent again: the engine may have
 * taken it, and twice would be two steps. One that no stream has taken survives. Requests of one task go one after
 * another.
 */
export class DurableSession implements AsyncDisposable {
  readonly #root: Root;
  readonly #line: DurableLine;
  readonly #listeners = new Set<(eviction: ServerEviction) => void>();

  /** @internal `durable.tasks()` makes sessions. @throws TypeError when the worker's id is no UUID */
  constructor(root: Root, { workerId }: DurableSessionOptions) {
    this.#root = root;
    this.#line = new DurableLine(root, uuid(workerId, "workerId"), (eviction) => this.#evicted(eviction));
  }

  /** How many requests wait for the engine's answer. */
  get pending(): number {
    return this.#count(({ evictions, requests }) => evictions.length + requests.length);
  }

  /** How many steps are waited for. */
  get awaited(): number {
    return this.#count((log) => log.awaited);
  }

  /** How many steps are done that nobody has asked for. */
  get buffered(): number {
    return this.#count((log) => log.buffered);
  }

  /**
   * Remembers a value: the first invocation's own, or what its function returns, and every later one is given the same.
   * What is returned went through JSON, its keys in one order, and `undefined` comes back as `null`. A function that
   * throws remembers nothing.
   *
   * @throws TypeError when JSON cannot carry the value; DurableError; StreamError
   */
  async memo<T>(task: Invocation, key: string, value: T | (() => T | Promise<T>), options?: WaitOptions): Promise<T> {
    if (typeof key !== "string" || key === "") throw new TypeError(`memo key must be a text, got ${show(key)}`);
    const run = typeof value === "function" ? value as () => T | Promise<T> : undefined;
    const payload = run === undefined ? bytes(encodeMemo(value)) : undefined;
    const memoKey = bytes(key);
    const { memoResultPayload, ref } = await this.#ask<"memo">(task, options, (of) => ({
      case: "memo",
      value: { ...of, key: memoKey, ...(payload !== undefined && { payload }) },
    }), (ack, log) => void (ack.ref && log.add(ack.ref, false, () => undefined)));
    const known = memoResultPayload?.length ? memoResultPayload : payload; // No bytes are none.
    if (known !== undefined) return remembered(known) as T; // Under this very key.
    const made = bytes(encodeMemo(await unlessAborted(run?.(), options?.signal)));
    if (ref !== undefined && this.#line.ledger.find(ref) !== undefined) {
      this.#line.tell({ case: "completeMemo", value: { ref, payload: made, memoKey } });
    }
    return remembered(made) as T; // The same.
  }

  /**
   * Triggers children, all at once, or finds those that an earlier invocation triggered.
   *
   * @throws TypeError or RangeError before any I/O; NonDeterminismError, DurableError; StreamError
   */
  async triggerRuns(
    task: Invocation,
    runs: Iterable<DurableChild>,
    options?: WaitOptions,
  ): Promise<readonly DurableRun[]> {
    const triggerOpts = Array.from(runs, (child) => childRequest(this.#root.config.namespace, child));
    if (triggerOpts.length === 0) return [];
    let children: readonly DurableRun[] = [];
    await this.#ask<"triggerRuns">(
      task,
      options,
      (of) => ({ case: "triggerRuns", value: { ...of, triggerOpts } }),
      ({ runEntries }, log) => {
        children = childRuns(log, runEntries, triggerOpts, () => this.#line.open());
      },
    );
    if (children.length === triggerOpts.length) return children;
    throw new DurableError("refused", `${triggerOpts.length} runs became ${children.length}`, invoked(task));
  }

  /**
   * Waits until all conditions are met; what meets them while the task is away counts. An event that came before the
   * wait counts only with `scope` and `since`.
   *
   * @throws TypeError or RangeError before any I/O; NonDeterminismError, DurableError; StreamError
   */
  waitFor(
    task: Invocation,
    conditions: DurableCondition | readonly DurableCondition[],
    options: WaitOptions & { readonly label?: string | undefined } = {},
  ): Promise<Matches> {
    const { label, signal } = options;
    // By hand: each `await` would let another step overtake this one.
    return new Promise((resolve, reject) => {
      const waitForConditions = toConditions(conditions, this.#root.config.namespace);
      this.#request<"waitFor">(task, signal, (of) => ({
        case: "waitFor",
        value: { ...of, waitForConditions, ...(label !== undefined && { label }) },
      }), {
        failed: reject,
        acked: ({ ref }, log) => {
          // An answer that names no step finds no request.
          if (ref !== undefined) {
            log.add(ref, true, (completion) => met(completion, log)).join({ resolve, reject }, signal);
          }
        },
      });
    });
  }

  /**
   * Gives up an invocation, whose requests and waits all reject with `evicted`; the engine assigns the task anew when
   * what it waits for has come. The engine says yes even where it did nothing, so a task is safe only when its next
   * assignment has come.
   *
   * @throws DurableError `timeout`, `lost`, `stale` or `refused`; StreamError
   */
  async evict(task: Invocation, reason?: string, { signal }: WaitOptions = {}): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const log = this.#enter(task);
      if (signal?.aborted) return reject(signal.reason);
      const value = { ...named(log), ...(reason !== undefined && { reason }) };
      const asker = { acked: () => resolve(), failed: reject };
      this.#line.evict(log, new Request(log, { case: "evictInvocation", value }, asker, signal));
    });
  }

  /** Forgets an invocation that has ended; what still waits rejects with `stale`. Every task that ends needs it. */
  forget(task: Invocation): void {
    const log = this.#line.ledger.find(named(invoked(task)));
    if (log !== undefined) this.#line.ledger.end(log, new DurableError("stale", "it was forgotten", log));
  }

  /** Calls back when the engine gives up an invocation, once for each; returns the undo. */
  onServerEvict(callback: (eviction: ServerEviction) => void): () => void {
    const own = (eviction: ServerEviction) => callback(eviction);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** Ends the stream; whoever waits gets `closed`. It evicts nothing. Idempotent. */
  close(): Promise<void> {
    return this.#line.close();
  }

  /** The same as {@link DurableSession.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ask<K extends keyof Acks>(
    task: Invocation,
    { signal }: WaitOptions = {},
    message: Asking<K>,
    onAck: (ack: Acks[K], log: DurableLog) => void,
  ): Promise<Acks[K]> {
    return new Promise((resolve, reject) => {
      const acked = (ack: Acks[K], log: DurableLog) => {
        onAck(ack, log);
        resolve(ack);
      };
      this.#request(task, signal, message, { acked, failed: reject });
    });
  }

  /** The answer is dealt with in the turn in which it comes, for what comes next may be about it. */
  #request<K extends keyof Acks>(
    task: Invocation,
    signal: AbortSignal | undefined,
    message: Asking<K>,
    asker: { readonly acked: (ack: Acks[K], log: DurableLog) => void; readonly failed: (error: unknown) => void },
  ): void {
    const log = this.#enter(task);
    if (signal?.aborted) return asker.failed(signal.reason);
    const { failed } = asker;
    const acked = (ack: unknown) => asker.acked(ack as Acks[K], log); // Each kind has its own answer.
    this.#line.ask(log, new Request(log, message(named(log)), { acked, failed }, signal));
  }

  #enter(task: Invocation): DurableLog {
    const of = invoked(task);
    if (this.#line.closed !== undefined) throw this.#line.closed;
    return this.#line.ledger.enter(of);
  }

  #evicted(eviction: ServerEviction): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(eviction);
      } catch (error) {
        // The stream and the other tasks must not end of it.
        this.#root.config.logger.error("A callback failed", { callback: "onServerEvict", error });
      }
    }
  }

  #count(of: (log: DurableLog) => number): number {
    return [...this.#line.ledger.logs()].reduce((sum, log) => sum + of(log), 0);
  }
}

function remembered(json: Uint8Array): unknown {
  return ordered(decode(new TextDecoder().decode(json)));
}

function bytes(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(value);
}
