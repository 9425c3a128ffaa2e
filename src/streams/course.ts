import type { StreamErrorCode } from "./errors.ts";
import { StreamError } from "./errors.ts";
import type { Connection } from "./gate.ts";
import type { Policy } from "./options.ts";
import { heeded, pushback } from "./pushback.ts";
import type { StreamStatus } from "./status.ts";
import type { Ending } from "./verdict.ts";

/** What an attempt has proven by the time it ended. */
export interface Proof {
  /** What it ran on. */
  readonly connection: Connection | undefined;
  /** Whether its request was sent. */
  readonly wasSent: boolean;
  /** Whether its connect ran into the time-out. */
  readonly timedOut: boolean;
  /** Whether a message came. */
  readonly heardAny: boolean;
  /** Whether it was steady. */
  readonly wasSteady: boolean;
  /** How long it lived after it was sent, in milliseconds. */
  readonly livedMs: number;
}

/** What one stream remembers from attempt to attempt, and what it tells of itself. */
export class Course<T> {
  attempts = 0;
  last: T | undefined;
  /** Whether any attempt was ever live. */
  wasLive = false;
  /** Whether the last attempt failed: those that did not go first. */
  failedLast = false;
  readonly #policy: Policy;
  #isIn = false;
  #setups = 0;
  #failures = 0;
  #suspects = 0;
  #endedAt: number | undefined;
  #waitedMs = 0;
  #over = false;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  begin(now: number): void {
    this.attempts++;
    this.#waitedMs = this.#endedAt === undefined ? 0 : now - this.#endedAt;
    this.tell({ state: "connecting", attempt: this.attempts });
  }

  letIn(): void {
    this.#isIn = true;
    this.#policy.onIn();
  }

  live(): void {
    this.wasLive = true;
    this.tell({ state: "live", sinceMs: this.#policy.clock.now(), paused: false });
  }

  heard(message: T): void {
    this.last = message;
    this.#suspects = 0;
  }

  steady(): void {
    this.#suspects = this.#failures = 0;
    this.failedLast = false;
    this.#policy.gate?.healthy();
  }

  /** One more ending that explains nothing. @throws StreamError `stalled` */
  suspect(error: unknown): void {
    if (++this.#suspects < this.#policy.maxSuspects) return;
    throw this.failure("stalled", `Nothing heard in ${this.#suspects} attempts`, error);
  }

  /** Counts the failure and waits as long as it asks for. @throws StreamError `unreachable` */
  async wait(proof: Proof, ending: Ending, doubt: boolean, signal: AbortSignal | undefined): Promise<void> {
    const { apart, backoff, clock, gate, setupAttempts } = this.#policy;
    const { error } = ending;
    if (!this.#isIn && ++this.#setups >= setupAttempts) {
      throw this.failure("unreachable", `Not let in after ${this.#setups} attempts`, error);
    }
    const now = this.#endedAt = clock.now();
    const apartMs = apart(ending);
    if (apartMs !== undefined) {
      this.tell({ state: "waiting", failures: this.#failures, delayMs: apartMs, error });
      return await clock.sleep(apartMs, signal);
    }
    const healthy = proof.wasSteady || (proof.heardAny && proof.livedMs >= this.#waitedMs);
    const pushbackMs = pushback(error, now);
    this.failedLast = !healthy;
    const failures = this.#failures = healthy ? 1 : this.#failures + 1;
    if (gate !== undefined) {
      const { connection, timedOut, wasSent: sent } = proof;
      const delayMs = gate.failed({ connection, healthy, pushbackMs, sent, slow: timedOut || doubt });
      return this.tell({ state: "waiting", failures, delayMs, error });
    }
    const delayMs = pushbackMs === undefined ? backoff(failures) : heeded(pushbackMs, failures);
    this.tell({ state: "waiting", failures, delayMs, error });
    await clock.sleep(delayMs, signal);
  }

  failure(code: StreamErrorCode, message: string, cause: unknown): StreamError {
    return new StreamError(code, message, { attempts: this.attempts, cause });
  }

  tell(status: StreamStatus): void {
    if (this.#over) return;
    this.#over = status.state === "ended";
    this.#policy.onStatus(status);
  }
}
