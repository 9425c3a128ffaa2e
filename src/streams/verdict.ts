import { Code, ConnectError } from "@connectrpc/connect";
import { isCaller } from "./errors.ts";
import { fetchFailed, saidOfProtocol, saidOfWire } from "./texts.ts";

/**
 * What an ending means for the stream: come back (`transient`), come back rarely (`doubt`), come back but not for ever
 * (`suspect`), stop (`end`), give up (`fatal`), or throw what is the caller's own mistake as it is (`bug`).
 */
export type Verdict = "transient" | "doubt" | "suspect" | "end" | "fatal" | "bug";

/** Who ended a stream: the peer by a status of its own, the wire or a proxy, we for what we could not take, or the caller's code. */
export type Origin = "engine" | "wire" | "local" | "caller";

/** How one attempt ended. */
export interface Ending {
  /** What was thrown; `undefined` when the peer ended the stream with OK. */
  readonly error: unknown;
  /** Who ended it; a stream that ended with OK was ended by the peer. */
  readonly origin: Origin;
  /** Whether the stream was live in this attempt or an earlier one. */
  readonly wasLive: boolean;
  /** Whether a message came in this attempt. */
  readonly heard: boolean;
  /** Whether the request was sent in this attempt. */
  readonly sent: boolean;
  /** Whether the stream ended alone: the connection it ran on lives on. */
  readonly alone: boolean;
}

/** What the peer's own OK ends and Canceled mean: come back, or stop. */
export type OnEnd = (error?: unknown) => "transient" | "end";

/** The peer's own statuses that are verdicts by themselves; Canceled goes by `onEnd`, every other one is suspect. */
const byCode: Readonly<Partial<Record<Code, Verdict>>> = {
  [Code.Unavailable]: "transient",
  [Code.Internal]: "transient",
  [Code.DeadlineExceeded]: "transient",
  [Code.ResourceExhausted]: "transient",
  [Code.Unauthenticated]: "fatal",
  [Code.PermissionDenied]: "fatal",
  [Code.InvalidArgument]: "fatal",
  [Code.FailedPrecondition]: "fatal",
  [Code.NotFound]: "fatal",
  [Code.Unimplemented]: "fatal",
};

/** The usual verdict on an ending: its origin first, then its code. */
export function judge(ending: Ending, onEnd: OnEnd): Verdict {
  const { error, origin, wasLive } = ending;
  switch (origin) {
    case "engine":
      if (!(error instanceof ConnectError) || error.code === Code.Canceled) return onEnd(error);
      return byCode[error.code] ?? "suspect";
    case "wire":
      return isCertificate(error) && !wasLive ? "fatal" : "transient";
    case "local":
      return "suspect";
    case "caller":
      return isCaller(error) && wasLive ? "transient" : "bug";
  }
}

/**
 * Who made an error. A status that the peer sent shows in the error's metadata, over gRPC and gRPC-web as itself, at the
 * end of a Connect stream by the headers that came before it; of what shows neither only the codes that no wire makes
 * are taken for the peer's.
 */
export function originOf(error: unknown): Origin {
  if (!(error instanceof ConnectError) || isCaller(error)) return "caller";
  if (error.metadata.has("grpc-status")) return "engine";
  if (isCertificate(error) || saidOfWire(error)) return "wire";
  if (saidOfProtocol(error)) return "local";
  if (error.metadata.get("content-type")?.startsWith("application/connect+")) return "engine";
  const { code, cause } = error;
  if (code === Code.ResourceExhausted) return "local";
  if (code === Code.Internal && cause === undefined) return "local";
  if (code === Code.InvalidArgument && cause instanceof Error) return "local"; // JSON that does not parse.
  if (cause instanceof URIError) return "local"; // A status whose message is not encoded as it should be.
  if ((code === Code.Unknown || code === Code.Internal) && isThrown(cause)) return "caller";
  return byCode[code] === "fatal" ? "engine" : "wire";
}

/** What Connect wrapped because somebody's code threw it; errors of the system carry a code. */
function isThrown(cause: unknown): cause is Error {
  return cause instanceof Error && codeOf(cause) === undefined && !fetchFailed(cause);
}

/** A peer whose certificate or TLS does not fit: no waiting mends it, unless it fitted before. */
function isCertificate(error: unknown): boolean {
  const code = error instanceof ConnectError ? codeOf(error.cause) : undefined;
  return code !== undefined && /^(ERR_(TLS|SSL)_|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH)/.test(code);
}

/** The `code` that the system gave an error, or the error behind it. */
function codeOf(cause: unknown, depth = 4): string | undefined {
  if (!(cause instanceof Error) || depth === 0) return undefined;
  return "code" in cause && typeof cause.code === "string" ? cause.code : codeOf(cause.cause, depth - 1);
}
