import { Code, ConnectError } from "@connectrpc/connect";
import type { Attempt } from "../../src/streams/mod.ts";

/** A peer moved by hand: what becomes of each attempt is said by the test, when it wants. */
export class Peer<M, R> {
  /** The attempts in the order in which they were opened. */
  readonly wires: Wire<M, R>[] = [];
  /** How many attempts were not let go of. */
  open = 0;

  /** Opens an attempt; `pulling` false leaves the requests alone until the test pulls. */
  exchange(pulling = true): (requests: AsyncIterable<R>, attempt: Attempt<M>) => AsyncIterable<M> {
    return (requests, attempt) => {
      const wire = new Wire<M, R>(requests, attempt);
      this.wires.push(wire);
      this.open++;
      attempt.signal.addEventListener("abort", () => this.open--, { once: true });
      if (pulling) void wire.drain();
      return wire;
    };
  }

  /** The newest attempt. */
  get wire(): Wire<M, R> {
    const wire = this.wires.at(-1);
    if (wire === undefined) throw new Error("nothing was opened");
    return wire;
  }
}

/** One attempt at a peer that is moved by hand. */
export class Wire<M, R> implements AsyncIterable<M> {
  /** What was pulled, in order. */
  readonly sent: R[] = [];
  /** Whether the request side has ended. */
  halfClosed = false;
  readonly attempt: Attempt<M>;
  readonly #requests: AsyncIterator<R>;
  readonly #said: (() => IteratorResult<M>)[] = [];
  #wake: () => void = () => {};

  constructor(requests: AsyncIterable<R>, attempt: Attempt<M>) {
    this.attempt = attempt;
    this.#requests = requests[Symbol.asyncIterator]();
  }

  /** Pulls one request, as a transport that has room for one more. */
  async pull(): Promise<void> {
    const read = await this.#requests.next();
    if (read.done === true) this.halfClosed = true;
    else this.sent.push(read.value);
  }

  /** Pulls whatever comes. */
  async drain(): Promise<void> {
    while (!this.halfClosed) await this.pull();
  }

  headers(): void {
    this.attempt.live();
  }

  say(message: M): void {
    this.#do(() => ({ done: false, value: message }));
  }

  hangUp(): void {
    this.#do(() => ({ done: true, value: undefined }));
  }

  cut(error: unknown = new ConnectError("the wire was cut", Code.Aborted)): void {
    this.#do(() => {
      throw error;
    });
  }

  /** Ends with a status of the peer's own. */
  status(code: Code): void {
    this.cut(new ConnectError("the peer said so", code, { "grpc-status": String(code) }));
  }

  [Symbol.asyncIterator](): AsyncIterator<M> {
    return {
      next: async () => {
        for (;;) {
          const next = this.#said.shift();
          if (next !== undefined) return next();
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      },
    };
  }

  #do(step: () => IteratorResult<M>): void {
    this.#said.push(step);
    this.#wake();
  }
}
