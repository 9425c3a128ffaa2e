// How many round trips a second one bidirectional stream makes: pingpong.ts NAME HOST:PORT WARMUP COUNT.
import process from "node:process";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";
import type { SubscribeToWorkflowRunsRequest, WorkflowRunEvent } from "../../src/proto.ts";
import { Dispatcher, SubscribeToWorkflowRunsRequestSchema, WorkflowRunEventSchema } from "../../src/proto.ts";
import { Gate, Outbox, reconnect } from "../../src/streams/mod.ts";
import { echoed } from "../source/server.ts";
import { cost, tell } from "./clock.ts";
import { channelTo, paths } from "./readers.ts";

/** Makes so many round trips on a stream of its own. */
type Play = (count: number) => Promise<void>;

const ball: SubscribeToWorkflowRunsRequest = create(SubscribeToWorkflowRunsRequestSchema, {
  workflowRunId: `${echoed}0000000-0000-4000-8000-000000000000`,
});

const players: Record<string, (hostPort: string) => Play> = {
  connect(hostPort) {
    const client = createClient(Dispatcher, createGrpcTransport({ baseUrl: `http://${hostPort}` }));
    return async (count) => {
      const life = new AbortController();
      const requests = new Outbox([ball], life.signal);
      await rally(client.subscribeToWorkflowRuns(requests, { signal: life.signal }), () => requests.push(ball), count);
      life.abort();
    };
  },
  grpcjs(hostPort) {
    const client = new grpc.Client(hostPort, grpc.credentials.createInsecure());
    const encode = (it: SubscribeToWorkflowRunsRequest) =>
      Buffer.from(toBinary(SubscribeToWorkflowRunsRequestSchema, it));
    const decode = (bytes: Buffer) => fromBinary(WorkflowRunEventSchema, bytes);
    return (count) =>
      new Promise((resolve, reject) => {
        let left = count;
        const call = client.makeBidiStreamRequest(paths.runs, encode, decode);
        call.on("data", () => {
          if (--left > 0) call.write(ball);
          else call.end();
        });
        call.on("error", reject);
        call.on("end", resolve);
        call.write(ball);
      });
  },
  reconnect(hostPort) {
    const channel = channelTo(hostPort);
    const client = createClient(Dispatcher, channel.transport);
    return (count) => {
      let requests: Outbox<SubscribeToWorkflowRunsRequest>;
      const replies = reconnect<WorkflowRunEvent>(({ live, signal }) => {
        requests = new Outbox([ball], signal);
        return client.subscribeToWorkflowRuns(requests, { onHeader: live, signal });
      }, { ready: channel.ready, gate: new Gate() });
      return rally(replies, () => requests.push(ball), count);
    };
  },
};

async function rally(replies: AsyncIterable<WorkflowRunEvent>, serve: () => void, count: number): Promise<void> {
  let left = count;
  for await (const _ of replies) {
    if (--left === 0) return;
    serve();
  }
  throw new Error(`${left} of ${count} round trips are missing`);
}

const [name = "", hostPort = "", ...numbers] = process.argv.slice(2);
const [warmup = 0, count = 0] = numbers.map(Number);
const play = players[name]?.(hostPort);
if (play === undefined) throw new TypeError(`There is no player ${name}`);
await play(warmup);
const { cpuMs, wallMs } = await cost(() => play(count));
tell({ perSecond: count / wallMs * 1000, cpuUs: cpuMs / count * 1000 });
