import type { StreamResponse, UnaryResponse } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";

/** What is known of a call when it is made. */
export interface Seen {
  readonly method: string;
  readonly at: number;
  readonly authorization: string;
}

/** What a call sees of a wire that was lost. */
function lost(): ConnectError {
  return new ConnectError("http/2 stream closed with error code CANCEL (0x8)", Code.Canceled);
}

/** A call under way; a test can cut it. */
export class Call implements Seen {
  readonly method: string;
  readonly at: number;
  readonly authorization: string;
  /** The message that it carried, once it was read. */
  request: object = {};
  over = false;
  /** What the engine ended it with. */
  protected said: unknown;
  readonly ended: Promise<void>;
  readonly #cut: Promise<never>;
  #fail: (error: unknown) => void = () => {};
  #end: () => void = () => {};

  constructor({ at, authorization, method }: Seen) {
    this.method = method;
    this.at = at;
    this.authorization = authorization;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#cut = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#cut.catch(() => {
      // A cut that nobody was there to see.
    });
  }

  /** Loses this call alone, as a reset would. */
  cut(error: unknown = lost()): void {
    this.#fail(error);
    this.end();
  }

  /** The engine's own status; the protocol of Connect, in between, takes that header for its own. */
  refuse(error: unknown): unknown {
    this.said = error;
    return error;
  }

  /** Nobody waits for it any more. */
  end(): void {
    this.over = true;
    this.#end();
  }

  async unary(call: () => Promise<UnaryResponse | StreamResponse>): Promise<UnaryResponse | StreamResponse> {
    try {
      return await this.carry(call());
    } finally {
      this.end();
    }
  }

  /** What the work comes to, unless it is cut. */
  protected async carry<V>(work: Promise<V>): Promise<V> {
    try {
      return await Promise.race([this.#cut, work]);
    } catch (error) {
      const { said } = this;
      if (said instanceof ConnectError && error instanceof ConnectError && said.code === error.code) {
        for (const [key, value] of said.metadata) error.metadata.set(key, value);
      }
      throw error;
    }
  }
}

/** A stream under way, moved by hand. As the engine's, it shows no headers before its first message. */
export class Wire extends Call {
  /** What was sent on it. */
  readonly sent: object[] = [];
  readonly #said: (() => IteratorResult<object>)[] = [];
  #wake: () => void = () => {};

  say(...messages: object[]): void {
    for (const value of messages) this.#do(() => ({ done: false, value }));
  }

  hangUp(): void {
    this.#do(() => ({ done: true, value: undefined }));
  }

  /** Ends with a status of the engine's own. */
  fail(error: unknown): void {
    this.#do(() => {
      throw this.refuse(error);
    });
  }

  /** The engine's side: what the test says, while the requests are read. */
  async *serve(requests: Iterable<object> | AsyncIterable<object>): AsyncGenerator<object, void> {
    void this.#read(requests);
    for (;;) {
      for (let next = this.#said.shift(); next !== undefined; next = this.#said.shift()) {
        const { done, value } = next();
        if (done) return;
        yield value;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The client's side. */
  async stream(call: () => Promise<UnaryResponse | StreamResponse>): Promise<UnaryResponse | StreamResponse> {
    try {
      const response = await this.carry(call());
      if (!response.stream) return response;
      const messages = response.message[Symbol.asyncIterator]();
      const first = await this.carry(messages.next());
      if (first.done) response.header.set("grpc-status", "0");
      return { ...response, message: this.#messages(first, messages) };
    } catch (error) {
      this.end();
      throw error;
    }
  }

  async *#messages<M>(first: IteratorResult<M>, rest: AsyncIterator<M>): AsyncGenerator<M, void> {
    try {
      for (let read = first; !read.done; read = await this.carry(rest.next())) yield read.value;
    } finally {
      this.end();
    }
  }

  async #read(requests: Iterable<object> | AsyncIterable<object>): Promise<void> {
    try {
      for await (const request of requests) this.sent.push(request);
    } catch {
      // The call was cut: what it would have sent is lost.
    }
  }

  #do(step: () => IteratorResult<object>): void {
    this.#said.push(step);
    this.#wake();
  }
}
