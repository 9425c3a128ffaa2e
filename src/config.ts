import type { Interceptor, Transport } from "@connectrpc/connect";
import { resolveAddress, resolveToken } from "./config/credentials.ts";
import type { Variables } from "./config/environment.ts";
import { Environment, variable, variables } from "./config/environment.ts";
import { ConfigError } from "./errors.ts";
import type { HostPort } from "./config/hostport.ts";
import { uuid } from "./ids.ts";
import { presetLabels } from "./config/labels.ts";
import type { Logger, LogLevel } from "./logger.ts";
import { guarded, logLevels, stderrLogger } from "./logger.ts";
import type { ClientRetryOptions, KeepAlive, KeepAliveOptions, RetryPolicy } from "./config/policy.ts";
import { resolveKeepAlive, resolveRetry } from "./config/policy.ts";
import { show } from "./show.ts";
import type { Ask } from "./config/source.ts";
import type { Clock } from "./streams/clock.ts";
import { systemClock } from "./streams/clock.ts";
import type { TlsOptions, TlsSettings } from "./config/tls.ts";
import { resolveTls } from "./config/tls.ts";

export { loadTls } from "./config/tls.ts";

/**
 * How a client finds the engine and behaves. Every key is optional: `undefined` means the environment variable, then
 * what the token says, then the default.
 */
export interface ClientOptions {
  /** The API token, or a function that is asked for it at every call. @default HATCHET_CLIENT_TOKEN */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  /** The engine's `host:port`, or a function asked at every connect. @default HATCHET_CLIENT_HOST_PORT, or the token's */
  readonly hostPort?: string | (() => string | Promise<string>) | undefined;
  /** The base URL of the REST API. @default HATCHET_CLIENT_SERVER_URL, HATCHET_CLIENT_API_URL, or the token's */
  readonly serverUrl?: string | undefined;
  /** The tenant's UUID. @default HATCHET_CLIENT_TENANT_ID, or the token's */
  readonly tenantId?: string | undefined;
  /** Goes before the names of workflows and events. @default HATCHET_CLIENT_NAMESPACE, or nothing */
  readonly namespace?: string | undefined;
  /** How the connection is protected; `false` is plaintext. @default the HATCHET_CLIENT_TLS_ variables, or TLS */
  readonly tls?: false | TlsOptions | undefined;
  /** Gets the lines that streams cause; `false` for none. @default stderr, from HATCHET_CLIENT_LOG_LEVEL on, or info */
  readonly logger?: false | Logger | undefined;
  /** How often the engine is asked whether it lives; `false` means that a silent one is never noticed. */
  readonly keepAlive?: false | KeepAliveOptions | undefined;
  /** How streams and calls are tried again. */
  readonly retry?: ClientRetryOptions | undefined;
  /** Called around every call, the first outermost. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** Carries the calls instead of a connection of our own; then nothing of `hostPort`, `tls` or `keepAlive` is used. */
  readonly transport?: Transport | undefined;
  /** Time. @default the runtime's */
  readonly clock?: Clock | undefined;
  /** Chance: draws from [0, 1). @default Math.random */
  readonly random?: (() => number) | undefined;
  /** Closes the client. */
  readonly signal?: AbortSignal | undefined;
}

/** The options with every default in its place; inside the package this travels. */
export interface Config {
  /** The token of the moment. Rejects with the caller's own error, marked, when a function of theirs failed. */
  readonly token: Ask<string>;
  /** The engine's address of the moment; rejects as `token` does. */
  readonly address: Ask<HostPort>;
  /** Without a slash at its end; `undefined` when nothing but the answer of a token function can tell. */
  readonly serverUrl: string | undefined;
  /** `undefined` when nothing but the answer of a token function can tell. */
  readonly tenantId: string | undefined;
  /** Empty, or in lower case with an underscore at its end. */
  readonly namespace: string;
  /** `undefined` is plaintext. */
  readonly tls: TlsSettings | undefined;
  readonly keepAlive: KeepAlive;
  readonly retry: RetryPolicy;
  readonly maxReceiveBytes: number;
  readonly maxSendBytes: number;
  readonly logLevel: LogLevel;
  /** What every worker of this process is labelled with. */
  readonly presetLabels: Readonly<Record<string, string | number>>;
  /** Never throws. */
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly signal: AbortSignal | undefined;
  readonly interceptors: readonly Interceptor[];
  readonly transport: Transport | undefined;
}

