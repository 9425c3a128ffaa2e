import { mark } from "../live.ts";
import { compare } from "./compare.ts";

const same = compare("triggers");
const nobody = "00000000-0000-4000-8000-000000000000";
const bytes = (text: string) => new TextEncoder().encode(text);

same("TriggerWorkflow, and what it refuses", async (p) => {
  const name = await p.put("trigger");
  const call = (label: string, request: Omit<Parameters<typeof p.workflows.triggerWorkflow>[0], "$typeName">) =>
    p.call(label, p.workflows.triggerWorkflow({ name, input: "{}", ...request }));

  await call("plain", {});
  await call("an unknown workflow", { name: `${mark}-unknown` });
  await call("no name", { name: "" });
  await call("no input", { input: "" });
  await call("an input that is no JSON", { input: "nonsense" });
  await call("a list", { input: "[1]" });
  await call("a text", { input: `"text"` });
  await call("null", { input: "null" });
  await call("a null character", { input: `{"a":"\\u0000"}` });
  await call("metadata", { additionalMetadata: `{"a":"b"}` });
  await call("metadata that is no JSON", { additionalMetadata: "nonsense" });
  await call("metadata that is a list", { additionalMetadata: "[1]" });
  await call("empty metadata", { additionalMetadata: "" });
  await call("a null character in metadata", { additionalMetadata: `{"a":"\\u0000"}` });
  await call("priority 0", { priority: 0 });
  await call("priority 1", { priority: 1 });
  await call("priority 3", { priority: 3 });
  await call("priority 4", { priority: 4 });
  await call("a parent's id alone", { parentId: nobody });
  await call("a malformed parent's id alone", { parentId: "abc" });
  await call("an unknown parent", { parentId: nobody, parentTaskRunExternalId: nobody, childIndex: 0 });
  await call("an unknown parent without an index", { parentTaskRunExternalId: nobody });
  await call("a malformed parent", { parentTaskRunExternalId: "abc" });
  await call("an empty parent", { parentTaskRunExternalId: "" });
  await call("a malformed worker", { desiredWorkerId: "abc" });
  await call("an unknown worker", { desiredWorkerId: nobody });
  await call("an empty worker", { desiredWorkerId: "" });
});

same("children are the same by index, with or without a key", async (p) => {
  const name = await p.put("family");
  const worker = await p.worker(`${name}:${name}`);
  const runId = await p.trigger(name);
  await p.until(() => worker.messages.length === 1);
  const [action] = worker.messages;
  const parent = { parentId: runId, parentTaskRunExternalId: action!.taskRunExternalId };
  const call = async (label: string, request: object) => {
    const answer = await p.call(label, p.workflows.triggerWorkflow({ name, input: "{}", ...parent, ...request }));
    await p.until(() => worker.messages.some((one) => one.workflowRunId === answer?.workflowRunId), 5000);
  };

  await call("index 0", { childIndex: 0 });
  await call("index 0 again", { childIndex: 0 });
  await call("index 1", { childIndex: 1 });
  await call("a key without an index", { childKey: "k" });
  await call("a key without an index again", { childKey: "k" });
  await call("a key and index 2", { childKey: "k", childIndex: 2 });
  await call("the same key and index 3", { childKey: "k", childIndex: 3 });
  await call("another key and index 2", { childKey: "l", childIndex: 2 });
  await call("a key that looks like index 1", { childKey: "1", childIndex: 9 });
  await call("neither", {});
  await call("neither again", {});
});

same("metadata of a child, and what a worker is told of a child", async (p) => {
  const name = await p.put("heir");
  const worker = await p.worker(`${name}:${name}`);
  const metadata = { additionalMetadata: `{"a":"1","b":2,"hatchet__own":"x"}` };
  const { workflowRunId } = await p.workflows.triggerWorkflow({ name, input: "{}", ...metadata });
  const [action] = await p.take("the parent", worker, 1);

  await p.workflows.triggerWorkflow({
    name,
    input: `{"z":1,"a":{"y":2,"b":[1,"<&>"]}}`,
    additionalMetadata: `{"a":"child","c":null}`,
    parentId: workflowRunId,
    parentTaskRunExternalId: action!.taskRunExternalId,
    childIndex: 4,
    childKey: "key",
  });
  await p.take("the child", worker, 1);
});

same("BulkTriggerWorkflow, and what it refuses", async (p) => {
  const name = await p.put("bulk");
  const call = (label: string, ...workflows: object[]) =>
    p.call(label, p.workflows.bulkTriggerWorkflow({ workflows: workflows.map((w) => ({ name, input: "{}", ...w })) }));

  await call("none");
  await call("one", {});
  await call("three", {}, {}, {});
  await call("an unknown workflow among others", {}, { name: `${mark}-unknown` });
  await call("only unknown workflows", { name: `${mark}-unknown` }, { name: `${mark}-unknown` });
  await call("an input among others that is no JSON", {}, { input: "nonsense" });
  await call("a priority among others", {}, { priority: 4 });
});

same("TriggerWorkflowRun, and what it refuses", async (p) => {
  const workflowName = await p.put("run");
  const call = (label: string, request: object) =>
    p.call(label, p.admin.triggerWorkflowRun({ workflowName, input: bytes("{}"), ...request }));

  await call("plain", {});
  await call("an unknown workflow", { workflowName: `${mark}-unknown` });
  await call("no name", { workflowName: "" });
  await call("no input", { input: bytes("") });
  await call("an input that is no JSON", { input: bytes("nonsense") });
  await call("an input that is no UTF-8", { input: new Uint8Array([255, 254]) });
  await call("a list", { input: bytes("[1]") });
  await call("metadata", { additionalMetadata: bytes(`{"a":"b"}`) });
  await call("metadata that is no JSON", { additionalMetadata: bytes("nonsense") });
  await call("priority 0", { priority: 0 });
  await call("priority 4", { priority: 4 });
});

same("what a worker gets of each input", async (p) => {
  const name = await p.put("inputs");
  const worker = await p.worker(`${name}:${name}`);
  const inputs = [
    "",
    "{}",
    "[1]",
    `"text"`,
    "7",
    "null",
    `{"b":1,"a":{"d":1.50,"c":1e3}}`,
    `{"n":12345678901234567890}`,
    `{"t":"<&> ü \\u2028"}`,
  ];

  for (const input of inputs) {
    await p.workflows.triggerWorkflow({ name, input });
    await p.take(`the input ${input}`, worker, 1);
  }
});

same.run();
