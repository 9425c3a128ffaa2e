import type { Environment } from "./environment.ts";
import { ConfigError } from "../errors.ts";
import type { HostPort } from "./hostport.ts";
import { hostPort, hostPortSetting } from "./hostport.ts";
import type { Ask } from "./source.ts";
import { asked } from "./source.ts";
import type { Claims } from "../token.ts";
import { claims, tokenSetting } from "../token.ts";

/** A setting, or a function that is asked for it each time. */
type Source = string | (() => string | Promise<string>);

/** What tells the token, and what is known of it before it is asked for. */
export interface Credentials {
  readonly token: Ask<string>;
  readonly claims: Claims;
  readonly isFunction: boolean;
}

/** @throws ConfigError when there is no token, or one that the engine would refuse */
export function resolveToken(option: Source | undefined, env: Environment, now: number): Credentials {
  if (typeof option === "function") return { token: asked(option, checkToken), claims: {}, isFunction: true };
  const token = option ?? env.text("TOKEN");
  if (token === undefined || token === "") {
    throw new ConfigError(tokenSetting, "is missing: pass the option, or set the variable");
  }
  const text = checkToken(token);
  const known = claims(text);
  if (known.expiresAt !== undefined && known.expiresAt <= now) {
    throw new ConfigError(tokenSetting, `has run out ${ago(now - known.expiresAt)} ago: the engine would refuse it`);
  }
  return { token: () => Promise.resolve(text), claims: known, isFunction: false };
}

function checkToken(token: unknown): string {
  if (typeof token !== "string") throw new ConfigError(tokenSetting, `must be a text, got ${typeof token}`);
  const text = token.trim();
  claims(text);
  return text;
}

/**
 * Where the engine is: `host` if that is known before it is asked for. With a transport of the caller's it need not be.
 *
 * @throws ConfigError when nothing tells, or what tells makes no sense
 */
export function resolveAddress(
  { hostPort: option, transport }: { readonly hostPort?: Source | undefined; readonly transport?: unknown },
  env: Environment,
  { claims: { hostPort: claimed }, isFunction, token }: Credentials,
): { readonly address: Ask<HostPort>; readonly host?: string } {
  if (typeof option === "function") return { address: asked(option, hostPort) };
  const known = option ?? env.text("HOST_PORT") ?? claimed;
  if (known === undefined && (isFunction || transport !== undefined)) {
    return { address: asked(token, (told) => hostPort(claims(told).hostPort ?? absent())) };
  }
  const address = hostPort(known ?? absent());
  return { address: () => Promise.resolve(address), host: address.host };
}

function absent(): never {
  throw new ConfigError(
    hostPortSetting,
    "is missing, and the token names no address: pass the option, or set the variable",
  );
}

function ago(ms: number): string {
  const units = [["days", 86_400_000], ["hours", 3_600_000], ["minutes", 60_000]] as const;
  const [unit, size] = units.find(([, one]) => ms >= 2 * one) ?? ["seconds", 1000];
  return `${Math.floor(ms / size)} ${unit}`;
}
