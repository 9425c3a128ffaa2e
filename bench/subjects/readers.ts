import { connect } from "node:http2";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { SubscribeToWorkflowEventsRequest, WorkflowEvent } from "../../src/proto.ts";
import { Dispatcher, SubscribeToWorkflowEventsRequestSchema } from "../../src/proto.ts";
import { follow, only } from "../../src/streams/follow.ts";
import type { Open } from "../../src/streams/mod.ts";
import { Gate, LiveStream, reconnect } from "../../src/streams/mod.ts";
import type { Channel } from "../../src/transport/channel.ts";
import { framed } from "../source/messages.ts";
import { niceClient } from "./nice.ts";
import { channelTo, connectNode, definitions, grpcClient, methods } from "./peers.ts";

/** One way to read the events of a run. */
export interface Subject {
  /** Opens a stream and reads so many messages from it. */
  read(request: SubscribeToWorkflowEventsRequest, count: number): Promise<void>;
  close(): unknown;
}

/** The ways to read, each made for one `host:port`. */
export const readers = {
  /** Nothing but HTTP/2: counts bytes and knows no message. */
  raw,
  /** Connect's own transport, and a loop over its response. */
  connect: overConnect,
  /** grpc-js with a listener. */
  grpcjs,
  /** nice-grpc, and a loop over its response. */
  nice,
  /** Our transport by its own stream call. */
  transport: overTransport,
  /** The same under Connect's client. */
  channel: overChannel,
  /** `reconnect()` over our connections, and a loop. */
  reconnect: reconnecting,
  /** What a listener of the client reads through: a stream that is pumped. */
  live: pumped,
} as const satisfies Record<string, (hostPort: string) => Subject>;

/** A name of {@link readers}. */
export type ReaderName = keyof typeof readers;

/** Asks for messages of so many bytes; the source understands it. */
export function requestFor(bytes: number, count: number): SubscribeToWorkflowEventsRequest {
  return create(SubscribeToWorkflowEventsRequestSchema, { workflowRunId: `${bytes}:${count}` });
}

function raw(hostPort: string): Subject {
  const windowBytes = 2 ** 20;
  const session = connect(`http://${hostPort}`, { settings: { initialWindowSize: windowBytes } });
  session.once("remoteSettings", () => session.setLocalWindowSize(windowBytes));
  return {
    read: (request) =>
      new Promise((resolve, reject) => {
        let bytes = 0;
        const stream = session.request({ ":method": "POST", ":path": definitions.events.path });
        stream.on("data", (piece: Uint8Array) => bytes += piece.length);
        stream.on("error", reject);
        stream.on("end", resolve);
        stream.end(framed(definitions.events.requestSerialize(request)));
      }),
    close: () => session.close(),
  };
}

function overConnect(hostPort: string): Subject {
  const client = connectNode(hostPort);
  return {
    read: (request, count) => readAll(client.subscribeToWorkflowEvents(request), count),
    close: () => {},
  };
}

function grpcjs(hostPort: string): Subject {
  const client = grpcClient(hostPort);
  const { path, requestSerialize, responseDeserialize } = definitions.events;
  return {
    read: (request) =>
      new Promise((resolve, reject) => {
        const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
        let length = 0;
        call.on("data", (event: WorkflowEvent) => length += event.eventPayload.length);
        call.on("error", reject);
        call.on("end", resolve);
      }),
    close: () => client.close(),
  };
}

function nice(hostPort: string): Subject {
  const { client, close } = niceClient(hostPort);
  return { read: (request, count) => readAll(client.events(request), count), close };
}

function overTransport(hostPort: string): Subject {
  const channel = channelTo(hostPort);
  return {
    read: async (request, count) => {
      const { transport } = channel;
      const { message } = await transport.stream(methods.events, undefined, undefined, undefined, only(request));
      await readAll(message, count);
    },
    close: () => channel.close(),
  };
}

function overChannel(hostPort: string): Subject {
  const channel = channelTo(hostPort);
  const client = createClient(Dispatcher, channel.transport);
  return {
    read: (request, count) => readAll(client.subscribeToWorkflowEvents(request), count),
    close: () => channel.close(),
  };
}

function reconnecting(hostPort: string): Subject {
  const channel = channelTo(hostPort);
  const { ready } = channel;
  return {
    read: (request, count) => readAll(reconnect(opener(channel, request), { ready, gate: new Gate() }), count),
    close: () => channel.close(),
  };
}

function pumped(hostPort: string): Subject {
  const channel = channelTo(hostPort);
  const { ready } = channel;
  const bounds = {
    maxMessages: 1000,
    maxBytes: 4 * 2 ** 20,
    sizeOf: (event: WorkflowEvent) => event.eventPayload.length,
  };
  return {
    read: (request, count) => {
      const open = opener(channel, request);
      const stream = new LiveStream((signal) => reconnect(open, { ready, gate: new Gate(), signal }), bounds);
      return readAll(stream, count);
    },
    close: () => channel.close(),
  };
}

function opener(channel: Channel, request: SubscribeToWorkflowEventsRequest): Open<WorkflowEvent> {
  return ({ live, signal }) => follow(channel.transport, methods.events, only(request), { live, signal });
}

/** Breaks after the last message, for a stream that reconnects has no end. */
async function readAll(events: AsyncIterable<WorkflowEvent>, count: number): Promise<void> {
  let left = count;
  let length = 0;
  for await (const event of events) {
    length += event.eventPayload.length;
    if (--left === 0) break;
  }
  if (left !== 0 || length === 0) throw new Error(`${left} of ${count} messages are missing`);
}
