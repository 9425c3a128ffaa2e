import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { BaseMatchCondition, DurableEventListenerConditions } from "../../gen/v1/shared/condition_pb.ts";
import {
  BaseMatchConditionSchema,
  DurableEventListenerConditionsSchema,
  SleepMatchConditionSchema,
  UserEventMatchConditionSchema,
} from "../../gen/v1/shared/condition_pb.ts";
import { durationText } from "../ids.ts";
import { ordered, unwrap } from "../json.ts";
import { show } from "../show.ts";
import type { Completion } from "./durable-entry.ts";
import type { Invocation } from "./durable-errors.ts";
import { DurableError } from "./durable-errors.ts";

/** A time that must pass. */
export interface SleepCondition {
  /** Whole milliseconds; the engine may be a second or two late. */
  readonly sleepMs: number;
  /** Under which key its match is found. @default "sleep:" and the time, as in `sleep:10s` */
  readonly key?: string | undefined;
}

/** An event that must come. */
export interface EventCondition {
  /** The event's key. */
  readonly event: string;
  /** A CEL expression over `input`, the event's payload. @default any payload */
  readonly expression?: string | undefined;
  /** Only events that were pushed with this scope; durable tasks alone heed it. @default any, and those without */
  readonly scope?: string | undefined;
  /**
   * Takes events since then as well, for one that may have come already; durable tasks alone heed it. It needs a scope:
   * the engine does not look back for events without one.
   */
  readonly since?: Date | undefined;
  /** Under which key its match is found. @default the event's key */
  readonly key?: string | undefined;
}

/** What is waited for: a time, an event, or whichever of several comes first. */
export type DurableCondition =
  | SleepCondition
  | EventCondition
  | { readonly anyOf: readonly (SleepCondition | EventCondition)[] };

/** What satisfied a wait, by the conditions' keys: an event's payload, or a sleep's `sleep_duration`. */
export type Matches = Readonly<Record<string, readonly unknown[]>>;

/**
 * The conditions as the engine reads them, all of which must be met. Each has a base and a group, without which the
 * engine stumbles, and it never begins a wait for nothing.
 *
 * @throws TypeError or RangeError saying what makes no sense
 */
export function toConditions(
  conditions: DurableCondition | readonly DurableCondition[],
  namespace: string,
): DurableEventListenerConditions {
  const wire = create(DurableEventListenerConditionsSchema);
  for (const group of groups(conditions)) {
    const orGroupId = crypto.randomUUID();
    for (const condition of group) add(wire, condition, orGroupId, namespace);
  }
  return wire;
}

/** What satisfied a wait; empty bytes are none. @throws SyntaxError when it is no JSON */
export function toMatches(data: Uint8Array): Matches {
  if (data.length === 0) return {};
  const text = new TextDecoder().decode(data);
  let matches: unknown;
  try {
    matches = Object(JSON.parse(text))["CREATE"];
  } catch (cause) {
    throw new SyntaxError("What satisfied a durable wait is no JSON", { cause });
  }
  const keyed = Object.entries(Object(matches)).map(([key, found]) =>
    [key, (Array.isArray(found) ? found : [found]).map((one) => ordered(unwrap(one)))] as const
  );
  return Object.fromEntries(keyed);
}

/** What satisfied a wait of a durable task. @throws DurableError `failed`; SyntaxError when it is no JSON */
export function met({ error, payload }: Completion, of: Invocation): Matches {
  if (error !== undefined) throw new DurableError("failed", `a wait failed: ${error}`, of);
  return toMatches(payload);
}

/** Those of one group are alternatives. */
function groups(
  conditions: DurableCondition | readonly DurableCondition[],
): readonly (readonly (SleepCondition | EventCondition)[])[] {
  const list: readonly DurableCondition[] = isList(conditions) ? conditions : [conditions];
  if (list.length === 0) throw new TypeError("conditions must not be empty: nothing would ever satisfy them");
  return list.map((one) => {
    if (typeof one !== "object" || one === null || !("anyOf" in one)) return [one];
    if (Array.isArray(one.anyOf) && one.anyOf.length > 0) return one.anyOf;
    throw new TypeError(`anyOf must be a list of conditions, got ${show(one.anyOf)}`);
  });
}

function isList(conditions: DurableCondition | readonly DurableCondition[]): conditions is readonly DurableCondition[] {
  return Array.isArray(conditions);
}

function add(
  wire: DurableEventListenerConditions,
  condition: SleepCondition | EventCondition,
  orGroupId: string,
  namespace: string,
): void {
  if (typeof condition !== "object" || condition === null || ("sleepMs" in condition) === ("event" in condition)) {
    throw new TypeError(`a condition must have sleepMs, event or anyOf, got ${show(condition)}`);
  }
  if ("sleepMs" in condition) {
    const sleepFor = durationText(condition.sleepMs, "sleepMs");
    const base = baseOf(condition.key ?? `sleep:${sleepFor}`, orGroupId);
    wire.sleepConditions.push(create(SleepMatchConditionSchema, { base, sleepFor }));
    return;
  }
  const { event, expression = "", key = event, scope, since } = condition;
  if (typeof event !== "string" || event === "") throw new TypeError(`event must be a text, got ${show(event)}`);
  const sinceMs = since?.getTime();
  if (since !== undefined && !scope) throw new TypeError("since needs a scope: the engine looks back for no others");
  if (Number.isNaN(sinceMs)) throw new RangeError("since must be a date, got an invalid one");
  wire.userEventConditions.push(create(UserEventMatchConditionSchema, {
    base: baseOf(key, orGroupId, expression),
    userEventKey: namespace + event,
    ...(scope !== undefined && { eventScope: scope }),
    ...(sinceMs !== undefined && { considerEventsSince: timestampFromMs(sinceMs) }),
  }));
}

function baseOf(readableDataKey: string, orGroupId: string, expression = ""): BaseMatchCondition {
  if (typeof readableDataKey === "string" && readableDataKey !== "") {
    return create(BaseMatchConditionSchema, { readableDataKey, orGroupId, expression });
  }
  throw new TypeError(`key must be a text, got ${show(readableDataKey)}`);
}
