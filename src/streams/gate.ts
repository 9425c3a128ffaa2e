import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import { positive } from "./check.ts";
import { heeded } from "./pushback.ts";
import { onAbort } from "./signal.ts";

/** What a stream runs on, as far as reconnecting must know: streams that die with one connection are one failure. */
export interface Connection {
  /** False from the moment the connection has ended or takes no new streams. */
  readonly alive: boolean;
}

/**
 * Dials if need be, and resolves when a request can be written; `timeoutMs` bounds the dial. It resolves with nothing
 * where nothing can tell.
 */
export type Ready = (signal: AbortSignal, timeoutMs: number) => Promise<Connection | undefined>;

/** How long a gate waits. Every key is optional. */
export interface GateOptions {
  /** Time. @default the runtime's */
  readonly clock?: Clock | undefined;
  /** Chance: draws from [0, 1). @default Math.random */
  readonly random?: (() => number) | undefined;
  /** The window of the wait after a first failure; it doubles with each further one. @default 2000 */
  readonly firstDelayMs?: number | undefined;
  /** The widest window after failures that came fast. @default 10_000 */
  readonly capMs?: number | undefined;
  /** The widest window after time-outs and in doubt, and the longest wait a peer may ask for. @default 60_000 */
  readonly slowCapMs?: number | undefined;
  /** The first time-out of a connect; it doubles with each that runs into it, up to `slowCapMs`. @default 5000 */
  readonly connectTimeoutMs?: number | undefined;
}

/** Who asks for a turn. */
export interface Turn {
  /** The lower goes first. */
  readonly priority: number;
  /** Whether it failed in its last turn: then those that did not go first. */
  readonly failed: boolean;
}

/** How an attempt failed. */
export interface Failure {
  /** Whether it was sent before it failed. */
  readonly sent: boolean;
  /** Whether it had proven itself before: then the count starts anew. */
  readonly healthy: boolean;
  /** Whether waiting longer is wise: the connect timed out, or the peer is in doubt about us. */
  readonly slow: boolean;
  /** What it ran on. */
  readonly connection: Connection | undefined;
  /** How long the peer asked us to wait, in milliseconds. */
  readonly pushbackMs: number | undefined;
}

/** The right to connect; give it back, or nobody else connects. */
export interface Slot {
  /** How long this connect may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Whether it is still to be given back. */
  readonly held: boolean;
  release(): void;
}

interface Waiting extends Turn {
  readonly order: number;
  readonly grant: () => void;
}

/**
 * The one door through which all streams of a client connect: one at a time, in order of priority, and after a failure
 * nobody before a wait that all share. It keeps a fleet of clients that lost the same server from trampling it. While all
 * is well, a connection that has let one in is open to the others.
 */
export class Gate {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #firstDelayMs: number;
  readonly #capMs: number;
  readonly #slowCapMs: number;
  readonly #connectTimeoutMs: number;
  readonly #queue: Waiting[] = [];
  /** Dead connections whose loss was counted; a second stream lost with one is no second failure. */
  readonly #mourned = new WeakSet<Connection>();
  /** Connections on which a stream was let in. */
  readonly #proven = new WeakSet<Connection>();
  #timeoutMs: number;
  #failures = 0;
  #notBefore = -Infinity;
  /** Until when the peer has asked us to wait. */
  #askedUntil = -Infinity;
  #taken = false;
  #order = 0;
  #alarm: AbortController | undefined;

  constructor(options: GateOptions = {}) {
    const { firstDelayMs = 2000, capMs = 10_000, slowCapMs = 60_000, connectTimeoutMs = 5000 } = options;
    for (const [name, value] of Object.entries({ firstDelayMs, capMs, slowCapMs, connectTimeoutMs })) {
      positive(name, value);
    }
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#firstDelayMs = firstDelayMs;
    this.#capMs = capMs;
    this.#slowCapMs = slowCapMs;
    this.#connectTimeoutMs = this.#timeoutMs = connectTimeoutMs;
  }

  /** Failures in a row, of whichever stream. */
  get failures(): number {
    return this.#failures;
  }

