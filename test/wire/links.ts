import type { GrpcTransport, TransportOptions } from "../../src/transport/transport.ts";
import { createTransport } from "../../src/transport/transport.ts";
import type { Session } from "../../src/transport/session.ts";
import type { Test } from "../harness.ts";
import type { Handler, RawServer } from "./server.ts";
import { rawServer } from "./server.ts";

/** The servers and the transports of a file's tests, each gone after its test. */
export class Links {
  server: RawServer | undefined;
  readonly #transports: GrpcTransport[] = [];

  constructor(test: Test) {
    test.after.each(async () => {
      await Promise.all(this.#transports.splice(0).map((transport) => transport.close()));
      await this.server?.kill();
      this.server = undefined;
    });
  }

  to(hostPort: string, options: Partial<TransportOptions> = {}): GrpcTransport {
    const transport = createTransport({ baseUrl: `http://${hostPort}`, ...options });
    this.#transports.push(transport);
    return transport;
  }

  async serve(handle: Handler, options: Partial<TransportOptions> = {}): Promise<GrpcTransport> {
    this.server = await rawServer(handle);
    return this.to(this.server.hostPort, options);
  }
}

/** How many streams are open on our side. */
export function opened({ connection }: GrpcTransport): number {
  return (connection as Session | undefined)?.open ?? 0; // A transport's connection is a session.
}
