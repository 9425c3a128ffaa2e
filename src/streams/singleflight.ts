import { linked, onAbort } from "./signal.ts";

interface Flight<V> {
  callers: number;
  readonly abort: (reason: unknown) => void;
  readonly landing: Promise<V>;
}

/**
 * Calls that are made once however many ask: whoever comes while a call is under way shares its outcome, and no fate
 * but that. A caller's abort takes that caller away; only the last one to leave aborts the call.
 */
export class SingleFlight<K, V> {
  readonly #flights = new Map<K, Flight<V>>();

  /** How many calls are under way. */
  get size(): number {
    return this.#flights.size;
  }

  /** Joins the call under way for `key`, or makes it; rejects with the signal's own reason when it aborts. */
  do(key: K, call: (signal: AbortSignal) => Promise<V>, signal?: AbortSignal): Promise<V> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const flight = this.#flights.get(key) ?? this.#depart(key, call);
      flight.callers++;
      const undo = signal && onAbort(signal, () => {
        if (--flight.callers === 0) {
          this.#land(key, flight);
          flight.abort(signal.reason);
        }
        reject(signal.reason);
      });
      flight.landing.finally(undo).then(resolve, reject);
    });
  }

  #depart(key: K, call: (signal: AbortSignal) => Promise<V>): Flight<V> {
    const { abort, signal } = linked();
    const landing = (async () => await call(signal))();
    const flight: Flight<V> = { abort, callers: 0, landing };
    this.#flights.set(key, flight);
    const land = () => this.#land(key, flight);
    landing.then(land, land);
    return flight;
  }

  /** By identity: a later call for the same key is not this one's to remove. */
  #land(key: K, flight: Flight<V>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
