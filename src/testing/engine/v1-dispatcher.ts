import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { DurableTaskRequest, DurableTaskResponse, V1Dispatcher } from "../../proto.ts";
import { onAbort } from "../../streams/signal.ts";
import type { Core } from "./core.ts";
import type { Durable } from "./durable.ts";
import { DurableRequests } from "./durable-requests.ts";
import { DurableStream } from "./durable-stream.ts";
import type { Runs } from "./runs.ts";
import { Signals } from "./signals.ts";

/** Both generations of durable execution. */
export function v1Dispatcher(core: Core, runs: Runs, durable: Durable): Partial<ServiceImpl<typeof V1Dispatcher>> {
  const signals = new Signals(core);

  return {
    registerDurableEvent(request) {
      signals.register(request);
      return {};
    },

    listenForDurableEvent: (requests, context) => signals.listen(requests, context),

    durableTask: (requests, context) => durableTask(core, runs, durable, requests, context),
  };
}

async function* durableTask(
  core: Core,
  runs: Runs,
  durable: Durable,
  requests: AsyncIterable<DurableTaskRequest>,
  { signal }: HandlerContext,
): AsyncGenerator<DurableTaskResponse> {
  const stream = new DurableStream(core, durable);
  const leave = onAbort(signal, () => stream.close());
  void read(core, requests, new DurableRequests(core, runs, durable, stream)).finally(() => stream.close());
  try {
    yield* stream.feed;
  } finally {
    leave();
    stream.close();
  }
}

/** Reads until the client's side is closed, which ends the stream. */
async function read(core: Core, requests: AsyncIterable<DurableTaskRequest>, receiver: DurableRequests): Promise<void> {
  const seen = core.seen.durableStream();
  try {
    for await (const request of requests) {
      seen(request);
      receiver.take(request);
    }
  } catch {
    // The stream broke: it ends for the other side too, and nobody is left to tell.
  }
}
