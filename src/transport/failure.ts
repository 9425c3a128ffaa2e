import { Code, ConnectError } from "@connectrpc/connect";
import { markCaller, markUnsent } from "../streams/errors.ts";

/** What no error of the system told: the peer let us down before a word of HTTP/2. */
export class DialError extends Error {
  override readonly name = "DialError";
  /** As the system would put it. */
  readonly code: "ECONNRESET" | "ETIMEDOUT";

  constructor(code: "ECONNRESET" | "ETIMEDOUT", message: string) {
    super(message);
    this.code = code;
  }
}

/** No connection came about, for the reason in `cause`: whatever was to be sent on it was not. */
export function unreachable(cause: unknown): ConnectError {
  return markUnsent(new ConnectError(textOf(cause), Code.Unavailable, undefined, undefined, cause));
}

/** Something that the caller gave us, and that we asked or used before anything was sent, threw this. */
export function callers(thrown: unknown): object {
  if (typeof thrown === "object" && thrown !== null) return markUnsent(markCaller(thrown));
  const said = typeof thrown === "string" ? thrown : typeof thrown;
  return markUnsent(markCaller(new Error(`Not an Error was thrown: ${said}`)));
}

/** What was thrown, in words. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
