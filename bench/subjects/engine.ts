import type { Client } from "../../src/mod.ts";
import { createClient } from "../../src/mod.ts";
import { mint } from "../../src/testing/engine/token.ts";
import { seeded } from "../../src/testing/random.ts";

/** A client with every default, of the source at this address; only its logger is silent. */
export function clientOf(hostPort: string): Client {
  const issuedMs = Date.now();
  const claims = { tenantId: runId("0", 0), hostPort, issuedMs, expiresMs: issuedMs + 3_600_000 };
  return createClient({ hostPort, logger: false, tls: false, token: mint(claims, seeded(1)) });
}

/** The id of a run; the source goes by its first letter. */
export function runId(letter: string, number: number): string {
  return `${letter}${number.toString(16).padStart(7, "0")}-0000-4000-8000-000000000000`;
}
