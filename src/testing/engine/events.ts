import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  type EventSchema,
  type EventsService,
  type PushEventRequest,
  type PutStreamEventRequest,
  ResourceEventType,
  ResourceType,
  type WorkflowEvent,
  WorkflowEventSchema,
} from "../../proto.ts";
import type { Bulletin } from "./bulletin.ts";
import type { Core } from "./core.ts";
import { collision } from "./idempotency.ts";
import { isUuid, uuid } from "./ids.ts";
import { objectIn } from "./json.ts";
import { metadataIn, type Runs } from "./runs.ts";
import type { Task } from "./state.ts";
import { checkJson, checkPriority } from "./triggers.ts";

const most = 1000;

/** What is told to the engine from outside and from within tasks. */
export function events(core: Core, runs: Runs, bulletin: Bulletin): Partial<ServiceImpl<typeof EventsService>> {
  return {
    push(request) {
      check(request);
      return push(core, runs, request);
    },

    bulkPush({ events: requests }) {
      if (requests.length < 1 || requests.length > most) throw invalid(`Events must be 1 to ${most}`);
      for (const request of requests) {
        if (request.key === "") throw invalid("Key is required");
        check(request);
      }
      return { events: requests.map((request) => push(core, runs, request)) };
    },

    replaySingleEvent() {
      throw new ConnectError("ReplaySingleEvent is not implemented", Code.Unimplemented);
    },

    putLog({ level, message, metadata, taskRetryCount, taskRunExternalId }) {
      const task = taskOf(core, taskRunExternalId);
      if (metadata !== "" && objectIn(metadata) === undefined) throw invalid("Metadata must be a JSON object");
      if (message === "") throw invalid("Message is required");
      if (level !== undefined && !levels.includes(level)) throw invalid(`Level must be one of ${levels.join(" ")}`);
      core.seen.log(task, message, level, taskRetryCount);
      return {};
    },

    putStreamEvent(request) {
      const task = taskOf(core, request.taskRunExternalId);
      const text = utf8(request.message);
      core.seen.chunk(task, request.eventIndex, text);
      if (core.faults.take("loseStreamEvents")) return {};
      const news = { run: task.run, event: chunk(task, request, text ?? ""), garbled: text === undefined };
      bulletin.publish(news);
      if (core.faults.take("duplicateStreamEvents")) bulletin.publish(news);
      return {};
    },
  };
}

/** How bad a line of a log may be. */
const levels: readonly string[] = ["DEBUG", "INFO", "WARN", "ERROR"];

function check({ additionalMetadata, payload, priority }: PushEventRequest): void {
  checkJson("Payload", payload);
  checkJson("AdditionalMetadata", additionalMetadata);
  checkPriority(priority);
}

/** Answers with the event; what it starts and wakes comes after the answer. */
function push(core: Core, runs: Runs, request: PushEventRequest): MessageInitShape<typeof EventSchema> {
  const { additionalMetadata, key, payload, priority, scope } = request;
  // In whole milliseconds, as the answer tells it: who looks back from there finds the event.
  const atMs = Math.round(core.clock.now());
  const event = { id: uuid(core.random), key, payload: objectIn(payload), scope, atMs };
  core.userEvents.keep(event);
  core.agenda.in(core.timing.assignMs, () => {
    const trigger = { input: payload, metadata: metadataIn(additionalMetadata ?? ""), priority, parent: undefined };
    for (const workflow of core.state.workflows.values()) {
      if (!workflow.eventTriggers.includes(key) || collision(core, workflow, trigger) !== undefined) continue;
      core.seen.triggers++;
      const told = { ...trigger.metadata, hatchet__event_id: event.id, hatchet__event_key: key };
      runs.start(workflow, { ...trigger, metadata: told, event: { id: event.id, key } });
    }
    core.userEvents.tell(event);
  });
  return {
    tenantId: core.tenantId,
    eventId: event.id,
    key,
    payload,
    eventTimestamp: timestampFromMs(atMs),
    ...(additionalMetadata === undefined ? {} : { additionalMetadata }),
  };
}

function chunk(task: Task, { createdAt, eventIndex }: PutStreamEventRequest, text: string): WorkflowEvent {
  return create(WorkflowEventSchema, {
    workflowRunId: task.run.id,
    resourceType: ResourceType.STEP_RUN,
    eventType: ResourceEventType.STREAM,
    resourceId: task.id,
    eventPayload: text,
    ...(createdAt === undefined ? {} : { eventTimestamp: createdAt }),
    ...(eventIndex === undefined ? {} : { eventIndex }),
  });
}

/** The text, or undefined for bytes that are none: they are taken, and break the streams they go out on. */
function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined; // That is the answer.
  }
}

function taskOf(core: Core, id: string): Task {
  if (!isUuid(id)) throw new ConnectError(`invalid task run external id: ${id}`, Code.InvalidArgument);
  const task = core.state.tasks.get(id.toLowerCase());
  if (task === undefined) throw new ConnectError(`task run not found: ${id}`, Code.NotFound);
  return task;
}

function invalid(what: string): ConnectError {
  return new ConnectError(`Invalid request: ${what}`, Code.InvalidArgument);
}
