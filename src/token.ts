import type { Setting } from "./errors.ts";
import { ConfigError } from "./errors.ts";

/** What a token says; whatever it does not say, or not as it should, is absent. */
export interface Claims {
  readonly tenantId?: string;
  /** Where the engine listens. */
  readonly hostPort?: string;
  /** The base URL of its REST API. */
  readonly serverUrl?: string;
  /** When it runs out, in epoch milliseconds. */
  readonly expiresAt?: number;
}

/** Three parts of base64url: nothing else may go into a header. */
const shape = /^[\w-]+\.([\w-]+)\.[\w-]+$/;

/** The names of the setting, for whoever reports trouble with it. */
export const tokenSetting: Setting = { option: "token", variable: "HATCHET_CLIENT_TOKEN" };

/**
 * Reads a token's claims. Nothing is verified: that is the engine's to do.
 *
 * @throws ConfigError when it is no token; the message holds no part of it
 */
export function claims(token: string): Claims {
  if (last?.token !== token) last = { token, claims: read(token) };
  return last.claims;
}

/** Every call carries a token, mostly the same. */
let last: { readonly token: string; readonly claims: Claims } | undefined;

function read(token: string): Claims {
  const [, middle = refuse()] = shape.exec(token) ?? [];
  const { sub, grpc_broadcast_address: address, server_url: url, exp } = body(middle);
  return {
    ...(isText(sub) && { tenantId: sub }),
    ...(isText(address) && { hostPort: address }),
    ...(isText(url) && { serverUrl: url }),
    ...(typeof exp === "number" && { expiresAt: exp * 1000 }),
  };
}

/** When a token runs out, in epoch milliseconds, if it says so. @throws ConfigError when it is no token */
export function expiresAt(token: string): number | undefined {
  return claims(token).expiresAt;
}

/** The object in one part of a token. */
function body(part: string): Record<string, unknown> {
  try {
    const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // The errors of decoders quote what they could not decode: none of it may be shown.
  }
  refuse();
}

function refuse(): never {
  throw new ConfigError(tokenSetting, "must be a Hatchet API token: three parts joined by dots, and this is not one");
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
