import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Event, PushEventRequest } from "../gen/events/events_pb.ts";
import { EventsService, PushEventRequestSchema } from "../gen/events/events_pb.ts";
import { priority as checkPriority } from "./ids.ts";
import { encodeInput } from "./json.ts";
import type { Root } from "./root.ts";
import type { WaitOptions } from "./runs.ts";
import { show } from "./show.ts";

/** How many events go in one call, and how many bytes: the engine takes 1000, and 4 MiB. */
const most = { events: 500, bytes: 3.5 * 2 ** 20 };

/** What goes with an event beside its payload. */
export interface EventOptions {
  /** What goes with the runs that it triggers. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Which of those runs go first, 1 to 3; the higher. */
  readonly priority?: number | undefined;
  /** Only waits and filters of the same scope are told. */
  readonly scope?: string | undefined;
}

/** An event to push. */
export interface NewEvent extends EventOptions {
  readonly key: string;
  readonly payload?: unknown;
}

/** An event that the engine has. */
export interface PushedEvent {
  readonly id: string;
  readonly key: string;
}

/** Tells the engine what happened: it triggers runs, and wakes tasks that wait for it. */
export class Events {
  readonly #root: Root;

  constructor(root: Root) {
    this.#root = root;
  }

  /**
   * Pushes an event. The engine matches it after it has answered.
   *
   * @throws TypeError or RangeError before any I/O; StreamError `unreachable` or `refused`; ConnectError
   */
  async push(key: string, payload?: unknown, options: EventOptions & WaitOptions = {}): Promise<PushedEvent> {
    const request = this.#request({ ...options, key, payload });
    const event = await this.#root.call((call) => this.#service.push(request, call), { signal: options.signal });
    return pushed(event);
  }

  /**
   * Pushes many events, in as few calls as the engine takes them in; resolves with them in their order. When a call
   * fails, the events of the calls before it are pushed.
   */
  async pushAll(events: Iterable<NewEvent>, { signal }: WaitOptions = {}): Promise<PushedEvent[]> {
    const requests = Array.from(events, (event) => this.#request(event));
    const done: PushedEvent[] = [];
    for (const part of parts(requests)) {
      const answer = await this.#root.call((call) => this.#service.bulkPush({ events: part }, call), { signal });
      done.push(...answer.events.map(pushed));
    }
    return done;
  }

  get #service() {
    return this.#root.rpc(EventsService);
  }

  #request({ key, metadata, payload, priority, scope }: NewEvent): PushEventRequest {
    if (typeof key !== "string" || key === "") {
      throw new TypeError(`key must be a text that is not empty, got ${show(key)}`);
    }
    if (priority !== undefined) checkPriority(priority);
    const init: MessageInitShape<typeof PushEventRequestSchema> = {
      key: this.#root.config.namespace + key,
      payload: encodeInput(payload),
      eventTimestamp: timestampFromMs(Math.floor(this.#root.clock.now())),
      ...(metadata !== undefined && { additionalMetadata: encodeInput(metadata) }),
      ...(priority !== undefined && { priority }),
      ...(scope !== undefined && { scope }),
    };
    return create(PushEventRequestSchema, init);
  }
}

/** Cuts a list by count and by bytes; what alone is too large goes alone, and is refused for itself. */
function* parts(requests: readonly PushEventRequest[]): Generator<PushEventRequest[]> {
  let part: PushEventRequest[] = [];
  let bytes = 0;
  for (const request of requests) {
    const size = toBinary(PushEventRequestSchema, request).length;
    if (part.length > 0 && (part.length === most.events || bytes + size > most.bytes)) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(request);
    bytes += size;
  }
  if (part.length > 0) yield part;
}

function pushed({ eventId: id, key }: Event): PushedEvent {
  return { id, key };
}
