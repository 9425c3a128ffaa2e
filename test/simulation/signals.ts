import type { ListenForDurableEventRequest } from "../../gen/v1/dispatcher_pb.ts";
import type { ServerStream } from "./server-stream.ts";

/** How many keys the engine looks up in one round. */
const roundSize = 1000;

/** The model engine's ListenForDurableEvent: a signal that was given once is there for whoever asks, however late. */
export class Signals {
  /** How many signals will count as sent and never leave. */
  losing = 0;
  /** How many will leave twice. */
  doubling = 0;
  readonly #given = new Set<string>();
  /** What each stream asked for and was not told yet. */
  readonly #asked = new Map<ServerStream, Map<string, ListenForDurableEventRequest>>();

  give(taskId: string, signalKey: string): void {
    this.#given.add(nameOf({ taskId, signalKey }));
  }

  has(taskId: string, signalKey: string): boolean {
    return this.#given.has(nameOf({ taskId, signalKey }));
  }

  /** Whether the stream asks for it, or need not. */
  isAsked(stream: ServerStream, taskId: string, signalKey: string): boolean {
    const name = nameOf({ taskId, signalKey });
    return this.#given.has(name) || this.#asked.get(stream)?.has(name) === true;
  }

  take(stream: ServerStream, request: ListenForDurableEventRequest): void {
    const asked = this.#asked.get(stream) ?? new Map<string, ListenForDurableEventRequest>();
    this.#asked.set(stream, asked.set(nameOf(request), request));
  }

  closed(stream: ServerStream): void {
    this.#asked.delete(stream);
  }

  /** One round: what is there is told, and forgotten on that stream. */
  poll(): void {
    for (const [stream, asked] of this.#asked) {
      for (const [name, { signalKey, taskId }] of [...asked].slice(0, roundSize)) {
        if (!this.#given.has(name)) continue;
        asked.delete(name);
        if (this.losing > 0) {
          this.losing--;
          continue;
        }
        const data = new TextEncoder().encode(JSON.stringify({ CREATE: { [signalKey]: [{ taskId, signalKey }] } }));
        stream.send({ taskId, signalKey, data });
        if (this.doubling === 0) continue;
        this.doubling--;
        stream.send({ taskId, signalKey, data });
      }
    }
  }
}

function nameOf({ signalKey, taskId }: { readonly taskId: string; readonly signalKey: string }): string {
  return `${taskId} ${signalKey}`;
}
