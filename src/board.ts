import type { StreamStatus } from "./streams/status.ts";

/** Which of the engine's streams. */
export type StreamKind = "actions" | "results" | "events" | "metadata" | "durable-events" | "durable-tasks";

/** Where one stream of a client is. */
export type StreamReport = StreamStatus & {
  readonly stream: StreamKind;
  /** Which one of its kind: the worker's id or name, the run's id, `key=value`, `shared` for what all callers share. */
  readonly id: string;
  /** What makes a live stream doubtful: a heartbeat that the engine has refused, or has not taken yet. */
  readonly trouble?: unknown;
};

/** One stream as `health()` shows it. */
export interface StreamHealth {
  readonly stream: StreamKind;
  readonly id: string;
  readonly state: StreamStatus["state"];
  /** Whether it receives, as far as the wire and the engine can show. */
  readonly ready: boolean;
  /** What keeps it from being ready. */
  readonly error?: unknown;
}

/** Whether a client receives. */
export interface Health {
  /** True while the client is open and every stream of it is live and undoubted. */
  readonly ready: boolean;
  readonly streams: readonly StreamHealth[];
}

/** One stream's place on the board. */
export class Entry {
  readonly stream: StreamKind;
  id: string;
  readonly #tell: (entry: Entry, status: StreamStatus) => void;
  #status: StreamStatus = { state: "connecting", attempt: 0 };
  #trouble: unknown;

  constructor(stream: StreamKind, id: string, tell: (entry: Entry, status: StreamStatus) => void) {
    this.stream = stream;
    this.id = id;
    this.#tell = tell;
  }

  get report(): StreamReport {
    const trouble = this.#trouble;
    const isDoubtful = this.#status.state === "live" && trouble !== undefined;
    return { ...this.#status, stream: this.stream, id: this.id, ...(isDoubtful && { trouble }) };
  }

  get health(): StreamHealth {
    const { stream, id } = this;
    const trouble = this.#trouble;
    const status = this.#status;
    const ready = status.state === "live" && trouble === undefined;
    const error = trouble ?? ("error" in status ? status.error : undefined);
    return { stream, id, state: status.state, ready, ...(error !== undefined && { error }) };
  }

  /** What makes a live stream doubtful, or nothing: whoever watches is told when it comes and when it goes. */
  doubt(trouble: unknown): void {
    const isNews = (trouble === undefined) !== (this.#trouble === undefined);
    this.#trouble = trouble;
    if (isNews && this.#status.state === "live") this.#tell(this, this.#status);
  }

  readonly tell = (status: StreamStatus): void => {
    this.#status = status;
    this.#tell(this, status);
  };
}

/** Where every stream of a client is, for whoever watches. */
export class Board {
  readonly #entries = new Set<Entry>();
  readonly #watchers = new Set<Watcher>();
  readonly #onReport: (report: StreamReport, stream: object) => void;
  #closed = false;

  /** `onReport` is told of every move; `stream` is whose it is, whatever its id becomes. */
  constructor(onReport: (report: StreamReport, stream: object) => void) {
    this.#onReport = onReport;
  }

  /** Puts a stream on the board, until it has ended. */
  add(stream: StreamKind, id: string): Entry {
    const entry = new Entry(stream, id, (one, status) => {
      if (status.state === "ended") this.#entries.delete(one);
      else this.#entries.add(one);
      this.#onReport(one.report, one);
      for (const watcher of this.#watchers) watcher.put(one);
    });
    return entry;
  }

  health(): Health {
    const streams = [...this.#entries].map((entry) => entry.health);
    return { ready: !this.#closed && streams.every(({ ready }) => ready), streams };
  }

  /** A snapshot, then changes; of each stream only the newest is kept for a slow reader. Ends when the board closes. */
  watch(): AsyncIterableIterator<StreamReport, undefined> {
    const watcher = new Watcher(() => this.#watchers.delete(watcher));
    for (const entry of this.#entries) watcher.put(entry);
    if (this.#closed) watcher.end();
    else this.#watchers.add(watcher);
    return watcher;
  }

  /** Ends every watch, behind what it has yet to tell. */
  close(): void {
    this.#closed = true;
    for (const watcher of [...this.#watchers]) watcher.end();
  }
}

/** One reader of the board; holds nothing alive. */
class Watcher implements AsyncIterableIterator<StreamReport, undefined> {
  /** Reports as they were when they came; a newer one of the same stream replaces the older. */
  readonly #news = new Map<Entry, StreamReport>();
  readonly #leave: () => void;
  #ended = false;
  #askers: ((read: IteratorResult<StreamReport, undefined>) => void)[] = [];

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  put(entry: Entry): void {
    this.#news.delete(entry);
    this.#news.set(entry, entry.report);
    this.#answer();
  }

  end(): void {
    this.#ended = true;
    this.#leave();
    this.#answer();
  }

  next(): Promise<IteratorResult<StreamReport, undefined>> {
    return new Promise((resolve) => {
      this.#askers.push(resolve);
      this.#answer();
    });
  }

  return(): Promise<IteratorResult<StreamReport, undefined>> {
    this.#news.clear();
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #answer(): void {
    while (this.#askers.length > 0) {
      const [first] = this.#news;
      if (first === undefined && !this.#ended) return;
      const asker = this.#askers.shift();
      if (first === undefined) asker?.({ done: true, value: undefined });
      else {
        this.#news.delete(first[0]);
        asker?.({ done: false, value: first[1] });
      }
    }
  }
}
