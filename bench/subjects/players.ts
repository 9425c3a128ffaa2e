import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import type { SubscribeToWorkflowRunsRequest, WorkflowRunEvent } from "../../src/proto.ts";
import { SubscribeToWorkflowRunsRequestSchema } from "../../src/proto.ts";
import { follow } from "../../src/streams/follow.ts";
import { Gate, Outbox, reconnect } from "../../src/streams/mod.ts";
import { frame } from "../../src/transport/frames.ts";
import { runId } from "./engine.ts";
import { niceClient } from "./nice.ts";
import { channelTo, connectNode, definitions, grpcClient, methods } from "./peers.ts";

/** Makes so many round trips on a stream of its own. */
export type Play = (count: number) => Promise<void>;

const ball: SubscribeToWorkflowRunsRequest = create(SubscribeToWorkflowRunsRequestSchema, {
  workflowRunId: runId("e", 0),
});

/** The ways to play, each made for one `host:port` that gives back what it gets. */
export const players = {
  /** Nothing but `node:http2`: what comes goes back as it came. */
  raw(hostPort: string): Play {
    const session = connect(`http://${hostPort}`);
    return (count) =>
      new Promise((resolve, reject) => {
        let left = count;
        const stream = session.request({ ":method": "POST", ":path": definitions.runs.path });
        stream.on("data", (bytes: Uint8Array) => {
          if (--left > 0) stream.write(bytes);
          else stream.end();
        });
        stream.on("error", reject);
        stream.on("end", resolve);
        stream.write(frame(toBinary(SubscribeToWorkflowRunsRequestSchema, ball), false));
      });
  },
  connect(hostPort: string): Play {
    const client = connectNode(hostPort);
    return rallying((requests, signal) => client.subscribeToWorkflowRuns(requests, { signal }));
  },
  grpcjs(hostPort: string): Play {
    const client = grpcClient(hostPort);
    const { path, requestSerialize, responseDeserialize } = definitions.runs;
    return (count) =>
      new Promise((resolve, reject) => {
        let left = count;
        const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
        call.on("data", () => {
          if (--left > 0) call.write(ball);
          else call.end();
        });
        call.on("error", reject);
        call.on("end", resolve);
        call.write(ball);
      });
  },
  nice(hostPort: string): Play {
    const { client } = niceClient(hostPort);
    return rallying((requests) => client.runs(requests));
  },
  /** Our transport by its own stream call. */
  transport(hostPort: string): Play {
    const { transport } = channelTo(hostPort);
    return rallying((requests, signal) => follow(transport, methods.runs, requests, { signal, live() {} }));
  },
  /** What a listener of the client does. */
  reconnect(hostPort: string): Play {
    const { ready, transport } = channelTo(hostPort);
    return (count) => {
      let requests: Outbox<SubscribeToWorkflowRunsRequest>;
      const replies = reconnect<WorkflowRunEvent>(({ live, signal }) => {
        requests = new Outbox([ball], signal);
        return follow(transport, methods.runs, requests, { live, signal });
      }, { ready, gate: new Gate() });
      return rally(replies, () => requests.push(ball), count);
    };
  },
} as const satisfies Record<string, (hostPort: string) => Play>;

/** A name of {@link players}. */
export type PlayerName = keyof typeof players;

type Opened = (
  requests: Outbox<SubscribeToWorkflowRunsRequest>,
  signal: AbortSignal,
) => AsyncIterable<WorkflowRunEvent>;

function rallying(open: Opened): Play {
  return async (count) => {
    const life = new AbortController();
    const requests = new Outbox([ball], life.signal);
    await rally(open(requests, life.signal), () => requests.push(ball), count);
    life.abort();
  };
}

async function rally(replies: AsyncIterable<WorkflowRunEvent>, serve: () => void, count: number): Promise<void> {
  let left = count;
  for await (const _ of replies) {
    if (--left === 0) return;
    serve();
  }
  throw new Error(`${left} of ${count} round trips are missing`);
}
