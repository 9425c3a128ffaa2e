import { mark, pause } from "../live.ts";
import { compare } from "./compare.ts";
import type { Player, Reading } from "./player.ts";

const same = compare("ends", "LIVE_DRAIN", "LIVE_KILL", "LIVE_START");

/** One stream of each kind, as idle as can be. */
async function open(p: Player, how: string) {
  const name = await p.put(`ends-${how}`);
  const worker = await p.worker(`${name}:${name}`);
  const runId = await p.trigger(name);
  await p.until(() => worker.messages.length === 1);
  worker.messages.splice(0);
  await pause(3000);
  const waiting = p.results();
  waiting.ask(runId);
  const events = (request: object) => p.read((options) => p.dispatcher.subscribeToWorkflowEvents(request, options));
  // oxlint-disable-next-line require-yield -- a request side that says nothing
  async function* nothing<T>(): AsyncGenerator<T> {
    await new Promise<never>(() => {});
  }
  const streams: Readonly<Record<string, Reading<unknown>>> = {
    "ListenV2": worker,
    "results": waiting,
    "events of a run": events({ workflowRunId: runId }),
    "events by metadata": events({ additionalMetaKey: mark, additionalMetaValue: mark }),
    "ListenForDurableEvent": p.read((options) => p.durable.listenForDurableEvent(nothing(), options)),
    "DurableTask": p.read((options) => p.durable.durableTask(nothing(), options)),
  };
  await pause(1500);
  return { runId, streams, worker };
}

async function ended(p: Player, streams: Readonly<Record<string, Reading<unknown>>>, when: string): Promise<void> {
  for (const [name, stream] of Object.entries(streams)) await p.end(`${name} ${when}`, stream, 1000);
}

same("how streams end when the engine is drained, and what it knows when it is back", async (p) => {
  const { streams, worker, runId } = await open(p, "drain");

  p.note("the run's id", runId);
  await p.engine.drain();
  await ended(p, streams, "after a drain");
  await p.engine.start();
  const { workerId } = worker;
  // Whether a drain leaves a worker active is a matter of chance: 16 of 30 were.
  const again = p.read((options) => p.dispatcher.listenV2({ workerId }, options));
  await pause(1000);
  await p.call("its beat when it listens again", p.dispatcher.heartbeat({ workerId }));
  await p.call("the run", p.admin.getRunDetails({ externalId: runId }));
  await p.call("its report", p.complete({ taskRunExternalId: runId, retryCount: 0 }));
  p.note("done", await p.done(runId, 20_000));
  p.note("what it heard", again.messages.length);
});

same("how streams end when the engine is killed, and what it knows when it is back", async (p) => {
  const { streams, worker, runId } = await open(p, "kill");

  p.note("the run's id", runId);
  await p.engine.kill();
  await ended(p, streams, "after a kill");
  await p.engine.start();
  const { workerId } = worker;
  await p.call("the beat of the worker that was", p.dispatcher.heartbeat({ workerId }));
  await p.call("the run", p.admin.getRunDetails({ externalId: runId }));
  await p.call("its report", p.complete({ taskRunExternalId: runId, retryCount: 0 }));
  p.note("done", await p.done(runId, 90_000));
  const name = await p.put("after-kill");
  const fresh = await p.worker(`${name}:${name}`);
  await p.trigger(name);
  p.note("work is handed out again", await p.until(() => fresh.messages.length === 1, 100_000));
});

same.run();
