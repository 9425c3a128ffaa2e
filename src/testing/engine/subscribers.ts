import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import {
  ResourceEventType,
  ResourceType,
  type SubscribeToWorkflowEventsRequest,
  type WorkflowEvent,
  WorkflowEventSchema,
} from "../../proto.ts";
import { onAbort } from "../../streams/signal.ts";
import type { Bulletin } from "./bulletin.ts";
import { callKey } from "./call.ts";
import { type Core, delayed } from "./core.ts";
import { Feed } from "./feed.ts";
import { isUuid } from "./ids.ts";
import type { News } from "./news.ts";
import { Sequence } from "./sequence.ts";
import type { Run } from "./state.ts";

const looks = 10;

/** Tells what happens in one run, or in all runs with a piece of metadata, from now on; nothing is repeated. */
export async function* subscribeToWorkflowEvents(
  core: Core,
  bulletin: Bulletin,
  request: SubscribeToWorkflowEventsRequest,
  context: HandlerContext,
): AsyncGenerator<WorkflowEvent> {
  const { workflowRunId, additionalMetaKey: key, additionalMetaValue: value } = request;
  const seen = core.seen.subscribed("Dispatcher/SubscribeToWorkflowEvents");
  if (workflowRunId !== undefined) {
    seen.push(workflowRunId);
    if (!isUuid(workflowRunId)) {
      throw new ConnectError(`invalid workflow run id: ${workflowRunId}`, Code.InvalidArgument);
    }
    const run = await reported(core, workflowRunId.toLowerCase(), context);
    if (!run.finished) yield* deliver(core, bulletin, context.signal, (post) => ofRun(core, run, post));
  } else if (key !== undefined && value !== undefined) {
    seen.push(`${key}:${value}`);
    yield* deliver(core, bulletin, context.signal, (post) => withMetadata(key, value, post));
  } else {
    throw new ConnectError("either a run id or key and value of metadata must be given", Code.InvalidArgument);
  }
}

/** Waits until the reporting side knows the run. */
async function reported(core: Core, id: string, { signal, values }: HandlerContext): Promise<Run> {
  const call = values.get(callKey);
  if (call !== undefined) call.drainError = new ConnectError("request was canceled", Code.Canceled);
  for (let look = 0; look < looks; look++) {
    const run = core.state.runs.get(id);
    if (run !== undefined && core.clock.now() >= run.startedMs + core.timing.reportMs) {
      if (call !== undefined) call.drainError = undefined;
      return run;
    }
    await core.clock.sleep(core.timing.eventPollMs, signal, { ref: false });
  }
  throw new ConnectError(`workflow run ${id} not found`, Code.NotFound);
}

/** Sends one event; the stream ends OK behind one that hangs up. */
type Post = (event: WorkflowEvent) => void;

/** What one stream makes of the news. */
interface Reader {
  wants(run: Run): boolean;
  read(event: WorkflowEvent): void;
  close(): void;
}

async function* deliver(
  core: Core,
  bulletin: Bulletin,
  signal: AbortSignal,
  readWith: (post: Post) => Reader,
): AsyncGenerator<WorkflowEvent> {
  const feed = new Feed<WorkflowEvent>();
  let failure: ConnectError | undefined;
  const reader = readWith((event) => {
    const sent = delayed(core, core.faults.sendDelayMs).then(() => feed.push(event));
    if (event.hangup) void sent.then(() => feed.close());
  });
  const unlisten = bulletin.listen(({ event, garbled, run }: News) => {
    if (failure !== undefined || !reader.wants(run)) return;
    if (!garbled) return reader.read(event);
    failure = new ConnectError("grpc: error while marshaling: string field contains invalid UTF-8", Code.Internal);
    void feed.idle().then(() => feed.close());
  });
  const leave = onAbort(signal, () => feed.close());
  try {
    yield* feed;
  } finally {
    leave();
    unlisten();
    reader.close();
  }
  if (failure !== undefined) throw failure;
}

/** One run: chunks in order of their indices, and a hangup whenever the run looks ended. */
function ofRun(core: Core, run: Run, post: Post): Reader {
  const sequence = new Sequence(core, post);
  return {
    wants: (other) => other === run,
    read(event) {
      if (event.resourceType === ResourceType.WORKFLOW_RUN) post(hangingUp(event));
      else sequence.take(event);
    },
    close: () => sequence.close(),
  };
}

/** All runs with a text in their metadata: a hangup when every run that was heard of has completed. */
function withMetadata(key: string, value: string, post: Post): Reader {
  const active = new Set<string>();
  return {
    wants: (run) => run.metadata[key] === value,
    read(event) {
      const { eventType, resourceType, workflowRunId } = event;
      // A run that failed or was cancelled stays: the real engine does not take it out either.
      const done = resourceType === ResourceType.WORKFLOW_RUN && eventType === ResourceEventType.COMPLETED;
      if (done) active.delete(workflowRunId);
      else active.add(workflowRunId);
      post(active.size === 0 ? hangingUp(event) : event);
    },
    close() {},
  };
}

function hangingUp(event: WorkflowEvent): WorkflowEvent {
  return create(WorkflowEventSchema, { ...event, hangup: true });
}
