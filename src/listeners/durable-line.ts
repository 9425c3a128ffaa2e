import type { DurableTaskResponse } from "../../gen/v1/dispatcher_pb.ts";
import { V1Dispatcher } from "../../gen/v1/dispatcher_pb.ts";
import type { Entry } from "../board.ts";
import type { OwnPolicy, Root } from "../root.ts";
import { StreamError } from "../streams/errors.ts";
import { reconnect } from "../streams/reconnect.ts";
import { linked } from "../streams/signal.ts";
import type { Ending, Verdict } from "../streams/verdict.ts";
import { DurableError } from "./durable-errors.ts";
import type { ServerEviction } from "./durable-ledger.ts";
import { Ledger } from "./durable-ledger.ts";
import type { DurableLog } from "./durable-log.ts";
import type { Message, Request } from "./durable-request.ts";
import { named } from "./durable-request.ts";
import { Sender } from "./durable-sender.ts";

/** How many steps one question is about, at the most. */
const questionSize = 5000;
/** A request that a stream has let in once need not fear for its tries. */
const inside = -Infinity;

/** The DurableTask stream of one worker: what is asked on it, what comes, and how it comes back. */
export class DurableLine {
  readonly ledger: Ledger;
  readonly #root: Root;
  readonly #entry: Entry;
  readonly #workerId: string;
  readonly #sender: Sender;
  #running: Promise<void> | undefined;
  #stop: (() => void) | undefined;
  #closed: StreamError | undefined;
  #isIn = false;
  #wasLive = false;

  constructor(root: Root, workerId: string, onEvict: (eviction: ServerEviction) => void) {
    this.#root = root;
    this.#entry = root.board.add("durable-tasks", workerId);
    this.#workerId = workerId;
    this.ledger = new Ledger(onEvict);
    this.#sender = new Sender({
      clock: root.clock,
      workerId,
      status: (all) => this.#questions(all),
      onLate: (request, error) => this.#lose(request, error),
    });
  }

  /** Asks the engine, behind what was asked for the same task before. */
  ask(log: DurableLog, request: Request): void {
    const { requests } = log;
    if (log.broken !== undefined) return request.fail(log.broken);
    this.#take(request, () => {
      const index = requests.indexOf(request);
      requests.splice(index, 1);
      const next = requests[0];
      if (index === 0 && next !== undefined) this.#sender.send(next);
    });
    if (requests.push(request) === 1) this.#sender.send(request);
    this.open();
  }

  /** Asks the engine for an eviction, whatever else is asked for the task. */
  evict({ evictions }: DurableLog, request: Request): void {
    this.#take(request, () => evictions.splice(evictions.indexOf(request), 1));
    evictions.push(request);
    this.#sender.send(request);
    this.open();
  }

  /** Tells the engine what needs no answer. */
  tell(message: Message): void {
    this.#sender.tell(message);
    this.open();
  }

  /** Opens the stream unless it is open, being opened, or waiting to be opened again. */
  open(): void {
    this.#running ??= this.#run();
  }

  /** Why nothing can be asked any more. */
  get closed(): unknown {
    return this.#closed ?? (this.#root.signal.aborted ? this.#root.signal.reason : undefined);
  }

  /** Ends the stream; whoever waits, and whoever will, gets `closed`. Idempotent. */
  async close(): Promise<void> {
    this.#closed ??= new StreamError("closed", "The durable session was closed");
    this.#endAll(this.#closed);
    this.#stop?.();
    await this.#running;
  }

  #take(request: Request, leave: () => void): void {
    if (this.#wasLive || this.#isIn) request.tries = inside;
    request.onSettled = () => {
      this.#sender.drop(request);
      leave();
    };
  }

  /** Runs the stream until nobody needs it; never rejects: an error is for those who wait. */
  async #run(): Promise<void> {
    const policy = this.#root.policy(this.#entry);
    const life = linked(policy.signal);
    this.#stop = life.abort;
    try {
      const responses = reconnect<DurableTaskResponse>((attempt) => {
        this.#isIn = false;
        for (const log of this.ledger.logs()) log.reopen();
        return this.#root.stream(V1Dispatcher.method.durableTask, this.#sender.open(attempt.signal), attempt);
      }, {
        ...policy,
        priority: 1,
        signal: life.signal,
        setupAttempts: undefined,
        judge: (verdict, ending) => this.#judge(policy, verdict, ending),
        onEnd: () => (this.ledger.size > 0 ? "transient" : "end"),
        onIn: () => this.#letIn(),
        onStatus: (status) => {
          if (status.state === "live") this.#wasLive = true;
          policy.onStatus?.(status);
        },
      });
      for await (const response of responses) this.ledger.take(response);
    } catch (error) {
      if (policy.signal.aborted) this.#endAll(policy.signal.reason);
      else if (!life.signal.aborted) this.#dismissAll(error);
    } finally {
      life.abort();
      this.#sender.close();
      this.#stop = undefined;
      this.#running = undefined;
      // Whoever came while the stream was ending was carried by nothing.
      if (this.closed === undefined && this.#isNeeded()) this.open();
    }
  }

  #letIn(): void {
    this.#isIn = true;
    for (const request of this.#requests()) request.tries = inside;
  }

  /** Every ending comes by here, before anything else does. */
  #judge(policy: OwnPolicy, verdict: Verdict, ending: Ending): Verdict {
    for (const request of this.#sender.close()) {
      const text = `the stream ended before the answer to ${request.kind} came`;
      this.#lose(request, new DurableError("lost", text, request.of, { cause: ending.error }));
    }
    const word = policy.judge(verdict, ending);
    if (word !== "transient" && word !== "suspect" && word !== "doubt") return word;
    this.#countTry(policy.setupAttempts ?? Infinity, ending.error);
    return this.ledger.size > 0 ? word : "end";
  }

  /** Nobody knows whether the engine took it, so nothing that comes behind it can be asked. */
  #lose(request: Request, error: DurableError): void {
    if (request.kind !== "evictInvocation") this.ledger.find(named(request.of))?.break(error);
    request.fail(error);
  }

  #countTry(attempts: number, cause: unknown): void {
    // The last one first: the end of one request is the beginning of the next.
    for (const request of this.#requests().toReversed()) {
      if (request.sent || ++request.tries < attempts) continue;
      request.fail(new StreamError("unreachable", `Not let in after ${attempts} attempts`, { attempts, cause }));
    }
  }

  /** The questions about what is waited for; `all` are those of a new stream. */
  #questions(all: boolean): Message[] {
    const logs = [...this.ledger.logs()].filter((log) => all || log.isWaiting);
    const waiting = logs.flatMap((log) => log.listed());
    const questions: Message[] = [];
    for (let at = 0; at < waiting.length; at += questionSize) {
      const waitingEntries = waiting.slice(at, at + questionSize);
      questions.push({ case: "workerStatus", value: { workerId: this.#workerId, waitingEntries } });
    }
    return questions;
  }

  #requests(): Request[] {
    return [...this.ledger.logs()].flatMap(({ evictions, requests }) => [...evictions, ...requests]);
  }

  #isNeeded(): boolean {
    return [...this.ledger.logs()].some((log) => log.requests.length + log.evictions.length + log.awaited > 0);
  }

  #endAll(error: unknown): void {
    for (const log of [...this.ledger.logs()]) this.ledger.end(log, error);
  }

  #dismissAll(error: unknown): void {
    for (const log of this.ledger.logs()) log.dismiss(error);
  }
}
