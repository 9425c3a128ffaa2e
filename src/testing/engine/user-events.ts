import type { JsonObject } from "./json.ts";

/** An event that was pushed. */
export interface UserEvent {
  readonly id: string;
  readonly key: string;
  /** Undefined for a payload that is no object: it starts runs, and matches no condition. */
  readonly payload: JsonObject | undefined;
  readonly scope: string | undefined;
  readonly atMs: number;
}

/** Whoever waits for events of a key. */
export interface Waiter {
  /** False once nobody needs the answer any more; then it is forgotten. */
  alive(): boolean;
  take(event: UserEvent): void;
}

const kept = 1000;

/** The events that were pushed, for those who wait for the next and those who look back. */
export class UserEvents {
  readonly #past: UserEvent[] = [];
  readonly #waiters = new Map<string, Set<Waiter>>();

  /** Keeps the event for those who look back. */
  keep(event: UserEvent): void {
    this.#past.push(event);
    if (this.#past.length > kept) this.#past.shift();
  }

  /** Shows the event to everyone who waits for its key. */
  tell(event: UserEvent): void {
    const waiters = this.#waiters.get(event.key) ?? new Set();
    for (const waiter of waiters) {
      if (waiter.alive()) waiter.take(event);
      if (!waiter.alive()) waiters.delete(waiter);
    }
    if (waiters.size === 0) this.#waiters.delete(event.key);
  }

  /** What was pushed under the key since then, the oldest first. */
  since(key: string, ms: number): UserEvent[] {
    return this.#past.filter((event) => event.key === key && event.atMs >= ms);
  }

  wait(key: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(key) ?? new Set();
    this.#waiters.set(key, waiters.add(waiter));
  }
}
