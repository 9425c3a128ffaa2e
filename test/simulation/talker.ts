import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ResourceEventType, ResourceType, WorkflowEventSchema } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { Clock } from "../../src/streams/clock.ts";
import { Agenda } from "../../src/testing/engine/agenda.ts";
import { Sequence } from "../../src/testing/engine/sequence.ts";
import { defaultTiming } from "../../src/testing/engine/timing.ts";
import type { Run } from "./runs.ts";
import type { ServerStream } from "./server-stream.ts";
import { Engine } from "./engine.ts";

/** As a real engine has them. */
const timing = { ...defaultTiming, gapMs: 5000, forgetMs: 2000 };

/** A model engine that tells what happens in runs: once, to whoever is subscribed at the moment. */
export class TalkingEngine extends Engine {
  /** When each run was first subscribed to. */
  readonly subscribedAt = new Map<string, number>();
  readonly #clock: Clock;
  readonly #readers = new Map<ServerStream, { readonly runId: string; readonly sequence: Sequence }>();

  constructor(clock: Clock, random: () => number) {
    super(clock, random);
    this.#clock = clock;
  }

  override request(stream: ServerStream, message: { workflowRunId: string; workerId: string }): void {
    if (stream.method !== "SubscribeToWorkflowEvents") return super.request(stream, message);
    const run = this.runs.get(message.workflowRunId);
    if (run === undefined) {
      return stream.finish(new ConnectError("run not found", Code.NotFound, { "grpc-status": String(Code.NotFound) }));
    }
    if (run.state === "done") return stream.finish();
    if (!this.subscribedAt.has(run.id)) this.subscribedAt.set(run.id, this.#clock.now());
    const sequence = new Sequence({ agenda: new Agenda(this.#clock), timing }, (event) => stream.send(event));
    this.#readers.set(stream, { runId: run.id, sequence });
  }

  override closed(stream: ServerStream): void {
    this.#readers.get(stream)?.sequence.close();
    this.#readers.delete(stream);
    super.closed(stream);
  }

  /** A task of the run streams a text. */
  chunk(run: Run, text: string, index: number | undefined): void {
    const eventIndex = index === undefined ? {} : { eventIndex: BigInt(index) };
    this.#tell(run, ResourceEventType.STREAM, text, eventIndex);
  }

  /** An attempt has failed and will be tried again: the engine hangs up all the same. */
  falter(run: Run): void {
    this.#tell(run, ResourceEventType.FAILED, "it broke");
    this.#hangUp(run, ResourceEventType.FAILED);
  }

  finish(run: Run, cancelled: boolean): void {
    Object.assign(run, { state: "done", cancelled, output: "{}" });
    if (!cancelled) this.#tell(run, ResourceEventType.COMPLETED, "{}");
    this.#hangUp(run, cancelled ? ResourceEventType.CANCELLED : ResourceEventType.COMPLETED);
  }

  #tell(
    run: Run,
    eventType: ResourceEventType,
    eventPayload: string,
    more: { readonly eventIndex?: bigint } = {},
  ): void {
    for (const { runId, sequence } of this.#readers.values()) {
      if (runId !== run.id) continue;
      const addressed = { workflowRunId: run.id, resourceId: run.id, resourceType: ResourceType.STEP_RUN };
      sequence.take(create(WorkflowEventSchema, { ...addressed, eventType, eventPayload, ...more }));
    }
  }

  #hangUp(run: Run, eventType: ResourceEventType): void {
    for (const [stream, { runId }] of [...this.#readers]) {
      if (runId !== run.id) continue;
      const addressed = { workflowRunId: run.id, resourceId: run.id, resourceType: ResourceType.WORKFLOW_RUN };
      stream.send(create(WorkflowEventSchema, { ...addressed, eventType, hangup: true }));
      stream.finish();
    }
  }
}
