import type { DurableTaskRequest } from "../../gen/v1/dispatcher_pb.ts";
import type { Clock } from "../streams/clock.ts";
import { after } from "../streams/clock.ts";
import { Outbox } from "../streams/outbox.ts";
import type { DurableError } from "./durable-errors.ts";
import type { Message, Request } from "./durable-request.ts";
import { wire } from "./durable-request.ts";

/** How often the engine is asked about what is waited for, in milliseconds. */
const statusMs = 1000;
/** For how long an unanswered message is told again on the next stream, in milliseconds: a wire may be dead so long. */
const doubtMs = 30_000;

/** What the sending side needs of its owner. */
export interface SenderOptions {
  readonly clock: Clock;
  readonly workerId: string;
  /** The questions about what is waited for; `all` asks whether or not something still is. */
  readonly status: (all: boolean) => readonly Message[];
  /** No answer to a request came in time. */
  readonly onLate: (request: Request, error: DurableError) => void;
}

/**
 * The request side of DurableTask streams, one after another. Each begins with the worker's name, then asks about what
 * is waited for, then sends what no stream has taken yet; what one has taken is never sent again.
 */
export class Sender {
  readonly #options: SenderOptions;
  /** Requests that no stream has taken. */
  #queue: Request[] = [];
  /** Requests that wait for their answer on the current stream. */
  readonly #sent = new Set<Request>();
  /** Messages that get no answer, and do no harm twice. */
  #told: { readonly message: DurableTaskRequest; atMs: number }[] = [];
  #outbox: Outbox<DurableTaskRequest> | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** Sends a request, now or on the next stream. */
  send(request: Request): void {
    if (this.#outbox?.replayed) this.#outbox.push(this.#depart(request));
    else this.#queue.push(request);
  }

  /** Sends a message that gets no answer: on the next stream once more, if this one ends soon. */
  tell(message: Message): void {
    const told = { message: wire(message), atMs: this.#options.clock.now() };
    this.#told.push(told);
    if (this.#outbox?.replayed) this.#outbox.push(told.message);
  }

  /** The request was settled. */
  drop(request: Request): void {
    this.#sent.delete(request);
    const index = this.#queue.indexOf(request);
    if (index >= 0) this.#queue.splice(index, 1);
  }

  /** A new stream. */
  open(signal: AbortSignal): Outbox<DurableTaskRequest> {
    const outbox = this.#outbox = new Outbox(this.#replay(), signal);
    const { clock } = this.#options;
    const tick = (): void => {
      // Not into a queue that waits.
      if (outbox.idle) { for (const message of this.#options.status(false)) outbox.push(wire(message)); }
      if (outbox.replayed) this.#forget();
      after(clock, statusMs, signal, tick);
    };
    after(clock, statusMs, signal, tick);
    return outbox;
  }

  /** The stream has ended: what it has not taken waits for the next, and what is left is returned as lost. */
  close(): Request[] {
    const unsent = new Set(this.#outbox?.unsent());
    this.#outbox = undefined;
    const back = [...this.#sent].filter(({ message }) => unsent.has(message));
    for (const request of back) {
      this.#sent.delete(request);
      request.giveBack();
    }
    this.#queue = [...back, ...this.#queue];
    const lost = [...this.#sent];
    this.#sent.clear();
    return lost;
  }

  *#replay(): Generator<DurableTaskRequest> {
    const { status, workerId } = this.#options;
    yield wire({ case: "registerWorker", value: { workerId } });
    for (const message of status(true)) yield wire(message);
    for (let next = 0;;) {
      const told = this.#told[next];
      if (told !== undefined) {
        next++;
        told.atMs = this.#options.clock.now();
        yield told.message;
        continue;
      }
      const request = this.#queue.shift();
      if (request === undefined) return;
      yield this.#depart(request);
    }
  }

  #depart(request: Request): DurableTaskRequest {
    const { clock, onLate } = this.#options;
    this.#sent.add(request);
    request.depart(clock, (error) => onLate(request, error));
    return request.message;
  }

  #forget(): void {
    const since = this.#options.clock.now() - doubtMs;
    this.#told = this.#told.filter(({ atMs }) => atMs >= since);
  }
}
