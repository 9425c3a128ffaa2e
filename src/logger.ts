import { Code, ConnectError } from "@connectrpc/connect";
import type { StreamReport } from "./board.ts";
import { redact, show } from "./show.ts";
import { StreamError } from "./streams/errors.ts";

/**
 * Takes lines: a sentence, and what goes with it: texts, numbers and the like. `console` is one, and so are most loggers.
 * Of an error it is told the message; nothing that looks like a token gets there.
 */
export interface Logger {
  debug(message: string, fields: Readonly<Record<string, unknown>>): void;
  info(message: string, fields: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields: Readonly<Record<string, unknown>>): void;
  error(message: string, fields: Readonly<Record<string, unknown>>): void;
}

/** From which lines on to log; `off` logs none. */
export type LogLevel = "debug" | "info" | "warn" | "error" | "off";

/** In rising order. */
export const logLevels: readonly LogLevel[] = ["debug", "info", "warn", "error", "off"];

/** Writes a line each to stderr, so that stdout stays the program's own. Nothing that looks like a token gets out. */
export function stderrLogger(level: LogLevel): Logger {
  const line = (own: LogLevel) => (message: string, fields: Readonly<Record<string, unknown>>) => {
    if (logLevels.indexOf(own) < logLevels.indexOf(level)) return;
    const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${written(value)}`);
    // The console on stderr is where lines go that nobody asked for; only these two go there on every runtime.
    // oxlint-disable-next-line no-console
    (own === "warn" ? console.warn : console.error)(redact(`coppice ${own}: ${message}${pairs.join("")}`));
  };
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}

/** How much of what an error says is logged, in characters. */
const longest = 1000;

/** Keeps a logger's own trouble away from the streams it logs, and away from it whatever looks like a token. */
export function guarded(logger: Logger): Logger {
  const line = (own: keyof Logger) => (message: string, fields: Readonly<Record<string, unknown>>) => {
    void quietly(() => logger[own](redact(message), safe(fields)));
  };
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}

function safe(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, told(value)]));
}

/** As a text, unless it is a number or the like: an error's metadata, details and causes may hold anything. */
function told(value: unknown): unknown {
  if (typeof value === "string") return redact(value);
  if (value instanceof Error) return cut(redact(value.message));
  return typeof value === "object" && value !== null ? show(value) : value;
}

function cut(text: string): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

async function quietly(write: () => unknown): Promise<void> {
  try {
    await write();
  } catch {
    // A logger that fails has nobody to tell, and a stream must not end of it.
  }
}

/**
 * Turns reports into lines: a warning at the first failure in a row and at every fifth, a word when the stream is live
 * again, an error when it has ended with one. `stream` is whose report it is, whatever its id is at the moment. Of an
 * error only its code is logged: what else it says may hold anything.
 */
export function logStatus(logger: Logger): (report: StreamReport, stream: object) => void {
  const failing = new WeakMap<object, number>();
  return (report, entry) => {
    const { stream, id } = report;
    switch (report.state) {
      case "waiting": {
        const { failures, delayMs, error } = report;
        failing.set(entry, failures);
        if (failures !== 1 && (failures < 1 || failures % 5 !== 0)) return;
        const fields = { stream, id, failures, delayMs: Math.round(delayMs), ...coded(error) };
        return logger.warn("A stream was lost, and will be opened again", fields);
      }
      case "live": {
        const failures = failing.get(entry) ?? 0;
        failing.delete(entry);
        if (failures > 0) logger.info("A stream is live again", { stream, id, failures });
        return;
      }
      case "ended":
        failing.delete(entry);
        if (report.error !== undefined) logger.error("A stream has ended", { stream, id, ...coded(report.error) });
    }
  };
}

/** One word for an error: ours, gRPC's or the system's. */
function coded(error: unknown): { readonly code?: string } {
  if (error instanceof StreamError) return { code: error.code };
  if (error instanceof ConnectError) return { code: Code[error.code] };
  if (typeof error !== "object" || error === null || !("code" in error)) return {};
  return typeof error.code === "string" && /^[A-Z][A-Z0-9_]{1,40}$/.test(error.code) ? { code: error.code } : {};
}

/** On one line, and whole words bare. */
function written(value: unknown): string {
  if (typeof value === "string") return /^[\w.:@/+-]+$/.test(value) ? value : JSON.stringify(value);
  if (value instanceof Error) return JSON.stringify(value.message);
  return typeof value === "object" && value !== null ? json(value) : String(value);
}

function json(value: object): string {
  try {
    return JSON.stringify(value) ?? "{}";
  } catch {
    return "{…}"; // What JSON cannot carry is not worth losing the line.
  }
}
