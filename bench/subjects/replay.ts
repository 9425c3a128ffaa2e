// How long a shared stream takes, after a cut, to ask again for everything that is waited for: replay.ts COUNT.
// From the moment in which the next attempt begins until the last of its requests is answered.
import process from "node:process";
import { createClient } from "@connectrpc/connect";
import type { SubscribeToWorkflowRunsRequest, WorkflowRunEvent } from "../../src/proto.ts";
import { Dispatcher } from "../../src/proto.ts";
import { Gate, Subscriptions } from "../../src/streams/mod.ts";
import { startSource } from "../source/child.ts";
import { done, lost } from "../source/server.ts";
import { cost, tell } from "./clock.ts";
import { runId } from "./engine.ts";
import { channelTo } from "./peers.ts";

const size = Number(process.argv[2]);
const source = await startSource();
const channel = channelTo(source.wire);
const client = createClient(Dispatcher, channel.transport);
const begun = Promise.withResolvers<void>();
let cut = false;
const shared = new Subscriptions<string, void, SubscribeToWorkflowRunsRequest, WorkflowRunEvent>({
  ready: channel.ready,
  gate: new Gate({ random: () => 0.1 }),
  open: (requests, { live, signal }) => client.subscribeToWorkflowRuns(requests, { signal, onHeader: live }),
  request: (workflowRunId) => ({ $typeName: "SubscribeToWorkflowRunsRequest", workflowRunId }),
  deliver: ({ workflowRunId }) => shared.settle(workflowRunId, undefined),
  onStatus: ({ state }) => {
    if (cut && state === "connecting") begun.resolve();
  },
});
const ignore = () => {
  // The process ends first.
};

for (let number = 0; number < size - 1; number++) shared.wait(runId("a", number)).catch(ignore);
const last = shared.wait(runId(lost, 0));
// Answered when everything before it was read.
await shared.wait(runId(done, 0));
cut = true;
source.cut();
await begun.promise;
const { cpuMs, wallMs } = await cost(() => last);
tell({ wallMs, cpuMs });
