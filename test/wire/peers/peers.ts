import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { ConnectError, createClient } from "@connectrpc/connect";
import { judge, originOf } from "../../../src/streams/verdict.ts";
import type { Channel, ChannelOptions } from "../../../src/transport/channel.ts";
import { openChannel } from "../../../src/transport/channel.ts";
import type { Test } from "../../harness.ts";
import { suite } from "../../harness.ts";

/** A suite whose tests are skipped, each with the reason, where something is lacking. */
export function suiteUnless(name: string, lack: string | undefined): Test {
  const test = suite(name);
  if (lack === undefined) return test;
  const hook = Object.assign(() => {}, { each: () => {} });
  return Object.assign((title: string) => test.skip(title, lack), {
    skip: test.skip,
    before: hook,
    after: hook,
    run: () => test.run(),
  });
}

/** A channel to the port that is asked for at every dial, and a client of a service on it. */
export function reach<S extends DescService>(
  service: S,
  port: number | (() => number),
  options: Partial<ChannelOptions> = {},
): { readonly channel: Channel; readonly client: Client<S> } {
  const address = () => Promise.resolve({ host: "127.0.0.1", port: typeof port === "number" ? port : port() });
  const channel = openChannel({ address, ...options });
  return { channel, client: createClient(service, channel.transport) };
}

/** How a call failed, for comparisons: its code and who made it. */
export function failed(error: unknown): readonly [code: number, origin: string] {
  return [error instanceof ConnectError ? error.code : -1, originOf(error)];
}

/** What becomes of a stream that was never live and ends so. */
export function verdictOf(error: unknown): string {
  const ending = { alone: true, error, heard: false, origin: originOf(error), sent: true, wasLive: false };
  return judge(ending, () => "end");
}

/** All that a stream tells until it ends or fails. */
export async function course<T>(
  stream: AsyncIterable<T>,
): Promise<{ readonly heard: readonly T[]; readonly error: unknown }> {
  const heard: T[] = [];
  try {
    for await (const message of stream) heard.push(message);
    return { heard, error: undefined };
  } catch (error) {
    return { heard, error };
  }
}

/** What is said one by one on the request side of a stream. */
export class Words implements AsyncIterable<{ readonly value: string }> {
  readonly #said: (string | undefined)[] = [];
  #wake: () => void = () => {};

  /** Without a value it is the end. */
  say(value?: string): void {
    this.#said.push(value);
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<{ readonly value: string }, void> {
    for (;;) {
      while (this.#said.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
      const value = this.#said.shift();
      if (value === undefined) return;
      yield { value };
    }
  }
}
