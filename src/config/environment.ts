import type { Setting } from "../errors.ts";
import { ConfigError } from "../errors.ts";
import { show } from "../show.ts";

/** Environment variables by their full names. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** The process's own variables; none where there is no process. */
export function variables(): Variables {
  return globalThis.process?.env ?? {};
}

/** Reads the variables that begin with `HATCHET_CLIENT_`; an empty one counts as unset, and so does one out of reach. */
export class Environment {
  readonly #variables: Variables;

  constructor(values: Variables) {
    this.#variables = values;
  }

  /** What the variable holds, without blanks around it. `name` is without the prefix. */
  text(name: string): string | undefined {
    return this.#read(`HATCHET_CLIENT_${name}`)?.trim() || undefined;
  }

  /** @throws ConfigError unless it says yes or no in one of the usual ways */
  flag(name: string): boolean {
    const text = this.text(name)?.toLowerCase() ?? "false";
    if (["true", "t", "1"].includes(text)) return true;
    if (["false", "f", "0"].includes(text)) return false;
    throw new ConfigError(variable(name), `must be true or false, got ${show(text)}`);
  }

  /** @throws ConfigError unless it is a whole number above 0 */
  count(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const count = /^\d+$/.test(text) ? Number(text) : NaN;
    if (Number.isSafeInteger(count) && count > 0) return count;
    throw new ConfigError(variable(name), `must be a whole number above 0, got ${show(text)}`);
  }

  /** @throws ConfigError unless it is one of the words, in whatever case */
  word<W extends string>(name: string, words: readonly W[]): W | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const word = words.find((one) => one === text.toLowerCase());
    if (word !== undefined) return word;
    throw new ConfigError(variable(name), `must be one of ${words.join(", ")}, got ${show(text)}`);
  }

  #read(name: string): string | undefined {
    try {
      return this.#variables[name];
    } catch (error) {
      // Deno without the permission to read this one: to us it is not set.
      if (error instanceof Error && (error.name === "NotCapable" || error.name === "PermissionDenied")) {
        return undefined;
      }
      throw error;
    }
  }
}

/** A setting that only the environment has, or that has an option too. */
export function variable(name: string, option?: string): Setting {
  return { variable: `HATCHET_CLIENT_${name}`, ...(option !== undefined && { option }) };
}