  /** Waits for its turn; rejects with the signal's own reason. */
  enter(turn: Turn, signal: AbortSignal): Promise<Slot> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        ...turn,
        order: this.#order++,
        grant: () => {
          undo();
          resolve(this.#slot());
        },
      };
      this.#queue.push(waiting);
      const undo = onAbort(signal, () => {
        this.#queue.splice(this.#queue.indexOf(waiting), 1);
        this.#next();
        reject(signal.reason);
      });
      this.#next();
    });
  }

  /** Counts a failure, and tells how long nobody connects now, in milliseconds. */
  failed(failure: Failure): number {
    const { connection, healthy, sent, slow, pushbackMs } = failure;
    const now = this.#clock.now();
    const mourned = connection !== undefined && !connection.alive && this.#mourned.has(connection);
    if (!mourned) {
      if (healthy) this.#failures = 0;
      this.#failures++;
      if (connection !== undefined && !connection.alive) this.#mourned.add(connection);
    }
    if (sent) this.#timeoutMs = this.#connectTimeoutMs;
    else if (slow) this.#timeoutMs = Math.min(this.#slowCapMs, this.#timeoutMs * 2);

    const capMs = slow ? this.#slowCapMs : this.#capMs;
    const windowMs = Math.min(capMs, this.#firstDelayMs * 2 ** (this.#failures - 1));
    // A peer that accepts and drops is asked once per wait, however many streams it drops at once: each owes its own.
    const owed = sent && !healthy && windowMs === capMs;
    const delayMs = mourned && !owed ? 0 : this.#random() * windowMs;
    this.#notBefore = owed ? Math.max(this.#notBefore, now) + delayMs : Math.max(this.#notBefore, now + delayMs);
    if (pushbackMs !== undefined) {
      this.#askedUntil = this.#notBefore = now + Math.min(heeded(pushbackMs, this.#failures), this.#slowCapMs);
    }
    this.#rearm();
    return Math.max(0, this.#notBefore - now);
  }

  /** A stream was let in there. */
  letIn(connection: Connection): void {
    this.#proven.add(connection);
  }

  /** Whether a stream was let in there, and nothing has failed that no proof came after: then nobody waits for another. */
  welcomes(connection: Connection | undefined): boolean {
    return this.#failures === 0 && connection?.alive === true && this.#proven.has(connection);
  }

  /** An attempt has proven itself: whatever failed before it is forgotten. */
  healthy(): void {
    this.#failures = 0;
    this.#timeoutMs = this.#connectTimeoutMs;
  }

  /** The peer, which was in doubt about us, takes us again: only who was asked to wait still does. */
  trusted(): void {
    this.healthy();
    this.#notBefore = Math.min(this.#notBefore, this.#askedUntil);
    this.#rearm();
  }

  #slot(): Slot {
    let held = true;
    const release = () => {
      if (!held) return;
      held = false;
      this.#taken = false;
      this.#next();
    };
    return {
      timeoutMs: this.#timeoutMs,
      get held() {
        return held;
      },
      release,
    };
  }

  /** Lets the first in line in, or arms the alarm for when it may be. */
  #next(): void {
    if (this.#taken || this.#queue.length === 0) return this.#disarm();
    const waitMs = this.#notBefore - this.#clock.now();
    if (waitMs > 0) return this.#arm(waitMs);
    this.#disarm();
    this.#taken = true;
    const first = this.#queue.reduce((best, one) => (goesBefore(one, best) ? one : best));
    this.#queue.splice(this.#queue.indexOf(first), 1);
    first.grant();
  }

  #rearm(): void {
    this.#disarm();
    this.#next();
  }

  #arm(waitMs: number): void {
    if (this.#alarm !== undefined) return;
    const alarm = this.#alarm = new AbortController();
    this.#clock.sleep(waitMs, alarm.signal).then(() => {
      this.#alarm = undefined;
      this.#next();
    }, () => {
      // Disarmed: nobody waits any more, or a new alarm was set.
    });
  }

  #disarm(): void {
    this.#alarm?.abort();
    this.#alarm = undefined;
  }
}

function goesBefore(a: Waiting, b: Waiting): boolean {
  if (a.failed !== b.failed) return b.failed;
  return a.priority !== b.priority ? a.priority < b.priority : a.order < b.order;
}
