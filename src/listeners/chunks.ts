import type { Root } from "../root.ts";
import { StreamError } from "../streams/errors.ts";
import { LiveStream } from "../streams/stream.ts";
import type { RunEvent, RunGap } from "./event.ts";
import type { EventsOptions } from "./events.ts";
import { runEvents } from "./events.ts";

/** How chunks are listened to. */
export interface ChunksOptions extends EventsOptions {
  /** Told, between the chunks, where some may be missing; without it the loop throws `gap` there. */
  readonly onGap?: ((gap: RunGap) => void) | undefined;
}

/** The texts that a run's tasks stream. */
export class Chunks extends LiveStream<string> {
  readonly #events: LiveStream<RunEvent>;
  readonly #onGap: (gap: RunGap) => void;

  /** @throws TypeError at once, when the id is no UUID */
  constructor(root: Root, runId: string, { onGap = refuse, signal }: ChunksOptions) {
    super(unopened);
    this.#events = runEvents(root, runId, { signal });
    this.#onGap = onGap;
  }

  /** Read by the loop itself, without a queue of its own: `onGap` is told when the loop gets there. */
  override [Symbol.asyncIterator](): AsyncIterableIterator<string, undefined> {
    const events = this.#events[Symbol.asyncIterator]();
    const iterator: AsyncIterableIterator<string, undefined> = {
      next: async () => {
        for (let read = await events.next();; read = await events.next()) {
          if (read.done) return read;
          if (read.value.kind === "chunk") return { done: false, value: read.value.text };
          if (read.value.kind === "gap") await this.#tell(read.value);
        }
      },
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  override close(): Promise<void> {
    return this.#events.close();
  }

  /** What it throws ends the loop, so it ends the stream. */
  async #tell(gap: RunGap): Promise<void> {
    try {
      this.#onGap(gap);
    } catch (error) {
      await this.close();
      throw error;
    }
  }
}

function refuse({ taskId, why }: RunGap): never {
  const of = taskId === undefined ? "" : ` of task ${taskId}`;
  throw new StreamError("gap", `Chunks${of} may be missing (${why}); pass onGap to go on`);
}

/** What a stream of chunks has instead of a source of its own: its loop reads that of the events. */
function unopened(): never {
  throw new TypeError("A stream of chunks is read through its loop");
}
