import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CreateWorkflowVersionRequestSchema } from "../../../src/proto.ts";
import { ConcurrencyLimitStrategy } from "../../../src/proto.ts";
import { mark } from "../live.ts";
import { compare } from "./compare.ts";

const same = compare("workflows");
type Definition = MessageInitShape<typeof CreateWorkflowVersionRequestSchema>;

const name = `${mark}-put`;
const one = { readableId: "one", action: "put:one" };
const two = { readableId: "two", action: "put:two", parents: ["one"] };

/** Each is put after the plain one; the label says what is in it. */
const definitions: Readonly<Record<string, Definition>> = {
  "plain": { name, tasks: [one] },
  "the same again": { name, tasks: [one] },
  "another description": { name, description: "other", tasks: [one] },
  "the plain one again": { name, tasks: [one] },
  "two tasks": { name, tasks: [one, two] },
  "an on-failure task": { name, tasks: [one], onFailureTask: { readableId: "rescue", action: "put:rescue" } },
  "no tasks": { name },
  "no name": { name: "", tasks: [one] },
  "a name with a blank": { name: "a b", tasks: [one] },
  "no readable id": { name, tasks: [{ ...one, readableId: "" }] },
  "a readable id with a blank": { name, tasks: [{ ...one, readableId: "a b" }] },
  "no action": { name, tasks: [{ readableId: "one", action: "" }] },
  "an action of one part": { name, tasks: [{ ...one, action: "put" }] },
  "an action of four parts": { name, tasks: [{ ...one, action: "a:b:c:d" }] },
  "an action in capitals": { name, tasks: [{ ...one, action: "Put:One" }] },
  "the same readable id twice": { name, tasks: [one, one] },
  "an unknown parent": { name, tasks: [{ ...one, parents: ["nobody"] }] },
  "a task that is its own parent": { name, tasks: [{ ...one, parents: ["one"] }] },
  "a cycle": { name, tasks: [{ ...one, parents: ["two"] }, two] },
  "a time-out that is none": { name, tasks: [{ ...one, timeout: "soon" }] },
  "a time-out without a unit": { name, tasks: [{ ...one, timeout: "60" }] },
  "a time-out in days": { name, tasks: [{ ...one, timeout: "1d" }] },
  "a time-out below zero": { name, tasks: [{ ...one, timeout: "-1s" }] },
  "a time-out of parts": { name, tasks: [{ ...one, timeout: "1m30s" }] },
  "a schedule time-out that is none": { name, tasks: [{ ...one, scheduleTimeout: "soon" }] },
  "an empty schedule time-out": { name, tasks: [{ ...one, scheduleTimeout: "" }] },
  "retries": { name, tasks: [{ ...one, retries: 3, backoffFactor: 2, backoffMaxSeconds: 10 }] },
  "retries below zero": { name, tasks: [{ ...one, retries: -1 }] },
  "a backoff factor below one": { name, tasks: [{ ...one, retries: 3, backoffFactor: 0.5 }] },
  "a backoff factor of zero": { name, tasks: [{ ...one, retries: 3, backoffFactor: 0 }] },
  "a backoff of no seconds": { name, tasks: [{ ...one, retries: 3, backoffFactor: 2, backoffMaxSeconds: 0 }] },
  "priority 0": { name, tasks: [one], defaultPriority: 0 },
  "priority 3": { name, tasks: [one], defaultPriority: 3 },
  "priority 4": { name, tasks: [one], defaultPriority: 4 },
  "slots of a kind": { name, tasks: [{ ...one, slotRequests: { default: 2 } }] },
  "no slots": { name, tasks: [{ ...one, slotRequests: { default: 0 } }] },
  "slots below zero": { name, tasks: [{ ...one, slotRequests: { default: -1 } }] },
  "a durable task": { name, tasks: [{ ...one, isDurable: true }] },
  "inputs": { name, tasks: [{ ...one, inputs: "{}" }] },
  "inputs that are no JSON": { name, tasks: [{ ...one, inputs: "nonsense" }] },
  "an event": { name, tasks: [one], eventTriggers: [`${mark}:event`] },
  "a cron": { name, tasks: [one], cronTriggers: ["0 5 1 1 *"] },
  "a cron with seconds": { name, tasks: [one], cronTriggers: ["0 0 5 1 1 *"] },
  "a cron that is none": { name, tasks: [one], cronTriggers: ["nonsense"] },
  "a concurrency": {
    name,
    tasks: [one],
    concurrency: { expression: "input.key", maxRuns: 1, limitStrategy: ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN },
  },
  "a concurrency that is not supported": {
    name,
    tasks: [one],
    concurrency: { expression: "input.key", maxRuns: 1, limitStrategy: ConcurrencyLimitStrategy.QUEUE_NEWEST },
  },
  "a concurrency without an expression": {
    name,
    tasks: [one],
    concurrency: { expression: "", maxRuns: 1, limitStrategy: ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN },
  },
  "a concurrency with an expression that is none": {
    name,
    tasks: [one],
    concurrency: { expression: "((", maxRuns: 1, limitStrategy: ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN },
  },
  "an on-failure task with the name of another": {
    name,
    tasks: [one],
    onFailureTask: { readableId: "one", action: "put:rescue" },
  },
  "an on-failure task without an action": { name, tasks: [one], onFailureTask: { readableId: "rescue", action: "" } },
};

const unread = {
  "a concurrency with an expression that is none": "The embedded engine takes concurrency, and ignores it.",
};

same("PutWorkflow, and what it refuses", unread, async (p) => {
  for (const [label, definition] of Object.entries(definitions)) await p.call(label, p.admin.putWorkflow(definition));
});

same.run();
