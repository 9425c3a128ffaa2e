/** Follows a service that is not Hatchet's, through any number of cuts: `node examples/streams.ts`. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createConnectTransport } from "@connectrpc/connect-node";
import type { Client } from "../src/mod.ts";
import { fullJitter, reconnect } from "../src/streams/mod.ts";
import type { Tick } from "../test/fixtures/counter/gen/counter_pb.ts";
import { Counter } from "../test/fixtures/counter/gen/counter_pb.ts";
import { run } from "./run.ts";

export async function main(_client: Client, signal: AbortSignal): Promise<void> {
  const server = await serve();
  const counter = createClient(Counter, createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" }));

  // The last message goes along: a service with a cursor resumes behind it, without a gap and without a repetition.
  const ticks = reconnect<Tick>(({ signal, last }) => counter.count({ after: last?.offset ?? 0 }, { signal }), {
    signal,
    backoff: fullJitter({ baseMs: 20, capMs: 1000 }),
    onStatus: ({ state }) => {
      if (state === "waiting") console.log("cut");
    },
  });
  try {
    for await (const { offset } of ticks) {
      console.log(offset);
      if (offset === 8) break; // Ends the stream.
    }
  } finally {
    await server.close();
  }
}

/** A counter that ends each call after three numbers. */
async function serve(): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer(connectNodeAdapter({
    routes: ({ service }) =>
      service(Counter, {
        async *count({ after }) {
          for (let offset = after + 1; offset <= after + 3; offset++) yield { offset };
        },
      }),
  }));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // It listens on TCP.
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

if (import.meta.main) await run(main);
