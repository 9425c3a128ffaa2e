/**
 * gRPC for Connect's clients on Node, Deno and Bun, over connections that live: one at a time for all calls, pinged,
 * replaced when it is lost or asked to go, and quick to read.
 *
 * ```ts
 * import { createClient } from "@connectrpc/connect";
 * import { createTransport } from "coppice/transport";
 * import { Greeter } from "./gen/greeter_pb.ts";
 *
 * const transport = createTransport({ baseUrl: "https://greeter.example" });
 * const client = createClient(Greeter, transport);
 *
 * for await (const greeting of client.greetings({})) console.log(greeting.text);
 * await transport.close();
 * ```
 *
 * @module
 */
export type { TlsMaterial } from "./address.ts";
export type { CallingOptions } from "./channel.ts";
export { gzip } from "./gzip.ts";
export { createTransport, type GrpcTransport, type TransportOptions } from "./transport.ts";
export { isUnsent, StreamError, type StreamErrorCode } from "../streams/errors.ts";
