import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { BaseMatchCondition, DurableEventListenerConditions } from "../../proto.ts";
import { type Core, housekeep } from "./core.ts";
import { holds } from "./expression.ts";
import { isUuid } from "./ids.ts";
import { type JsonObject, write } from "./json.ts";
import { duration } from "./timing.ts";

interface Common {
  /** The name its match goes by in the answer. */
  readonly name: string;
  /** Those of one group are alternatives. */
  readonly group: string;
  readonly expression: string;
}

interface Sleep extends Common {
  readonly kind: "sleep";
  readonly text: string;
  readonly ms: number;
}

interface Event extends Common {
  readonly kind: "event";
  readonly eventKey: string;
  readonly scope: string | undefined;
  readonly sinceMs: number | undefined;
}

/** One condition of a durable wait. */
export type Condition = Sleep | Event;

/**
 * Reads the conditions of a wait.
 *
 * @throws ConnectError with `InvalidArgument` for what the engine finds fault with, any other error for what it does not
 * look for and stumbles over.
 */
export function readConditions(conditions: DurableEventListenerConditions): Condition[] {
  const sleeps = conditions.sleepConditions.map(({ base, sleepFor }): Sleep => {
    const ms = duration(sleepFor);
    if (ms === undefined) throw new ConnectError(`invalid duration: ${sleepFor}`, Code.InvalidArgument);
    return { kind: "sleep", text: sleepFor, ms, ...common(base) };
  });
  const events = conditions.userEventConditions.map((condition): Event => ({
    kind: "event",
    eventKey: condition.userEventKey,
    scope: condition.eventScope,
    sinceMs: condition.considerEventsSince === undefined ? undefined : timestampMs(condition.considerEventsSince),
    ...common(condition.base),
  }));
  return [...sleeps, ...events];
}

function common(base: BaseMatchCondition | undefined): Common {
  if (base === undefined) throw new Error("a condition without base");
  if (!isUuid(base.orGroupId)) throw new ConnectError(`invalid or group id: ${base.orGroupId}`, Code.InvalidArgument);
  return { name: base.readableDataKey, group: base.orGroupId, expression: base.expression };
}

/** What two equal waits have in common: neither groups nor scopes. */
export function fingerprint(conditions: readonly Condition[]): string {
  const parts = conditions.map((it) => [it.expression, it.name, it.kind, it.kind === "sleep" ? it.text : it.eventKey]);
  return JSON.stringify(parts.map((part) => JSON.stringify(part)).toSorted());
}

/** Who waits, and how. */
export interface Wait {
  /** False once nobody needs the answer any more. */
  alive(): boolean;
  /** Whether scopes and looks back count; the first generation ignores them. */
  readonly scoped: boolean;
  /** Called once, with JSON of what matched, when each group has a match. */
  done(data: string): void;
}

/** Watches until each group has a match. Without any condition that never comes. */
export function watch(core: Core, conditions: readonly Condition[], wait: Wait): void {
  const groups = new Set(conditions.map((condition) => condition.group));
  const matches: Record<string, JsonObject[]> = {};
  const alive = () => groups.size > 0 && wait.alive();
  const match = ({ group, name }: Condition, data: JsonObject) => {
    if (!alive()) return;
    (matches[name] ??= []).push(data);
    groups.delete(group);
    if (groups.size === 0) wait.done(write({ CREATE: matches }));
  };
  for (const condition of conditions) {
    if (condition.kind === "sleep") {
      housekeep(core, condition.ms, () => match(condition, { sleep_duration: condition.text }));
    } else {
      expect(core, condition, wait.scoped, alive, (data) => match(condition, data));
    }
  }
}

/** Calls `found` with the payload of the first event that fits. */
function expect(
  core: Core,
  { eventKey, expression, scope, sinceMs }: Event,
  scoped: boolean,
  alive: () => boolean,
  found: (payload: JsonObject) => void,
): void {
  let open = true;
  const waiter = {
    alive: () => open && alive(),
    take(event: { readonly payload: JsonObject | undefined; readonly scope: string | undefined }) {
      if (!open || event.payload === undefined || (scoped && scope !== undefined && scope !== event.scope)) return;
      if (!holds(expression, { input: event.payload })) return;
      open = false;
      found(event.payload);
    },
  };
  // As the real engine: what has no scope is not looked for.
  if (scoped && sinceMs !== undefined && scope !== undefined) {
    for (const event of core.userEvents.since(eventKey, sinceMs)) waiter.take(event);
  }
  if (waiter.alive()) core.userEvents.wait(eventKey, waiter);
}
