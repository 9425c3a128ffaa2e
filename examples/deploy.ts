/**
 * A handler that lives no longer than its request, as on Deno Deploy, where an application stops when no requests come:
 * it triggers a run and awaits it. The worker is elsewhere, on a host that is always on.
 */
import type { Client, ClientOptions } from "../src/mod.ts";
import { createClient, RunFailedError, StreamError } from "../src/mod.ts";
import { run } from "./run.ts";
import { greet, main as worker } from "./worker.ts";

/** A client per request: it opens with the first call, and is gone before the answer is. */
export async function handle(request: Request, options?: ClientOptions): Promise<Response> {
  const hatchet = createClient(options);
  try {
    const name = new URL(request.url).searchParams.get("name") ?? "";
    return Response.json(await hatchet.runs.run(greet, { name }, { signal: request.signal }));
  } catch (error) {
    if (error instanceof RunFailedError) return Response.json({ error: error.message }, { status: 422 });
    if (error instanceof StreamError) return Response.json({ error: error.code }, { status: 503 });
    throw error;
  } finally {
    await hatchet.close();
  }
}

/** What Deno Deploy and Bun call. */
export default { fetch: (request: Request): Promise<Response> => handle(request) };

export async function main(_client: Client, _signal: AbortSignal, options?: ClientOptions): Promise<void> {
  const response = await handle(new Request("http://127.0.0.1/?name=Ada"), options);
  console.log(response.status, await response.text());
}

if (import.meta.main) await run(main, worker);
