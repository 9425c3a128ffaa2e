import type { Clock } from "../streams/clock.ts";
import { StreamError } from "../streams/errors.ts";
import { linked, onAbort } from "../streams/signal.ts";
import { SingleFlight } from "../streams/singleflight.ts";
import type { Dialer } from "./dialer.ts";
import { Session } from "./session.ts";

/** How sessions are made and kept, with every default in its place. */
export interface SessionsOptions {
  readonly dialer: Dialer;
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
}

/** However often a peer asks us to calm down, a silent one is noticed within this time, in milliseconds. */
const longestIntervalMs = 600_000;

/**
 * The sessions of one channel, at most one of which takes new streams: dialed when somebody needs it, once for all who
 * do, and left to finish what it has when it has to go.
 */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #dials = new SingleFlight<"dial", Session>();
  readonly #life = new AbortController();
  readonly #sessions = new Set<Session>();
  readonly #waiting = new Set<(session: Session) => void>();
  #current: Session | undefined;
  #intervalMs: number;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#intervalMs = options.pingIntervalMs;
  }

  /** The one that takes new streams. */
  get connection(): Session | undefined {
    return this.#current?.alive === true ? this.#current : undefined;
  }

  /** How often peers are asked whether they live; each that finds it too often doubles it for those after it. */
  get pingIntervalMs(): number {
    return this.#intervalMs;
  }

  /** @throws StreamError `closed` */
  assertOpen(): void {
    this.#life.signal.throwIfAborted();
  }

  /** Dials unless connected; the first to ask bounds the dial, the last to leave ends it. */
  readonly ready = async (signal: AbortSignal, timeoutMs: number): Promise<Session> => {
    this.assertOpen();
    signal.throwIfAborted();
    return this.connection ?? await this.#dials.do("dial", (flight) => this.#open(timeoutMs, flight), signal);
  };

  /** Waits until somebody's dial succeeds; dials only where a session that takes no new streams still has some. */
  up(signal: AbortSignal): Promise<Session> {
    return new Promise((resolve, reject) => {
      const { connection } = this;
      if (connection !== undefined) return resolve(connection);
      const life = linked(signal, this.#life.signal);
      const connected = (session: Session) => {
        life.release();
        this.#waiting.delete(connected);
        resolve(session);
      };
      this.#waiting.add(connected);
      onAbort(life.signal, () => {
        this.#waiting.delete(connected);
        reject(life.signal.reason);
      });
      // A peer that asked us to leave is there, and while our streams live on the old session nobody else may dial.
      if ([...this.#sessions].some(({ open }) => open > 0)) {
        this.ready(life.signal, this.#options.connectTimeoutMs).catch(() => {
          // The next dial, by whomever, may succeed.
        });
      }
    });
  }

  /** Ends every stream, and resolves when no socket is left. Idempotent. */
  async close(): Promise<void> {
    const closed = new StreamError("closed", "The channel is closed");
    this.#life.abort(closed);
    await Promise.all([...this.#sessions].map((session) => session.end(closed)));
  }

  async #open(timeoutMs: number, flight: AbortSignal): Promise<Session> {
    const { clock, dialer, pingTimeoutMs } = this.#options;
    const life = linked(flight, this.#life.signal);
    try {
      const dialed = await dialer.dial(timeoutMs, life.signal);
      const rhythm = { clock, intervalMs: this.#intervalMs, timeoutMs: pingTimeoutMs };
      const session: Session = new Session(dialed, rhythm, {
        calmed: () => {
          this.#intervalMs = Math.min(longestIntervalMs, this.#intervalMs * 2);
        },
        ended: () => this.#sessions.delete(session),
      });
      this.#sessions.add(session);
      this.#current = session;
      for (const connected of this.#waiting) connected(session);
      return session;
    } finally {
      life.release();
    }
  }
}
