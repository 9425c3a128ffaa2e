import type { WorkerUnsubscribeRequest, WorkerUnsubscribeResponse } from "../../src/proto.ts";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { Dispatcher, WorkerUnsubscribeRequestSchema } from "../../src/proto.ts";
import { runId } from "./engine.ts";
import { niceClient } from "./nice.ts";
import { channelTo, connectNode, definitions, grpcClient } from "./peers.ts";

/** Makes one call, of about 40 bytes there and back. */
export type Make = () => Promise<WorkerUnsubscribeResponse>;

const request: WorkerUnsubscribeRequest = create(WorkerUnsubscribeRequestSchema, { workerId: runId("e", 0) });

/** The ways to make a unary call, each made for one `host:port` that gives back what it gets. */
export const callers = {
  connect(hostPort: string): Make {
    const client = connectNode(hostPort);
    return () => client.unsubscribe(request);
  },
  grpcjs(hostPort: string): Make {
    const client = grpcClient(hostPort);
    const { path, requestSerialize, responseDeserialize } = definitions.unsubscribe;
    return () =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) => {
          if (answer === undefined) reject(error ?? new Error("There is no answer"));
          else resolve(answer);
        });
      });
  },
  nice(hostPort: string): Make {
    const { client } = niceClient(hostPort);
    return () => client.unsubscribe(request);
  },
  /** Our transport under Connect's client, as everybody calls it. */
  transport(hostPort: string): Make {
    const client = createClient(Dispatcher, channelTo(hostPort).transport);
    return () => client.unsubscribe(request);
  },
} as const satisfies Record<string, (hostPort: string) => Make>;

/** A name of {@link callers}. */
export type CallerName = keyof typeof callers;

/** Makes so many calls, always so many of them at once. */
export async function callAll(make: Make, count: number, atOnce: number): Promise<void> {
  let left = count;
  const lane = async () => {
    while (left-- > 0) {
      const { tenantId } = await make();
      if (tenantId !== request.workerId) throw new Error(`The answer is not what was sent: ${tenantId}`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}