/** The engine's own limit. */
const maxMessageBytes = 4 * 2 ** 20;

/**
 * Fills in what the options leave open. Opens nothing and reads no file.
 *
 * @throws ConfigError, RangeError or TypeError naming what makes no sense, and never a secret
 */
export function resolveConfig(options: ClientOptions = {}, values: Variables = variables()): Config {
  const env = new Environment(values);
  const { clock = systemClock, interceptors = [], random = Math.random, signal, transport } = options;
  const logLevel = env.word("LOG_LEVEL", logLevels) ?? "info";
  const credentials = resolveToken(options.token, env, clock.now());
  const { address, host } = resolveAddress(options, env, credentials);
  return {
    token: credentials.token,
    address,
    serverUrl: resolveUrl(options.serverUrl, env) ?? credentials.claims.serverUrl,
    tenantId: resolveTenant(options.tenantId, env) ?? credentials.claims.tenantId,
    namespace: resolveNamespace(options.namespace, env),
    tls: resolveTls(options.tls, env),
    keepAlive: resolveKeepAlive(options.keepAlive, host),
    retry: resolveRetry(options.retry, { noCallRetry: env.flag("NO_GRPC_RETRY"), noRestRetry: env.flag("NO_RETRY") }),
    maxReceiveBytes: env.count("GRPC_MAX_RECV_MESSAGE_LENGTH") ?? maxMessageBytes,
    maxSendBytes: env.count("GRPC_MAX_SEND_MESSAGE_LENGTH") ?? maxMessageBytes,
    logLevel,
    presetLabels: presetLabels(env),
    logger: resolveLogger(options.logger, logLevel),
    clock,
    random,
    signal,
    interceptors,
    transport,
  };
}

function resolveUrl(option: unknown, env: Environment): string | undefined {
  const value = option ?? env.text("SERVER_URL") ?? env.text("API_URL");
  if (value === undefined) return undefined;
  const url = typeof value === "string" && URL.canParse(value) ? new URL(value) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url.href.replace(/\/+$/, "");
  throw new ConfigError(variable("SERVER_URL", "serverUrl"), `must be a URL with http or https, got ${show(value)}`);
}

function resolveTenant(option: unknown, env: Environment): string | undefined {
  const value = option ?? env.text("TENANT_ID");
  try {
    return value === undefined ? undefined : uuid(value, "tenantId");
  } catch {
    throw new ConfigError(variable("TENANT_ID", "tenantId"), `must be a UUID, got ${show(value)}`);
  }
}

function resolveNamespace(option: unknown, env: Environment): string {
  const value = option ?? env.text("NAMESPACE") ?? "";
  if (typeof value === "string" && /^[\w.-]*$/.test(value)) {
    const namespace = value.toLowerCase();
    return namespace === "" || namespace.endsWith("_") ? namespace : `${namespace}_`;
  }
  const rule = 'must be made of letters, digits, ".", "-" and "_"';
  throw new ConfigError(variable("NAMESPACE", "namespace"), `${rule}, got ${show(value)}`);
}

function resolveLogger(option: ClientOptions["logger"], level: LogLevel): Logger {
  if (option === false) return stderrLogger("off");
  if (option === undefined) return stderrLogger(level);
  const isLogger = (["debug", "info", "warn", "error"] as const).every((name) => typeof option?.[name] === "function");
  if (isLogger) return guarded(option);
  throw new ConfigError({ option: "logger" }, "must be false, or have the methods debug, info, warn and error");
}
