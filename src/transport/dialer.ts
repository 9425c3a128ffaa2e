import type { Clock } from "../streams/clock.ts";
import { isCaller } from "../streams/errors.ts";
import { linked, onAbort } from "../streams/signal.ts";
import type { Address, TlsMaterial } from "./address.ts";
import type { Dialed } from "./dial.ts";
import { dial } from "./dial.ts";
import { callers, DialError, unreachable } from "./failure.ts";

/** What a dial needs to know. */
export interface DialerOptions {
  /** Asked at every dial. */
  readonly address: () => Promise<Address>;
  /** Asked until it answers once; without it connections are plaintext. */
  readonly tls: (() => Promise<TlsMaterial>) | undefined;
  readonly windowBytes: number;
  readonly clock: Clock;
}

/** Dials: asks where to, bounds the time, and says of every failure that nothing was sent and who is to blame. */
export class Dialer {
  readonly #options: DialerOptions;
  #material: TlsMaterial | undefined;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /**
   * Rejects with Unavailable and the system's error as its cause, with what the caller's own functions threw as it is,
   * or with the signal's own reason.
   */
  async dial(timeoutMs: number, signal: AbortSignal): Promise<Dialed> {
    const life = linked(signal);
    const timer = new AbortController();
    const { clock } = this.#options;
    wait(clock, clock.now() + timeoutMs, timer.signal).then(
      () => life.abort(new DialError("ETIMEDOUT", `Not connected within ${timeoutMs} ms`)),
      () => {
        // Settled in time.
      },
    );
    try {
      return await this.#dial(life.signal);
    } catch (error) {
      signal.throwIfAborted();
      throw isCaller(error) ? error : unreachable(error);
    } finally {
      timer.abort();
      life.release();
    }
  }

  async #dial(signal: AbortSignal): Promise<Dialed> {
    // Never in the tick in which the last connection failed: its streams are still being told.
    await new Promise((resolve) => setImmediate(resolve));
    const { address, tls, windowBytes } = this.#options;
    this.#material ??= tls && await answer(tls, signal);
    const target = { address: await answer(address, signal), tls: this.#material, windowBytes };
    signal.throwIfAborted();
    return await dial(target, signal);
  }
}

/** What a function of the caller's answers, unless the signal aborts first. */
function answer<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const undo = onAbort(signal, () => reject(signal.reason));
    const asked = (async () => await ask())();
    asked.then(resolve, (thrown) => reject(callers(thrown))).finally(undo);
  });
}

/** Timers may fire a little early, and whoever measures how long a dial took must find that it took that long. */
async function wait(clock: Clock, until: number, signal: AbortSignal): Promise<void> {
  for (let left = until - clock.now(); left > 0; left = until - clock.now()) await clock.sleep(left, signal);
}
