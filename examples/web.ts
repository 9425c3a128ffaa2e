/** Streams what a task writes to a web response: `node examples/web.ts`, or the same with Deno or Bun. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import type { Client } from "../src/mod.ts";
import { task } from "../src/mod.ts";
import { run } from "./run.ts";

/** On every runtime, and not yet in the types of the web. */
const Readables = ReadableStream as unknown as {
  readonly from: (texts: AsyncIterable<string>) => ReadableStream<string>;
};

/** Tells a story word by word. */
export const story = task({
  name: "story",
  run: async ({ about }: { about: string }, { putStream }) => {
    for (const word of `Once upon a time there was ${about} and it grew back`.split(" ")) await putStream(`${word} `);
  },
});

/** Answers each request with the chunks of a run of its own; a reader that leaves ends the stream. */
export function handler(client: Client): (request: Request) => Promise<Response> {
  return async (request) => {
    const about = new URL(request.url).searchParams.get("about") ?? "a hazel";
    const { id } = await client.runs.trigger(story, { about }, { signal: request.signal });
    // The engine keeps no chunks: what was written before we listened is a gap, and so is what a cut took.
    const chunks = client.runs.chunks(id, { signal: request.signal, onGap: () => console.log("a gap") });
    const body = Readables.from(chunks).pipeThrough(new TextEncoderStream());
    return new Response(body, { headers: { "content-type": "text/plain; charset=utf-8" } });
  };
}

export async function main(client: Client, signal: AbortSignal): Promise<void> {
  const worker = client.worker("stories", { tasks: [story] });
  const working = worker.run({ signal });
  await Promise.race([worker.ready(), working]);
  const server = await serve(handler(client));
  try {
    const response = await fetch(`${server.url}/?about=an+oak`, { signal });
    console.log((await response.text()).trim());
  } finally {
    await server.close();
    await worker.stop();
    await working;
  }
}

type Handler = (request: Request) => Promise<Response>;
interface Server {
  readonly url: string;
  close(): Promise<void>;
}

/** What the runtimes offer beside `node:http`. */
interface Runtimes {
  readonly Bun?: { serve(options: object): { readonly port: number; stop(force: boolean): Promise<void> } };
  readonly Deno?: { serve(options: object, fetch: Handler): { readonly addr: AddressInfo; shutdown(): Promise<void> } };
}

async function serve(fetch: Handler): Promise<Server> {
  const { Bun, Deno } = globalThis as Runtimes;
  if (Bun !== undefined) {
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
    return { url: `http://127.0.0.1:${server.port}`, close: () => server.stop(true) };
  }
  if (Deno !== undefined) {
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, fetch);
    return { url: `http://127.0.0.1:${server.addr.port}`, close: () => server.shutdown() };
  }
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { body, headers, status } = await fetch(new Request(`http://127.0.0.1${request.url}`));
    response.writeHead(status, Object.fromEntries(headers));
    if (body === null) response.end();
    else {for await (const chunk of Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0])) {
        response.write(chunk);
      }}
    response.end();
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // It listens on TCP.
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

if (import.meta.main) await run(main);
