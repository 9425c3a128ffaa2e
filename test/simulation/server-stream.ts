import type { ConnectError } from "@connectrpc/connect";
import type { Engine } from "./engine.ts";
import type { Item, Wire } from "./network.ts";
import type { Worker } from "./runs.ts";

/** The engine's end of a stream. */
export class ServerStream {
  readonly method: string;
  /** What it runs on. */
  readonly wire: Wire;
  /** Ids subscribed to and not reported yet. */
  readonly ids = new Set<string>();
  worker: Worker | undefined;
  readonly openedAt: number;
  open = true;
  readonly #engine: Engine;
  readonly #send: (item: Item) => void;

  constructor(engine: Engine, method: string, openedAt: number, wire: Wire, send: (item: Item) => void) {
    this.method = method;
    this.openedAt = openedAt;
    this.wire = wire;
    this.#engine = engine;
    this.#send = send;
  }

  send(message: unknown): void {
    this.#send({ message });
  }

  /** Ends the call with OK or a status of the engine's. */
  finish(error?: ConnectError): void {
    if (!this.open) return;
    this.end();
    this.#send({ error });
  }

  request(message: { workflowRunId: string } & { workerId: string }): void {
    if (this.open) this.#engine.request(this, message);
  }

  /** The client is gone, or was told that the stream is. */
  end(): void {
    if (!this.open) return;
    this.open = false;
    this.#engine.closed(this);
  }
}
