import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Client as ConnectClient } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";
import type { Channel } from "../../src/transport/channel.ts";
import { openChannel } from "../../src/transport/channel.ts";
import { Dispatcher } from "../../src/proto.ts";

/** The methods that are called. */
export const methods = {
  events: Dispatcher.method.subscribeToWorkflowEvents,
  runs: Dispatcher.method.subscribeToWorkflowRuns,
  /** Its request, given back, is an answer. */
  unsubscribe: Dispatcher.method.unsubscribe,
} as const;

/** A method as grpc-js and nice-grpc want it. */
export interface Definition<I, O, RequestStream extends boolean, ResponseStream extends boolean> {
  readonly path: string;
  readonly requestStream: RequestStream;
  readonly responseStream: ResponseStream;
  readonly requestSerialize: (request: I) => Buffer;
  readonly requestDeserialize: (bytes: Uint8Array) => I;
  readonly responseSerialize: (response: O) => Buffer;
  readonly responseDeserialize: (bytes: Uint8Array) => O;
  readonly options: Readonly<Record<string, never>>;
}

function defined<I extends DescMessage, O extends DescMessage, P extends boolean, Q extends boolean>(
  { input, name, output, parent }: DescMethod & { input: I; output: O },
  requestStream: P,
  responseStream: Q,
): Definition<MessageShape<I>, MessageShape<O>, P, Q> {
  return {
    path: `/${parent.typeName}/${name}`,
    requestStream,
    responseStream,
    requestSerialize: (request) => Buffer.from(toBinary(input, request)),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (response) => Buffer.from(toBinary(output, response)),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
    options: {},
  };
}

/** The same for grpc-js and nice-grpc, which decode by protobuf-es as all others do. */
export const definitions = {
  events: defined(methods.events, false, true),
  runs: defined(methods.runs, true, true),
  unsubscribe: defined(methods.unsubscribe, false, false),
} as const;

/** connect-node with every default. */
export function connectNode(hostPort: string): ConnectClient<typeof Dispatcher> {
  return createClient(Dispatcher, createGrpcTransport({ baseUrl: `http://${hostPort}` }));
}

/** grpc-js with every default. */
export function grpcClient(hostPort: string): grpc.Client {
  return new grpc.Client(hostPort, grpc.credentials.createInsecure());
}

/** A channel of ours to one place, with every default. */
export function channelTo(hostPort: string): Channel {
  const [host = "", port] = hostPort.split(":");
  return openChannel({ address: async () => ({ host, port: Number(port) }) });
}
