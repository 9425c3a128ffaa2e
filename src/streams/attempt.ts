import { after } from "./clock.ts";
import type { Course, Proof } from "./course.ts";
import type { Connection, Slot } from "./gate.ts";
import type { Policy } from "./options.ts";
import type { Linked } from "./signal.ts";
import { linked, unlessAborted } from "./signal.ts";

/** From when after its sending an attempt counts as let in and the next stream may connect, in milliseconds. */
const letInMs = 250;

/** One try at a stream, as its opener sees it. */
export interface Attempt<T> {
  /** Aborts when the attempt is over, however it ended: pass it to the call. */
  readonly signal: AbortSignal;
  /** Which attempt this is, counted from 1. */
  readonly number: number;
  /** The last message delivered, by whichever attempt: a service with a cursor resumes behind it. */
  readonly last: T | undefined;
  /** Says that there is proof of life; pass it as `onHeader`. Headers that are the whole answer prove nothing. */
  readonly live: (headers?: Headers) => void;
}

/**
 * The moments of one attempt. *Sent*: the request is written; without a `ready` that tells, the first read. *Live*: the
 * first of headers, a message, the opener's own proof, and, where `ready` tells what was sent, `steadyMs` of life.
 * *Steady*: `steadyMs` after sent, or after live where nothing tells what was sent. *Let in*: live, or outlived its
 * sending by 250 ms.
 */
export class Moments<T> implements Attempt<T>, Proof {
  readonly number: number;
  readonly last: T | undefined;
  heardAny = false;
  wasSteady = false;
  timedOut = false;
  livedMs = 0;
  connection: Connection | undefined;
  readonly #course: Course<T>;
  readonly #policy: Policy;
  readonly #life: Linked;
  readonly #verdict = new AbortController();
  #slot: Slot | undefined;
  #begunAt = 0;
  #sentAt: number | undefined;
  #isLive = false;
  #isIn = false;

  constructor(course: Course<T>, policy: Policy, signal: AbortSignal | undefined) {
    this.#course = course;
    this.#policy = policy;
    this.#life = linked(signal);
    this.number = course.attempts + 1;
    this.last = course.last;
  }

  get signal(): AbortSignal {
    return this.#life.signal;
  }

  get wasSent(): boolean {
    return this.#sentAt !== undefined;
  }

  /** Waits for its turn at the gate, and for a connection that takes requests. */
  async connect(): Promise<void> {
    const { clock, gate, priority, ready } = this.#policy;
    this.#slot = await gate?.enter({ priority, failed: this.#course.failedLast }, this.signal);
    this.#begunAt = clock.now();
    this.#course.begin(this.#begunAt);
    const timeoutMs = this.#slot?.timeoutMs ?? defaultTimeoutMs;
    try {
      this.connection = await unlessAborted(ready?.(this.signal, timeoutMs), this.signal);
    } catch (error) {
      this.timedOut = clock.now() - this.#begunAt >= timeoutMs;
      throw error;
    }
  }

  /** The request is on its way. */
  sent(): void {
    const { clock, gate, steadyMs } = this.#policy;
    this.#sentAt = clock.now();
    if (gate?.welcomes(this.connection)) this.#slot?.release();
    this.#later(letInMs, () => {
      this.#slot?.release();
      if (this.connection !== undefined) this.#letIn();
    });
    if (this.connection !== undefined) this.#later(steadyMs, () => this.#steady());
  }

  readonly live = (headers?: Headers): void => {
    if (this.#isLive || this.signal.aborted || headers?.has("grpc-status")) return;
    this.#isLive = true;
    this.#slot?.release();
    this.#letIn();
    this.#course.live();
    if (this.connection === undefined) this.#later(this.#policy.steadyMs, () => this.#steady());
  };

  heard(message: T): void {
    this.heardAny = true;
    this.#course.heard(message);
    this.live();
  }

  /**
   * Whatever of it still lives is released. A slot that is still held is kept until its failure is counted, or whoever
   * is next would connect before the wait; but no longer than a quiet attempt would keep it, for a verdict may take
   * calls that need a connection themselves.
   */
  end(): void {
    if (this.#sentAt !== undefined) this.livedMs = this.#policy.clock.now() - this.#sentAt;
    this.#life.abort();
    if (this.#slot?.held) after(this.#policy.clock, letInMs, this.#verdict.signal, this.leave);
  }

  /** The verdict is in: the next one may connect. */
  readonly leave = (): void => {
    this.#verdict.abort();
    this.#slot?.release();
  };

  /** What a listener of the caller's throws from a timer ends the attempt, so that it comes out of the loop. */
  #later(ms: number, act: () => void): void {
    after(this.#policy.clock, ms, this.signal, () => {
      try {
        if (!this.signal.aborted) act();
      } catch (error) {
        this.#life.abort(error);
      }
    });
  }

  #letIn(): void {
    if (this.#isIn) return;
    this.#isIn = true;
    if (this.connection !== undefined) this.#policy.gate?.letIn(this.connection);
    this.#course.letIn();
  }

  #steady(): void {
    this.wasSteady = true;
    this.live();
    this.#course.steady();
  }
}

/** How long a connect may take where no gate says. */
const defaultTimeoutMs = 5000;
