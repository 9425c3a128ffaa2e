import type { ConnectError } from "@connectrpc/connect";

/*
 * The only file that reads what errors say instead of what they are: here the protocol leaves nothing else. Connect
 * makes all of these locally, and for most of them gives no header and no cause to tell them by.
 */

/** What the wire or a proxy did, whatever code Connect gave it. */
export function saidOfWire({ rawMessage }: ConnectError): boolean {
  return wire.some((text) => text.test(rawMessage));
}

const wire: readonly RegExp[] = [
  // A stream that ended without trailers: the wire was lost behind a server or proxy that closed politely. Over gRPC,
  // gRPC-web and Connect; over the last one it is called an invalid argument.
  /missing (status|trailer|EndStreamResponse)$/,
  // A message cut in the middle, an invalid argument too.
  /incomplete envelope$/,
  // An HTTP status where a stream was expected: a proxy's answer.
  /^HTTP \d{3}$/,
  // A reset or a GOAWAY that Connect explains by itself: exhausted resources, a permission denied, and others.
  /^http\/2 (stream|connection) closed/,
  /^sentinel completed early$/,
];

/** What came is no stream of the protocol spoken, or in an encoding that nobody asked for. */
export function saidOfProtocol({ rawMessage }: ConnectError): boolean {
  return /^(protocol error: |unexpected end flag|failed to parse EndStreamResponse|unsupported response encoding)/.test(
    rawMessage,
  );
}

/** A message that the peer will never take: it is larger than its limit. */
export function saidOfSize({ rawMessage }: ConnectError): boolean {
  return /message larger than max/.test(rawMessage);
}

/** Too many calls in too short a time: refused before anything was done. */
export function saidOfRate({ rawMessage }: ConnectError): boolean {
  return /rate limit|rate_limit|ratelimit/i.test(rawMessage);
}

/** What `fetch` says of a lost or unreachable peer; a TypeError is all that tells it from a mistake in an interceptor. */
export function fetchFailed(cause: unknown): boolean {
  return cause instanceof TypeError &&
    /fetch failed|failed to fetch|network|terminated|load failed|body from connection|sending request/i.test(
      cause.message,
    );
}
