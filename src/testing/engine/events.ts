import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  type EventsService,
  type PutStreamEventRequest,
  ResourceEventType,
  ResourceType,
  type WorkflowEvent,
  WorkflowEventSchema,
} from "../../proto.ts";
import type { Bulletin } from "./bulletin.ts";
import type { Core } from "./core.ts";
import { isUuid } from "./ids.ts";
import type { Task } from "./state.ts";

/** What is told to the engine from outside and from within tasks. */
export function events(core: Core, bulletin: Bulletin): Partial<ServiceImpl<typeof EventsService>> {
  return {
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
  if (task === undefined) throw new ConnectError("task not found", Code.NotFound);
  return task;
}
