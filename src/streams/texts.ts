import type { ConnectError } from "@connectrpc/connect";

/*
 * The only file that reads what errors say instead of what they are: here the protocol leaves nothing else. Connect
 * makes the first three locally, without a header or a cause to tell them by.
 */

/** A stream that ended without trailers: the wire was lost behind a server or proxy that closed politely. */
export function endedWithoutStatus(error: ConnectError): boolean {
  return error.rawMessage.endsWith("missing status");
}

/** A message cut in the middle; Connect calls it an invalid argument. */
export function cutInsideMessage(error: ConnectError): boolean {
  return error.rawMessage.endsWith("incomplete envelope");
}

/** An HTTP status where a stream was expected: a proxy's answer, whatever code it was mapped to. */
export function httpStatusOnly(error: ConnectError): boolean {
  return /^HTTP \d{3}$/.test(error.rawMessage);
}

/** What `fetch` says of a lost or unreachable peer; a TypeError is all that tells it from a mistake in an interceptor. */
export function fetchFailed(cause: unknown): boolean {
  return cause instanceof TypeError &&
    /fetch failed|failed to fetch|network|terminated|load failed|body from connection|sending request/i.test(
      cause.message,
    );
}
