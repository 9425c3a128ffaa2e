// How much heap one who waits takes, above the id: waiters.ts WHERE HOST:PORT COUNT, with the collector exposed.
import process from "node:process";
import { createClient } from "@connectrpc/connect";
import type { SubscribeToWorkflowRunsRequest, WorkflowRunEvent } from "../../src/proto.ts";
import { Dispatcher } from "../../src/proto.ts";
import { Gate, Subscriptions } from "../../src/streams/mod.ts";
import { done } from "../source/server.ts";
import { tell } from "./clock.ts";
import { clientOf, runId } from "./engine.ts";
import { heap } from "./heap.ts";
import { channelTo } from "./peers.ts";

const [where = "", hostPort = "", count = "0"] = process.argv.slice(2);
const size = Number(count);

/** Where one can wait for a run. */
const places: Record<string, () => (id: string) => Promise<unknown>> = {
  subscriptions() {
    const channel = channelTo(hostPort);
    const client = createClient(Dispatcher, channel.transport);
    const shared = new Subscriptions<string, void, SubscribeToWorkflowRunsRequest, WorkflowRunEvent>({
      ready: channel.ready,
      gate: new Gate(),
      open: (requests, { live, signal }) => client.subscribeToWorkflowRuns(requests, { signal, onHeader: live }),
      request: (workflowRunId) => ({ $typeName: "SubscribeToWorkflowRunsRequest", workflowRunId }),
      deliver: ({ workflowRunId }) => shared.settle(workflowRunId, undefined),
    });
    return (id) => shared.wait(id);
  },
  client() {
    const client = clientOf(hostPort);
    return (id) => client.runs.result(id);
  },
};

const wait = places[where]?.();
if (wait === undefined) throw new TypeError(`There is no place ${where}`);
const ids = Array.from({ length: size }, (_, number) => runId("a", number));
// As keys of a map they will be flat and hashed: what an id takes is the caller's.
if (new Set(ids).size !== size) throw new Error("Ids differ");
await wait(runId(done, 0));
const { heapBytes } = await heap();
const before = await heapBytes();
for (const id of ids) void wait(id); // The process ends first.
// Answered when everything before it was read.
await wait(runId(done, 1));
const after = await heapBytes();
tell({ bytes: (after - before) / size });
