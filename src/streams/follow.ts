import type { DescMessage, DescMethodStreaming, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { StreamResponse, Transport } from "@connectrpc/connect";
import type { Attempt } from "./attempt.ts";
import type { Polled } from "./pushed.ts";

/**
 * A streaming call by the transport itself, made when it is first read: what a generated client does, without the
 * generators that it puts around every message.
 */
export function follow<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: DescMethodStreaming<I, O>,
  input: AsyncIterable<MessageInitShape<I>>,
  { live, signal }: Pick<Attempt<MessageShape<O>>, "live" | "signal">,
): AsyncIterable<MessageShape<O>> {
  const open = async () => {
    const response = await transport.stream(method, signal, undefined, undefined, input);
    live(response.header);
    return response;
  };
  return { [Symbol.asyncIterator]: () => new Answer(open) };
}

/** One message, as the request of a server stream. */
export async function* only<T>(message: T): AsyncGenerator<T, void> {
  yield message;
}

/** The messages of a response, once it has begun. */
class Answer<O extends DescMessage> implements Polled<MessageShape<O>> {
  readonly #open: () => Promise<StreamResponse<DescMessage, O>>;
  #messages: Polled<MessageShape<O>> | undefined;

  constructor(open: () => Promise<StreamResponse<DescMessage, O>>) {
    this.#open = open;
  }

  next(): Promise<IteratorResult<MessageShape<O>>> {
    return this.#messages?.next() ?? this.#begin();
  }

  poll(): IteratorYieldResult<MessageShape<O>> | undefined {
    return this.#messages?.poll?.();
  }

  async #begin(): Promise<IteratorResult<MessageShape<O>>> {
    const { message } = await this.#open();
    this.#messages = message[Symbol.asyncIterator]();
    return await this.#messages.next();
  }
}
