import { DurableError } from "../../src/listeners/durable-errors.ts";
import type { DurableSession, Invocation } from "../../src/mod.ts";
import { id } from "../remote.ts";
import { Fate, Rig } from "../rig.ts";
import type { Wire } from "../wires.ts";

export const method = "durableTask";
/** The invocation that tests are about when they do not say. */
export const task: Invocation = { taskId: id(1), invocation: 1 };

/** What the engine says of a step. */
export function ref(node: number, of: Invocation = task): object {
  return { ...named(of), branchId: 1n, nodeId: BigInt(node) };
}

/** A message of the engine's. */
export function says(kind: string, value: object): object {
  return { message: { case: kind, value } };
}

export function memoAck(node: number, known?: unknown, of: Invocation = task): object {
  const memoAlreadyExisted = known !== undefined;
  const value = { ref: ref(node, of), memoAlreadyExisted };
  return says("memoAck", memoAlreadyExisted ? { ...value, memoResultPayload: bytes(known) } : value);
}

export function waitAck(node: number, of: Invocation = task): object {
  return says("waitForAck", { ref: ref(node, of) });
}

/** Each child's run is known by its node. */
export function runsAck(nodes: readonly number[], of: Invocation = task): object {
  const runEntries = nodes.map((node) => ({
    branchId: 1n,
    nodeId: BigInt(node),
    workflowRunExternalId: id(100 + node),
  }));
  return says("triggerRunsAck", { ...named(of), runEntries });
}

export function completed(node: number, payload: unknown, of: Invocation = task): object {
  return says("entryCompleted", { ref: ref(node, of), payload: bytes(payload) });
}

export function failed(node: number, errorMessage: string): object {
  return says("entryCompleted", { ref: ref(node), payload: bytes(""), isFailure: true, errorMessage });
}

/** A wait that is over, as the engine tells it and as its waiter gets it. */
export function met(node: number, of: Invocation = task): object {
  return completed(node, { CREATE: { node: [{ node }] } }, of);
}

export function gotMet(node: number): string {
  return `ok {"node":[{"node":${node}}]}`;
}

export function evicted(reason: string, of: Invocation = task): object {
  return says("serverEvict", { ...named(of), reason });
}

export function evictionAck(of: Invocation = task): object {
  return says("evictionAck", named(of));
}

/** What a stream was sent: each request's kind, and what tests look at. */
export function sent({ sent: requests }: Pick<Wire, "sent">): string[] {
  return requests.map((request) => {
    const { message: { case: kind, value } } = request as { message: { case: string; value: Record<string, unknown> } };
    if (kind === "memo") return `memo ${new TextDecoder().decode(value["key"] as Uint8Array)}`;
    if (kind !== "workerStatus") return kind;
    const entries = value["waitingEntries"] as Record<string, unknown>[];
    const names = entries.map(({ branchId, durableTaskExternalId, invocationCount, nodeId }) =>
      [Number(String(durableTaskExternalId).slice(-12)), invocationCount, branchId, nodeId].join(".")
    );
    return ["status", ...names].join(" ");
  });
}

/** A session whose stream is open, and in which the task waits for these steps. */
export async function session(...nodes: number[]): Promise<{
  readonly rig: Rig;
  readonly tasks: DurableSession;
  readonly fates: Fate[];
}> {
  const rig = new Rig();
  const tasks = rig.client.durable.tasks({ workerId: id(9) });
  const fates: Fate[] = [];
  for (const node of nodes) fates.push(await wait(rig, tasks, node));
  return { rig, tasks, fates };
}

/** One more step that is waited for. */
export async function wait(rig: Rig, tasks: DurableSession, node: number, of: Invocation = task): Promise<Fate> {
  const fate = new Fate(tasks.waitFor(of, { sleepMs: 1000 }));
  await rig.pass(300);
  rig.remote.wire(method).say(waitAck(node, of));
  await rig.pass(0);
  return fate;
}

/** What a request or a wait came to nothing for, in a word. */
export function code(fate: Fate | undefined): string {
  return fate?.error instanceof DurableError ? fate.error.code : fate?.text ?? "";
}

/** JSON, or text as it is. */
export function bytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

function named({ invocation, taskId }: Invocation): object {
  return { durableTaskExternalId: taskId, invocationCount: invocation };
}
