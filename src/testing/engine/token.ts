import { hex, uuid } from "./ids.ts";

/** What a token says of the engine that issued it. */
export interface TokenClaims {
  readonly tenantId: string;
  readonly hostPort: string;
  readonly issuedMs: number;
  readonly expiresMs: number;
}

/** Writes a token with the claims of a real one. Nobody can verify its signature: clients never do. */
export function mint(claims: TokenClaims, random: () => number): string {
  const url = `http://${claims.hostPort}`;
  const header = { alg: "ES256", kid: "embedded" };
  const body = {
    aud: url,
    exp: Math.floor(claims.expiresMs / 1000),
    grpc_broadcast_address: claims.hostPort,
    iat: Math.floor(claims.issuedMs / 1000),
    iss: url,
    server_url: url,
    sub: claims.tenantId,
    token_id: uuid(random),
  };
  return `${encode(JSON.stringify(header))}.${encode(JSON.stringify(body))}.${encode(hex(random, 64))}`;
}

/** The tokens the engine takes, and until when. */
export class Tokens {
  readonly #expiries = new Map<string, number>();

  accept(token: string, expiresMs: number): void {
    this.#expiries.set(token, expiresMs);
  }

  /** Whether a call with this `authorization` may pass: the scheme in any case, one space, a known token in time. */
  admits(authorization: string | undefined, now: number): boolean {
    const [, token] = /^bearer (\S+)$/i.exec(authorization ?? "") ?? [];
    const expiry = token === undefined ? undefined : this.#expiries.get(token);
    return expiry !== undefined && now < expiry;
  }
}

function encode(text: string): string {
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
