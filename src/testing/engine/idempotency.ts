import { IdempotencyMethod } from "../../proto.ts";
import type { Core } from "./core.ts";
import { evaluate } from "./expression.ts";
import { objectIn } from "./json.ts";
import type { Run, Trigger, Workflow } from "./state.ts";

/** The run that holds the key which this trigger would get. Keys are held for a time, or until the run ends. */
export function collision(core: Core, workflow: Workflow, trigger: Trigger): Run | undefined {
  const key = keyOf(workflow, trigger);
  const holder = key === undefined ? undefined : core.state.keys.get(`${workflow.id} ${key}`);
  const { idempotency } = workflow;
  if (holder === undefined || idempotency === undefined) return undefined;
  const held = idempotency.method === IdempotencyMethod.STATUS
    ? !holder.finished
    : core.clock.now() < holder.startedMs + Number(idempotency.ttlMs);
  return held ? holder : undefined;
}

/** Gives the run the key that its trigger asks for. */
export function holdKey(core: Core, run: Run, trigger: Trigger): void {
  const key = keyOf(run.workflow, trigger);
  if (key !== undefined) core.state.keys.set(`${run.workflow.id} ${key}`, run);
}

/** A key that cannot be evaluated is none. */
function keyOf({ idempotency }: Workflow, { input, metadata }: Trigger): string | undefined {
  if (idempotency === undefined) return undefined;
  try {
    const value = evaluate(idempotency.expression, { input: objectIn(input), additional_metadata: metadata });
    return typeof value === "string" ? value : JSON.stringify(value);
  } catch {
    return undefined; // That is the answer.
  }
}
