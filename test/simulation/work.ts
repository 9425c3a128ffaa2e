import type { Client } from "../../src/client.ts";
import type { StartAction } from "../../src/listeners/action.ts";
import type { Clock } from "../../src/streams/clock.ts";
import type { Run } from "./runs.ts";

/** What a worker needs of the simulation. */
export interface WorkOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly over: AbortSignal;
  readonly found: (what: string) => void;
}

/** A worker's loop, as a user writes it: every attempt is begun once, and reported. */
export class Work {
  /** Until when the loop is slow. */
  slowUntil = 0;
  /** Whether the loop is left, and begun again. */
  vanish = false;
  readonly #options: WorkOptions;
  readonly #workMs = new Map<string, number>();
  readonly #cancelled = new Set<string>();
  /** When each began. */
  readonly #executing = new Map<string, number>();
  readonly #abandoned = new Set<string>();

  constructor(options: WorkOptions) {
    this.#options = options;
  }

  get isReady(): boolean {
    return this.#options.client.health().streams.some(({ ready, stream }) => stream === "actions" && ready);
  }

  /** How long a run's task takes. */
  takes({ id }: Run, ms: number): void {
    this.#workMs.set(id, ms);
  }

  /** Whether an attempt runs that began after `since`, and the worker says so. */
  isAt(key: string, since: number): boolean {
    return (this.#executing.get(key) ?? -Infinity) > since && !this.#abandoned.has(key);
  }

  async run(): Promise<void> {
    const { client, clock, found, over } = this.#options;
    while (!over.aborted) {
      const actions = client.actions({ register: { name: "worker", actions: ["work:work"], slots: 10 } });
      try {
        for await (const action of actions) {
          if (action.kind === "cancel") this.#cancelled.add(`${action.taskId} ${action.attempt}`);
          else void this.#execute(action);
          if (clock.now() < this.slowUntil) await clock.sleep(5000);
          if (this.vanish) {
            // Nobody says any more that these run, so the engine may take them.
            for (const key of this.#executing.keys()) this.#abandoned.add(key);
            break;
          }
        }
      } catch (error) {
        found(`the worker's loop threw ${error}`);
      }
      this.vanish = false;
      await clock.sleep(500);
    }
  }

  async #execute(action: StartAction): Promise<void> {
    const { clock, found, over } = this.#options;
    const key = `${action.taskId} ${action.attempt}`;
    if (this.#executing.has(key)) found(`attempt ${key} was begun twice`);
    this.#executing.set(key, clock.now());
    try {
      await clock.sleep(this.#workMs.get(action.taskId) ?? 0);
      if (this.#cancelled.has(key)) return;
      await action.completed({ id: action.taskId });
    } catch (error) {
      if (!over.aborted) found(`a report threw ${error}`);
    } finally {
      this.#executing.delete(key);
    }
  }
}
