import {
  CreateTaskOptsSchema,
  type CreateWorkflowVersionRequest,
  CreateWorkflowVersionRequestSchema,
  IdempotencyMethod,
  StickyStrategy,
} from "../../gen/v1/workflows_pb.ts";
import { create } from "@bufbuild/protobuf";
import { durationText, named, priority as checkPriority } from "../ids.ts";
import { show } from "../show.ts";
import type { Context } from "./context.ts";

/** What a task is, and how the engine runs it. */
export interface TaskOptions<I, O> {
  /** The task's name, and its workflow's: letters, digits, dot, dash, underscore. */
  readonly name: string;
  /** Does the work. What it returns is the output; what it throws fails the attempt. */
  readonly run: (input: I, context: Context) => O | Promise<O>;
  readonly description?: string | undefined;
  /** How often a failed attempt is tried again. @default 0 */
  readonly retries?: number | undefined;
  /** Waits between tries: the nth is `factor`ⁿ seconds, at most `maxMs`; the factor is 1 or more. @default none */
  readonly backoff?: { readonly factor: number; readonly maxMs?: number | undefined } | undefined;
  /** How long an attempt may run, from its assignment on, in milliseconds. @default 60_000 */
  readonly timeoutMs?: number | undefined;
  /** How long it may wait for a worker, in milliseconds. @default 300_000 */
  readonly scheduleTimeoutMs?: number | undefined;
  /** How many of a worker's slots it takes. @default 1 */
  readonly slots?: number | undefined;
  /**
   * Whether a run goes to the worker that its trigger asks for: `"hard"` to that one only, `"soft"` to another while that
   * one cannot take it. Without it the engine does not heed the wish.
   */
  readonly sticky?: "soft" | "hard" | undefined;
  /** Keys of the events that trigger it. */
  readonly onEvents?: readonly string[] | undefined;
  /** When it is triggered, as cron expressions. */
  readonly onCron?: readonly string[] | undefined;
  /** Which runs go first, 1 to 3; the higher. */
  readonly priority?: number | undefined;
  /**
   * Runs of the same key are one: while `forMs` lasts, triggering another gives the run that there is. The key is an
   * expression over the run, such as `input.order`.
   */
  readonly idempotency?: { readonly expression: string; readonly forMs: number } | undefined;
}

const strategies = { soft: StickyStrategy.SOFT, hard: StickyStrategy.HARD } as const;

/** A task: a definition without a client, so that who triggers it needs no token to import it. */
export interface Task<I = unknown, O = unknown> extends TaskOptions<I, O> {
  readonly kind: "task";
}

/** Any task, whatever it takes and gives. */
// oxlint-disable-next-line typescript/no-explicit-any -- what one task takes concerns no other, and `unknown` fits none
export type AnyTask = Task<any, any>;

/**
 * Defines a task, to be run by a worker and triggered by anybody.
 *
 * @throws TypeError or RangeError saying option, rule and value
 *
 * @example
 * ```ts
 * export const report = task({
 *   name: "report",
 *   run: async ({ month }: { month: string }) => ({ total: month.length }),
 * });
 * ```
 */
export function task<I, O>(options: TaskOptions<I, O>): Task<I, O> {
  named(options.name, "task name");
  if (typeof options.run !== "function") throw new TypeError(`run must be a function, got ${typeof options.run}`);
  definition(options, "");
  return Object.freeze({ ...options, kind: "task" });
}

/** What a worker registers for a task: `workflow:task`. */
export function actionId(name: string, namespace: string): string {
  return `${namespace}${name}:${name}`.toLowerCase();
}

/** The workflow of one task, as the engine stores it; every duration is said, or the engine's own would hold. */
export function definition<I, O>(options: TaskOptions<I, O>, namespace: string): CreateWorkflowVersionRequest {
  const { backoff, description = "", idempotency, name, onCron = [], onEvents = [], priority } = options;
  const { retries = 0, scheduleTimeoutMs = 300_000, slots = 1, sticky, timeoutMs = 60_000 } = options;
  whole("retries", retries, 0);
  whole("slots", slots, 1);
  if (backoff !== undefined && !(backoff.factor >= 1)) {
    throw new RangeError(`backoff.factor must be 1 or more, got ${show(backoff.factor)}`);
  }
  if (sticky !== undefined && !Object.hasOwn(strategies, sticky)) {
    throw new TypeError(`sticky must be "soft" or "hard", got ${show(sticky)}`);
  }
  if (priority !== undefined) checkPriority(priority);
  if (idempotency !== undefined) whole("idempotency.forMs", idempotency.forMs, 1);
  const step = create(CreateTaskOptsSchema, {
    readableId: name,
    action: actionId(name, namespace),
    timeout: durationText(timeoutMs),
    scheduleTimeout: durationText(scheduleTimeoutMs),
    inputs: "{}",
    retries,
    slotRequests: { default: slots },
    ...(backoff !== undefined && { backoffFactor: backoff.factor }),
    ...(backoff?.maxMs !== undefined && { backoffMaxSeconds: Math.max(1, Math.round(backoff.maxMs / 1000)) }),
  });
  return create(CreateWorkflowVersionRequestSchema, {
    name: namespace + name,
    description,
    eventTriggers: onEvents.map((key) => namespace + key),
    cronTriggers: [...onCron],
    tasks: [step],
    ...(priority !== undefined && { defaultPriority: priority }),
    ...(sticky !== undefined && { sticky: strategies[sticky] }),
    ...(idempotency !== undefined && {
      idempotency: {
        expression: idempotency.expression,
        ttlMs: BigInt(idempotency.forMs),
        method: IdempotencyMethod.TTL,
      },
    }),
  });
}

function whole(name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new RangeError(`${name} must be a whole number from ${least} on, got ${show(value)}`);
  }
}
