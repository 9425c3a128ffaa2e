/** Where a setting comes from: the option, the environment variable, or both. */
export interface Setting {
  /** As `createClient()` takes it. */
  readonly option?: string;
  /** The full name of the environment variable. */
  readonly variable?: string;
}

/** How one task of a run ended badly. */
export interface RunFailure {
  /** The task's name. */
  readonly task: string;
  readonly taskId: string;
  /** What the task reported; empty for a task that was cancelled. */
  readonly message: string;
}

const configBrand: symbol = Symbol.for("coppice.ConfigError");
const failedBrand: symbol = Symbol.for("coppice.RunFailedError");
const cancelledBrand: symbol = Symbol.for("coppice.RunCancelledError");

/** A setting is missing or makes no sense; the message names the option and the variable, and never shows a secret. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** The option at fault, as `createClient()` takes it. */
  readonly option: string | undefined;
  /** The environment variable that sets the same. */
  readonly variable: string | undefined;

  /** `problem` continues a sentence that begins with the setting's names. */
  constructor(setting: Setting, problem: string, options?: { readonly cause?: unknown }) {
    super(`${named(setting)} ${problem}`, options);
    this.option = setting.option;
    this.variable = setting.variable;
    mark(this, configBrand);
  }

  /** Two installed copies of this package know each other's errors. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isMarked(this, ConfigError, configBrand, value);
  }
}

/** A run failed; `failures` tells which of its tasks did, and what they said. */
export class RunFailedError extends Error {
  override readonly name = "RunFailedError";
  readonly runId: string;
  /** One for each task that did not complete, in the engine's order. */
  readonly failures: readonly RunFailure[];

  constructor(runId: string, failures: readonly RunFailure[], options?: { readonly cause?: unknown }) {
    super(`Run ${runId} failed${told(failures)}`, options);
    this.runId = runId;
    this.failures = failures;
    mark(this, failedBrand);
  }

  /** Two installed copies of this package know each other's errors. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isMarked(this, RunFailedError, failedBrand, value);
  }
}

/** A run was cancelled before it was done. */
export class RunCancelledError extends Error {
  override readonly name = "RunCancelledError";
  readonly runId: string;
  /** One for each task that did not complete, in the engine's order. */
  readonly failures: readonly RunFailure[];

  constructor(runId: string, failures: readonly RunFailure[], options?: { readonly cause?: unknown }) {
    super(`Run ${runId} was cancelled${told(failures)}`, options);
    this.runId = runId;
    this.failures = failures;
    mark(this, cancelledBrand);
  }

  /** Two installed copies of this package know each other's errors. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isMarked(this, RunCancelledError, cancelledBrand, value);
  }
}

/**
 * What a failed task said. Each client writes it down in its own way: as an object with a message, as a JSON string or
 * as plain text; what is neither of the first two is the text itself.
 */
export function failureText(payload: string): string {
  try {
    const value: unknown = JSON.parse(payload);
    if (typeof value === "string" && value !== "") return value;
    if (typeof value === "object" && value !== null && "message" in value && typeof value.message === "string") {
      return value.message || payload;
    }
  } catch {
    // Plain text.
  }
  return payload;
}

function named({ option, variable }: Setting): string {
  if (option === undefined || variable === undefined) return option ?? variable ?? "The configuration";
  return `${option} (${variable})`;
}

/** The first failure with a text, by its first line, and how many there are besides. */
function told(failures: readonly RunFailure[]): string {
  const first = failures.find(({ message }) => message !== "");
  if (first === undefined) return "";
  const more = failures.length - 1;
  const rest = more === 0 ? "" : ` (and ${more} more ${more === 1 ? "task" : "tasks"})`;
  return `: task ${line(first.task, 100)}: ${line(first.message, 300)}${rest}`;
}

/** The first line of a text, or as much of it as a message bears. */
function line(text: string, longest: number): string {
  const first = text.trimStart().split(/[\r\n]/, 1)[0] ?? "";
  return first.length > longest ? `${first.slice(0, longest)}…` : first;
}

function mark(error: Error, brand: symbol): void {
  Object.defineProperty(error, brand, { value: true });
}

/** By brand, except for somebody's subclass: not every error of ours is one of theirs. */
function isMarked(asked: unknown, ours: unknown, brand: symbol, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return asked === ours ? brand in value : Function.prototype[Symbol.hasInstance].call(asked, value);
}
