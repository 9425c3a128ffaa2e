import type { Interceptor, Transport } from "@connectrpc/connect";
import type { Config } from "./config.ts";
import { loadTls } from "./config.ts";
import type { Authorization } from "./root.ts";
import type { Channel } from "./transport/channel.ts";
import { openChannel } from "./transport/channel.ts";

/** The way to the engine that a configuration describes; each call carries the `authorization` of its moment. */
export function channelOf(config: Config, authorization: Authorization): Channel {
  const { address, clock, interceptors, keepAlive, maxReceiveBytes, maxSendBytes, retry, tls, transport } = config;
  if (transport !== undefined) return given(transport, authorization);
  const authorize: Interceptor = (next) => async (request) => {
    request.header.set("authorization", await authorization(request.signal));
    return await next(request);
  };
  return openChannel({
    address,
    clock,
    connectTimeoutMs: retry.connectTimeoutMs,
    interceptors: [...interceptors, authorize],
    readMaxBytes: maxReceiveBytes,
    writeMaxBytes: maxSendBytes,
    pingIntervalMs: keepAlive.intervalMs,
    pingTimeoutMs: keepAlive.timeoutMs,
    tls: tls && (() => loadTls({ tls })),
  });
}

/** A transport of the caller's: when it is connected, nothing can tell, and what it holds is theirs to close. */
function given(transport: Transport, authorization: Authorization): Channel {
  const authorized = async (header: HeadersInit | undefined, signal: AbortSignal | undefined): Promise<Headers> => {
    const headers = new Headers(header);
    headers.set("authorization", await authorization(signal));
    return headers;
  };
  return {
    transport: {
      unary: async (method, signal, timeoutMs, header, input, values) =>
        transport.unary(method, signal, timeoutMs, await authorized(header, signal), input, values),
      stream: async (method, signal, timeoutMs, header, input, values) =>
        transport.stream(method, signal, timeoutMs, await authorized(header, signal), input, values),
    },
    ready: () => Promise.resolve(undefined),
    up: () => Promise.resolve(undefined),
    connection: undefined,
    close: () => Promise.resolve(),
  };
}
