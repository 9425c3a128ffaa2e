import { Code, ConnectError } from "@connectrpc/connect";
import type { Clock } from "./streams/clock.ts";
import type { Ending, Verdict } from "./streams/verdict.ts";
import { isCaller } from "./streams/errors.ts";
import { originOf } from "./streams/verdict.ts";

/** How long the engine may refuse us in a row before it is believed, in milliseconds. */
const patienceMs = 600_000;

/**
 * Whether to believe an engine that refuses us. It says the same whether the token is bad or its own database is away,
 * so once it had let us in, a refusal is doubted: asked again, rarely, with the token of the moment. It is believed ten
 * minutes after the first of an unbroken row, or at once when that token has run out.
 */
export class Doubt {
  readonly #clock: Clock;
  readonly #expiresAt: () => number | undefined;
  readonly #onOver: () => void;
  #wasLive = false;
  #sinceMs: number | undefined;
  /** Whether a refusal was doubted, and nobody let in since. */
  #isDoubting = false;

  /**
   * `expiresAt` tells when the token last asked for runs out, in epoch milliseconds; `onOver` is called when we are let
   * in again after a refusal that was doubted.
   */
  constructor(clock: Clock, expiresAt: () => number | undefined, onOver: () => void = () => {}) {
    this.#clock = clock;
    this.#expiresAt = expiresAt;
    this.#onOver = onOver;
  }

  /** The engine let us in: whatever it refused before is forgotten. */
  accepted(): void {
    this.#wasLive = true;
    this.#sinceMs = undefined;
    if (!this.#isDoubting) return;
    this.#isDoubting = false;
    this.#onOver();
  }

  /** The verdict on one more answer; anything but a refusal breaks the row. */
  judge(verdict: Verdict, error: unknown): Verdict {
    if (!isRefusal(error)) {
      this.#sinceMs = undefined;
      return verdict;
    }
    if (!this.#wasLive) return "fatal";
    const now = this.#clock.now();
    this.#sinceMs ??= now;
    const expiresAt = this.#expiresAt();
    if (now - this.#sinceMs >= patienceMs || (expiresAt !== undefined && expiresAt <= now)) return "fatal";
    this.#isDoubting = true;
    return "doubt";
  }

  /**
   * Decorates a stream's verdict: what is believed of a first connect is doubted once any stream of the client was live,
   * a certificate and the caller's own token or address function as well.
   */
  readonly decorate = (verdict: Verdict, ending: Ending): Verdict => {
    const excused = this.#wasLive && (ending.origin === "wire" || isCaller(ending.error));
    return this.judge(excused ? "transient" : verdict, ending.error);
  };
}

/** Whether the engine itself refused our token; a proxy's 401 or 403 is the wire's. */
export function isRefusal(error: unknown): boolean {
  return error instanceof ConnectError && originOf(error) === "engine" &&
    (error.code === Code.Unauthenticated || error.code === Code.PermissionDenied);
}
