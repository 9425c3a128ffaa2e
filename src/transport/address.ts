import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { connect as connectTcp, isIP, isIPv6 } from "node:net";
import type { SecureVersion } from "node:tls";
import { connect as connectTls } from "node:tls";

/** Where to connect. */
export interface Address {
  /** A name or an IP address, without brackets. */
  readonly host: string;
  readonly port: number;
  /** The name that the peer's certificate must bear and that requests ask for. @default TlsMaterial.serverName */
  readonly serverName?: string | undefined;
}

/** What TLS needs, in PEM. */
export interface TlsMaterial {
  /** The authorities to trust instead of the runtime's own. */
  readonly ca?: string | Buffer | (string | Buffer)[] | undefined;
  /** Our certificate, where the peer asks for one. */
  readonly cert?: string | Buffer | undefined;
  /** The key to it. */
  readonly key?: string | Buffer | undefined;
  /** The name that the peer's certificate must bear and that requests ask for. @default the host */
  readonly serverName?: string | undefined;
  /** The oldest TLS to speak. @default the runtime's, "TLSv1.2" */
  readonly minVersion?: SecureVersion | undefined;
}

/**
 * Begins to connect.
 *
 * @throws TypeError, RangeError or an error of the TLS library, when the address or the material makes no sense
 */
export function connect({ host, port, serverName }: Address, tls: TlsMaterial | undefined): Socket {
  if (tls === undefined) return connectTcp({ host, port });
  const { serverName: usual, ...material } = tls;
  assertFits(tls);
  const name = serverName ?? usual ?? host;
  // A certificate is asked for by name; an IP address is checked against the certificate all the same.
  return connectTls({ host, port, ALPNProtocols: ["h2"], ...material, ...(isIP(name) === 0 && { servername: name }) });
}

/** What requests name as their authority, as gRPC has it: the server's name, or the address itself. */
export function authority({ host, port, serverName }: Address, tls: TlsMaterial | undefined): string {
  return serverName ?? tls?.serverName ?? `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** Deno takes a certificate that is none, or another's key, and then fails at the peer, where nobody looks for it. */
function assertFits({ cert, key }: TlsMaterial): void {
  if (cert === undefined || key === undefined) return;
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new TypeError("The TLS key does not belong to the certificate");
  }
}
