import type { WorkflowEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import { ResourceEventType, ResourceType } from "../../gen/dispatcher/dispatcher_pb.ts";
import { RunStatus } from "../../gen/v1/workflows_pb.ts";
import { uuid } from "../ids.ts";
import type { Root } from "../root.ts";
import { redact, show } from "../show.ts";
import { after } from "../streams/clock.ts";
import { linked } from "../streams/signal.ts";
import { LiveStream } from "../streams/stream.ts";
import type { RunEvent } from "./event.ts";
import { sizeOf, toRunEvent, toTaskEvent } from "./event.ts";
import type { Matter } from "./feed.ts";
import { Feed } from "./feed.ts";
import { inquire } from "./inquiry.ts";
import { Order } from "./order.ts";
import { fromDetails } from "./outcome.ts";

/** What may wait for the loop before reading pauses. */
const maxMessages = 1000;
const maxBytes = 4 * 1024 * 1024;
/** How often a run's details are asked for while its events are listened to, in milliseconds. */
const probeMs = 30_000;
/** How long they are waited for, in milliseconds: meanwhile nothing is listened to. */
const askMs = 5000;

/** How events are listened to. */
export interface EventsOptions {
  /** Ends the stream; the loop throws the signal's own reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The events of one run. @throws TypeError at once, when the id is no UUID */
export function runEvents(root: Root, runId: string, { signal }: EventsOptions): LiveStream<RunEvent> {
  return live(root, new OneRun(root, uuid(runId, "run id")), signal);
}

/** The events of all runs with this metadata. @throws TypeError at once, when key or value is no text or empty */
export function metadataEvents(
  root: Root,
  key: string,
  value: string,
  { signal }: EventsOptions,
): LiveStream<RunEvent> {
  return live(root, manyRuns(text(key, "metadata key"), text(value, "metadata value")), signal);
}

function live(root: Root, matter: Matter, signal: AbortSignal | undefined): LiveStream<RunEvent> {
  const feed = new Feed(root, matter);
  return new LiveStream((life) => feed.read(life), { signal, maxMessages, maxBytes, sizeOf, onPaused: feed.pause });
}

/** What the end of a run is called in its details. */
const statuses: Readonly<Partial<Record<ResourceEventType, RunStatus>>> = {
  [ResourceEventType.COMPLETED]: RunStatus.COMPLETED,
  [ResourceEventType.FAILED]: RunStatus.FAILED,
  [ResourceEventType.CANCELLED]: RunStatus.CANCELLED,
};

/** One run: over when its details say so, whatever the engine says on the stream. */
class OneRun implements Matter {
  readonly stream = "events";
  readonly id: string;
  readonly priority = 2;
  readonly request: Matter["request"];
  readonly probeMs: number = probeMs;
  readonly #root: Root;
  readonly #order = new Order();
  #said: RunStatus | undefined;
  #isOver = false;
  #status: RunStatus | undefined;
  #error: Error | undefined;

  constructor(root: Root, id: string) {
    this.#root = root;
    this.id = id;
    this.request = { workflowRunId: id };
  }

  tell(message: WorkflowEvent): readonly RunEvent[] {
    const event = message.resourceType === ResourceType.WORKFLOW_RUN ? undefined : toTaskEvent(message);
    return event === undefined ? [] : this.#order.take(event);
  }

  hangsUp({ eventType, hangup }: WorkflowEvent): boolean {
    if (hangup) this.#said = statuses[eventType];
    return hangup;
  }

  get isAsSaid(): boolean {
    return this.#said === this.#status && (this.#status === RunStatus.CANCELLED || this.#order.isWhole);
  }

  async isOver(signal: AbortSignal): Promise<boolean | undefined> {
    const { channel, clock, config } = this.#root;
    if (this.#isOver) return true;
    // Nobody would dial for an answer but the stream that waits for it.
    if (channel.connection === undefined && config.transport === undefined) return undefined;
    const life = linked(signal);
    after(clock, askMs, life.signal, () => life.abort());
    try {
      const details = await inquire(this.#root, this.id, life.signal);
      if (!details.done) return false;
      this.#status = details.status;
      const outcome = fromDetails(this.id, details);
      if (outcome !== undefined && "error" in outcome) this.#error = outcome.error;
    } catch (error) {
      // An output that is no JSON is the output of a run that completed; else nobody answered, and the stream goes on.
      if (!(error instanceof SyntaxError)) return undefined;
    } finally {
      life.abort();
    }
    return this.#isOver = true;
  }

  lost(): void {
    this.#order.reopened();
  }

  end(): void {
    if (this.#error !== undefined) throw this.#error;
  }
}

/** Any number of runs: never over, whatever the engine takes for the last of them. */
function manyRuns(additionalMetaKey: string, additionalMetaValue: string): Matter {
  return {
    stream: "metadata",
    id: redact(`${additionalMetaKey}=${additionalMetaValue}`),
    priority: 3,
    request: { additionalMetaKey, additionalMetaValue },
    probeMs: undefined,
    tell: (message) => {
      const event = toRunEvent(message);
      return event === undefined ? [] : [event];
    },
    hangsUp: () => false,
    isAsSaid: false,
    isOver: () => false,
    lost: () => {},
    end: () => {},
  };
}

function text(value: unknown, what: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw new TypeError(`${what} must be a text that is not empty, got ${show(value)}`);
}
