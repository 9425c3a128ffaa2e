import type { Environment } from "./environment.ts";
import { variable } from "./environment.ts";
import { ConfigError } from "../errors.ts";

/** What every worker of this process is labelled with. @throws ConfigError naming the variable */
export function presetLabels(env: Environment): Readonly<Record<string, string | number>> {
  const labels: Record<string, string | number> = {};
  for (const [key, value] of Object.entries(parse(env.text("WORKER_PRESET_LABELS") ?? "{}"))) {
    if (typeof value !== "string" && !isInt32(value)) refuse();
    labels[key] = value;
  }
  const target = env.text("AUTOSCALING_TARGET");
  return { ...labels, ...(target !== undefined && { "hatchet-autoscaling-target": target }) };
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // Said below, in the same words for whatever is no object.
  }
  return refuse();
}

function isInt32(value: unknown): value is number {
  return typeof value === "number" && (value | 0) === value;
}

function refuse(): never {
  const rule = "must be a JSON object whose values are texts or 32-bit whole numbers";
  throw new ConfigError(variable("WORKER_PRESET_LABELS"), rule);
}
