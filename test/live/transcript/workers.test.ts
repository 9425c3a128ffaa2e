import { mark, pause } from "../live.ts";
import { compare } from "./compare.ts";

const same = compare("workers");
const nobody = "00000000-0000-4000-8000-000000000000";
const malformed: Readonly<Record<string, string>> = {
  "a malformed id": "abc",
  "an empty id": "",
  "an unknown id": nobody,
};

same("Register, and what it refuses", async (p) => {
  const workerName = `${mark}-name`;
  const { dispatcher: d } = p;

  await p.call("plain", d.register({ workerName, actions: ["a:b"] }));
  await p.call("the same again", d.register({ workerName, actions: ["a:b"] }));
  await p.call("no actions", d.register({ workerName }));
  await p.call("slots alone", d.register({ workerName, slots: 3 }));
  await p.call("slots by kind", d.register({ workerName, slotConfig: { default: 3, durable: 4 } }));
  await p.call("both", d.register({ workerName, slots: 3, slotConfig: { default: 3 } }));
  await p.call("slots of no kind that is known", d.register({ workerName, slotConfig: { other: 3 } }));
  await p.call("no slots at all", d.register({ workerName, slotConfig: { default: 0 } }));
  await p.call("no name", d.register({ actions: ["a:b"] }));
  await p.call("a name with a blank", d.register({ workerName: "a b", actions: ["a:b"] }));
  await p.call("an action of one part", d.register({ workerName, actions: ["a"] }));
  await p.call("an action of three parts", d.register({ workerName, actions: ["a:b:c"] }));
  await p.call("an action of four parts", d.register({ workerName, actions: ["a:b:c:d"] }));
  await p.call("an empty action", d.register({ workerName, actions: [""] }));
  await p.call("labels", d.register({ workerName, labels: { a: { strValue: "x" }, b: { intValue: 1 } } }));
  await p.call("a label without a value", d.register({ workerName, labels: { a: {} } }));
  await p.call("a label with two values", d.register({ workerName, labels: { a: { strValue: "x", intValue: 1 } } }));
  await p.call("a language", d.register({ workerName, runtimeInfo: { language: 3 } }));
  await p.call("no language", d.register({ workerName, runtimeInfo: { os: "linux" } }));
  await p.call("the unknown language", d.register({ workerName, runtimeInfo: { language: 0 } }));
});

for (const [what, workerId] of Object.entries(malformed)) {
  same(`calls about ${what}`, async (p) => {
    const { dispatcher: d } = p;

    await p.call("Heartbeat", d.heartbeat({ workerId }));
    await p.call("Unsubscribe", d.unsubscribe({ workerId }));
    await p.call("UpsertWorkerLabels", d.upsertWorkerLabels({ workerId, labels: { a: { strValue: "x" } } }));
    await p.end("ListenV2", p.read((options) => d.listenV2({ workerId }, options)));
    await p.end("Listen", p.read((options) => d.listen({ workerId }, options)));
    await p.call("RefreshTimeout", d.refreshTimeout({ taskRunExternalId: workerId, incrementTimeoutBy: "5s" }));
    await p.call("ReleaseSlot", d.releaseSlot({ taskRunExternalId: workerId }));
    await p.call("RestoreEvictedTask", d.restoreEvictedTask({ taskRunExternalId: workerId }));
  });
}

same("a heartbeat in every state of a worker", async (p) => {
  const { dispatcher: d } = p;
  const { workerId } = await d.register({ workerName: `${mark}-beats`, actions: [] });

  await p.call("before it listens", d.heartbeat({ workerId }));
  await p.call("from an hour ago", d.heartbeat({ workerId, heartbeatAt: { seconds: 1_700_000_000n, nanos: 0 } }));
  const first = p.read((options) => d.listenV2({ workerId }, options));
  await pause(500);
  await p.call("while it listens", d.heartbeat({ workerId }));
  const second = p.read((options) => d.listenV2({ workerId }, options));
  await pause(500);
  first.abort();
  await pause(500);
  await p.call("while the second of two streams is open", d.heartbeat({ workerId }));
  await p.call("Unsubscribe", d.unsubscribe({ workerId }));
  await pause(300);
  await p.call("after it unsubscribed", d.heartbeat({ workerId }));
  await p.end("the stream of one that unsubscribed", second, 1000);
  // Whether the engine notices the end of a stream is a matter of chance: it is tried until it does.
  let noticed = false;
  for (let attempt = 0; attempt < 20 && !noticed; attempt++) {
    const stream = p.read((options) => d.listenV2({ workerId }, options));
    await pause(200);
    stream.abort();
    await pause(200);
    noticed = await d.heartbeat({ workerId }).then(() => false, () => true);
  }
  await p.call("after its stream was closed", d.heartbeat({ workerId }));
  const last = p.read((options) => d.listenV2({ workerId }, options));
  await pause(500);
  await p.call("when it listens again", d.heartbeat({ workerId }));
  last.abort();
});

same("a heartbeat of a worker on the old Listen", async (p) => {
  const { dispatcher: d } = p;
  const { workerId } = await d.register({ workerName: `${mark}-old`, actions: [] });

  const stream = p.read((options) => d.listen({ workerId }, options));
  await pause(500);
  await p.call("while it listens", d.heartbeat({ workerId }));
  stream.abort();
  await pause(500);
  await p.call("after its stream was closed", d.heartbeat({ workerId }));
});

same("labels, and the calls that do nothing", async (p) => {
  const { dispatcher: d } = p;
  const { workerId } = await d.register({ workerName: `${mark}-labels`, actions: [] });

  await p.call(
    "a text and a number",
    d.upsertWorkerLabels({ workerId, labels: { a: { strValue: "x" }, b: { intValue: 1 } } }),
  );
  await p.call("none", d.upsertWorkerLabels({ workerId }));
  await p.call("a label without a value", d.upsertWorkerLabels({ workerId, labels: { a: {} } }));
  await p.call("PutOverridesData", d.putOverridesData({}));
  await p.call("SendGroupKeyActionEvent", d.sendGroupKeyActionEvent({ workerId }));
  await p.call("Unsubscribe of one that never listened", d.unsubscribe({ workerId }));
  const { version } = await d.getVersion({});
  p.note("GetVersion", /^v\d+\.\d+\.\d+$/.test(version));
});

same.run();
