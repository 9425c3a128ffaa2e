import type { DurableTaskAwaitedCompletedEntry } from "../../gen/v1/dispatcher_pb.ts";
import type { Completion, Read } from "./durable-entry.ts";
import { Entry } from "./durable-entry.ts";
import type { DurableError, Invocation } from "./durable-errors.ts";
import type { Request } from "./durable-request.ts";

/**
 * How many completions are kept that nobody can be told yet, and of how many bytes. What comes beyond is told again: the
 * step is asked about until it is done.
 */
const mostKept = 10_000;
const mostKeptBytes = 2 ** 24;

/** Where a step is in a task's log. */
export interface Place {
  readonly branchId: bigint;
  readonly nodeId: bigint;
}

/** What is known of one invocation of a durable task: its steps, and what it has yet to ask. */
export class DurableLog implements Invocation {
  readonly taskId: string;
  readonly invocation: number;
  /** Requests in the order in which they were made: their answers do not say whose they are, so one goes at a time. */
  readonly requests: Request[] = [];
  /** Evictions that wait for their answer. */
  readonly evictions: Request[] = [];
  /** Why nothing more can be asked. */
  broken: DurableError | undefined;
  readonly #entries = new Map<string, Entry>();
  /** Completions as they came: one may overtake the answer that makes its step known, and those behind it wait. */
  readonly #held = new Map<string, Completion>();
  #keptBytes = 0;
  /** Completions that came on an earlier stream, and not yet on this one. */
  readonly #unproven = new Set<string>();

  constructor({ invocation, taskId }: Invocation) {
    this.taskId = taskId;
    this.invocation = invocation;
  }

  /** How many steps are waited for. */
  get awaited(): number {
    return this.#count((entry) => entry.awaited);
  }

  /** How many completions nobody has asked for yet. */
  get buffered(): number {
    return this.#count((entry) => entry.isOrdered && entry.buffered) +
      [...this.#held.keys()].filter((key) => !this.#entries.has(key)).length;
  }

  /** Whether a completion is still to come. */
  get isWaiting(): boolean {
    return this.#count((entry) => entry.isOrdered && !entry.settled) > 0;
  }

  /** A step that the engine has acknowledged. */
  add<V>(place: Place, isOrdered: boolean, read: Read<V>): Entry<V> {
    const entry = new Entry<V>(place, isOrdered, read);
    this.#entries.set(keyOf(place), entry as Entry); // Those in the map are only ever told what came of them.
    return entry;
  }

  /** Whether a step is known. */
  has(place: Place): boolean {
    return this.#entries.has(keyOf(place));
  }

  /** A step is done; told again it changes nothing. */
  complete(place: Place, completion: Completion): void {
    const key = keyOf(place);
    const entry = this.#entries.get(key);
    // The engine tells them in order: what is new comes behind everything that was told before.
    if (entry?.isOrdered && !entry.settled) this.#unproven.clear();
    this.#unproven.delete(key);
    if (entry !== undefined && (this.#held.size === 0 || !this.#isAsking)) return entry.complete(completion);
    this.#keep(key, completion);
    this.release();
  }

  /**
   * Tells what came, in the order in which it came, up to one whose step an answer may make known yet: the next
   * invocation is told in this order. What nobody can be about to ask for keeps its place, and holds up nothing. Called
   * behind every answer, for whoever it is for waits from then on.
   */
  release(): void {
    const isAsking = this.#isAsking;
    for (const [key, completion] of this.#held) {
      const entry = this.#entries.get(key);
      if (entry === undefined && isAsking) return;
      if (entry === undefined) continue;
      this.#held.delete(key);
      this.#keptBytes -= completion.payload.length;
      entry.complete(completion);
    }
  }

  /** A new stream begins, and knows nothing of what the one before has told. */
  reopen(): void {
    for (const [key, { isOrdered, settled }] of this.#entries) if (isOrdered && settled) this.#unproven.add(key);
  }

  /**
   * The steps to ask the engine about: those that are not done, and those that this stream has not told yet. The engine
   * counts what it tells on each stream from the first, and holds back what comes behind a gap.
   */
  listed(): DurableTaskAwaitedCompletedEntry[] {
    const due = [...this.#entries].filter(([key, entry]) =>
      entry.isOrdered && (!entry.settled || this.#unproven.has(key))
    );
    return due.map(([, { branch: branchId, node: nodeId }]) => ({
      $typeName: "v1.DurableTaskAwaitedCompletedEntry",
      durableTaskExternalId: this.taskId,
      invocationCount: this.invocation,
      branchId,
      nodeId,
    }));
  }

  /** Asks for nothing more, and takes back what was not sent. */
  break(error: DurableError): void {
    this.broken ??= error;
    this.#fail(error, this.requests.filter(({ sent }) => !sent));
    this.release();
  }

  /** It is over: neither requests nor steps come to anything. */
  end(error: unknown): void {
    this.#fail(error, [...this.evictions, ...this.requests]);
    for (const entry of this.#entries.values()) entry.fail(error);
    this.#held.clear();
  }

  /** Sends those away who wait, and keeps what is known. */
  dismiss(error: unknown): void {
    this.#fail(error, [...this.evictions, ...this.requests]);
    for (const entry of this.#entries.values()) entry.dismiss(error);
  }

  /** Whether an answer is to come that makes a step known. */
  get #isAsking(): boolean {
    return this.broken === undefined && this.requests[0]?.sent === true;
  }

  #keep(key: string, completion: Completion): void {
    const bytes = this.#keptBytes + completion.payload.length;
    if (this.#held.has(key) || this.#held.size === mostKept || bytes > mostKeptBytes) return;
    this.#held.set(key, completion);
    this.#keptBytes = bytes;
  }

  /** The last one first: the end of one request is the beginning of the next. */
  #fail(error: unknown, requests: readonly Request[]): void {
    for (const request of requests.toReversed()) request.fail(error);
  }

  #count(counts: (entry: Entry) => boolean): number {
    return [...this.#entries.values()].filter(counts).length;
  }
}

function keyOf({ branchId, nodeId }: Place): string {
  return `${branchId}/${nodeId}`;
}
