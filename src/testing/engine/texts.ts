import { headerGrpcMessage } from "@connectrpc/connect/protocol-grpc";

/** Brings the texts of Connect's own refusals into the words of the real server, which clients match. */
export function likeGrpcGo(trailer: Headers | undefined): void {
  const message = decodeURIComponent(trailer?.get(headerGrpcMessage) ?? "");
  const size = /message size (\d+) is larger than configured readMaxBytes (\d+)/.exec(message);
  const encoding = /unknown compression "([^"]*)"/.exec(message);
  const text = size !== null
    ? `grpc: received message larger than max (${size[1]} vs. ${size[2]})`
    : encoding !== null
    ? `grpc: Decompressor is not installed for grpc-encoding "${encoding[1]}"`
    : undefined;
  if (text !== undefined) trailer?.set(headerGrpcMessage, encodeURIComponent(text));
}
