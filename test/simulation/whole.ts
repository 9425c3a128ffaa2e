import type { DurableTaskRequest, ListenForDurableEventRequest } from "../../gen/v1/dispatcher_pb.ts";
import type { Clock } from "../../src/streams/clock.ts";
import { DurableModel } from "./durable-model.ts";
import type { ServerStream } from "./server-stream.ts";
import { Signals } from "./signals.ts";
import { TalkingEngine } from "./talker.ts";

/** A model engine with everything that a client listens to: actions, results, what runs tell, and durable tasks. */
export class WholeEngine extends TalkingEngine {
  readonly signals: Signals = new Signals();
  readonly durable: DurableModel;

  constructor(clock: Clock, random: () => number, over: AbortSignal) {
    super(clock, random);
    this.durable = new DurableModel(this, clock, random, over);
  }

  override unary(method: string, request: Record<string, unknown>, token: string): unknown {
    const answer = super.unary(method, request, token);
    if (method === "RestoreEvictedTask") this.durable.restore(String(request["taskRunExternalId"]));
    return answer;
  }

  override request(stream: ServerStream, message: { workflowRunId: string; workerId: string }): void {
    switch (stream.method) {
      case "ListenForDurableEvent":
        return this.signals.take(stream, message as unknown as ListenForDurableEventRequest); // The only shape here.
      case "DurableTask":
        return this.durable.take(stream, message as unknown as DurableTaskRequest); // As above.
      default:
        return super.request(stream, message);
    }
  }

  override closed(stream: ServerStream): void {
    this.signals.closed(stream);
    this.durable.closed(stream);
    super.closed(stream);
  }

  protected override tick(now: number): void {
    super.tick(now);
    this.signals.poll();
  }
}
