import { create } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import {
  Dispatcher,
  SDKS,
  WorkerLabelsSchema,
  WorkerRegisterRequestSchema,
} from "../../gen/dispatcher/dispatcher_pb.ts";
import { named } from "../ids.ts";
import type { Root } from "../root.ts";
import { show } from "../show.ts";

/** Who registers, and for what. */
export interface RegisterOptions {
  /** The worker's name: letters, digits, dot, dash, underscore; it need not be unique. */
  readonly name: string;
  /** What it runs, each as `workflow:task` in lower case. */
  readonly actions: readonly string[];
  /** How many tasks at once, in all or by slot type. @default 100 */
  readonly slots?: number | Readonly<Record<string, number>> | undefined;
  /** What tasks can ask for. */
  readonly labels?: Readonly<Record<string, string | number>> | undefined;
}

/** What the engine made of it: a new worker, every time. */
export interface Registration {
  readonly workerId: string;
  readonly name: string;
}

/** Checks the options once, before any I/O. @throws TypeError or RangeError saying option, rule and value */
export function checkRegistration({ name, actions, slots = 100, labels = {} }: RegisterOptions): void {
  named(name, "worker name");
  for (const action of actions) {
    if (typeof action !== "string" || !/^[^:\s]+(:[^:\s]+){1,2}$/.test(action)) {
      throw new TypeError(`actions must be "service:verb", got ${show(action)}`);
    }
  }
  for (const [type, units] of Object.entries(slotConfig(slots))) {
    if (!Number.isSafeInteger(units) || units < 1) {
      throw new RangeError(`slots must be whole and above 0, got ${show(units)} for ${JSON.stringify(type)}`);
    }
  }
  for (const [key, value] of Object.entries(labels)) {
    if (typeof value !== "string" && (!Number.isInteger(value) || Math.abs(value) >= 2 ** 31)) {
      throw new RangeError(
        `labels must be texts or 32-bit whole numbers, got ${show(value)} for ${JSON.stringify(key)}`,
      );
    }
  }
}

/** Registers a new worker with the engine. */
export async function register(root: Root, options: RegisterOptions, call: CallOptions): Promise<Registration> {
  const { name, actions, slots = 100 } = options;
  const { presetLabels } = root.config;
  const labels = Object.entries({ ...presetLabels, ...options.labels }).map(([key, value]) =>
    [key, create(WorkerLabelsSchema, typeof value === "number" ? { intValue: value } : { strValue: value })] as const
  );
  const request = create(WorkerRegisterRequestSchema, {
    workerName: name,
    actions: [...actions],
    services: ["default"],
    slotConfig: { ...slotConfig(slots) },
    labels: Object.fromEntries(labels),
    runtimeInfo: { language: SDKS.TYPESCRIPT, languageVersion: runtime(), sdkVersion: "coppice" },
  });
  const { workerId, workerName } = await root.rpc(Dispatcher).register(request, call);
  return { workerId, name: workerName };
}

function slotConfig(slots: number | Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return typeof slots === "number" ? { default: slots } : slots;
}

/** Which runtime this is, for whoever looks at the worker. */
function runtime(): string {
  const { versions, version } = process;
  /* c8 ignore next 2 -- Deno and Bun come here, and coverage is measured on Node. */
  if (versions["deno"] !== undefined) return `Deno ${versions["deno"]}`;
  return versions["bun"] !== undefined ? `Bun ${versions["bun"]}` : `Node ${version}`;
}
