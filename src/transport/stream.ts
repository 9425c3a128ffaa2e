import type { ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { constants } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { markUnsent } from "../streams/errors.ts";

/**
 * Sees to it that a call's stream ends whatever the peer does: with an error when it closed without a response, which
 * Connect would wait for in vain, and with nothing unread when the response is not gRPC, which Connect would not read.
 * Tells when it closed, and with which code.
 */
export function watch(stream: ClientHttp2Stream, closed: (code: number) => void): void {
  let answered = false;
  let failure: unknown;
  // For the stream's whole life: an error that comes after Connect has left must not be uncaught.
  stream.on("error", (error) => {
    failure ??= error;
    // The peer promises that it did nothing with a stream it refused, say one that crossed its GOAWAY.
    if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) markUnsent(error);
  });
  stream.once("response", (headers) => {
    answered = true;
    decodable(headers);
    if (!isGrpc(headers)) stream.resume();
  });
  stream.once("trailers", decodable);
  stream.once("close", () => {
    closed(stream.rstCode);
    // Connect listens a moment after the stream was made, and makes an error of its own of most codes first.
    if (!answered) setImmediate(() => stream.emit("error", failure ?? unanswered()));
  });
}

/** Over a message that is not encoded as it should be, Connect would forget the status, and blame the caller. */
function decodable(fields: IncomingHttpHeaders): void {
  const message = fields["grpc-message"];
  if (typeof message !== "string") return;
  try {
    decodeURIComponent(message);
  } catch {
    fields["grpc-message"] = message.replaceAll("%", "%25"); // Then it is read as it stands.
  }
}

/** Whether somebody will read the body. */
function isGrpc(headers: IncomingHttpHeaders & IncomingHttpStatusHeader): boolean {
  return headers[":status"] === 200 && headers["content-type"]?.startsWith("application/grpc") === true;
}

function unanswered(): ConnectError {
  return new ConnectError("The stream closed without a response", Code.Unavailable);
}
