import type { Network } from "./network.ts";
import type { Event } from "./schedule.ts";
import type { WholeEngine } from "./whole.ts";

/** What faults need of the simulation. */
export interface FaultsOptions {
  readonly engine: WholeEngine;
  readonly network: Network;
  readonly later: (ms: number, act: () => void) => void;
  readonly pick: <T>(items: readonly T[]) => T | undefined;
}

/** What falls on the wire and on the engine; it does nothing for what does not. */
export class Faults {
  readonly #options: FaultsOptions;

  constructor(options: FaultsOptions) {
    this.#options = options;
  }

  befall(event: Event): void {
    const { engine, later, network, pick } = this.#options;
    switch (event.do) {
      case "cut":
        return network.lose(event.engineNotices);
      case "goaway":
        return network.retire();
      case "reset":
        return pick([...engine.streams])?.finish(network.face());
      case "hold":
        network.hold(event.up, event.down);
        return later(event.forMs, () => network.release());
      case "drain":
        engine.drain();
        network.retire();
        return later(event.forMs, () => engine.isUp = true);
      case "kill":
        engine.isUp = false;
        network.lose();
        return later(event.forMs, () => engine.isUp = true);
      case "refuse":
        network.refusing = true;
        return later(event.forMs, () => network.refusing = false);
      case "silence":
        network.silent = true;
        return later(event.forMs, () => network.silent = false);
      case "slow connects":
        network.connectMs = 4000;
        return later(event.forMs, () => network.connectMs = 5);
      case "drop":
        engine.dropping = true;
        for (const stream of [...engine.streams]) stream.finish();
        return later(event.forMs, () => engine.dropping = false);
      case "no auth":
        engine.refusing = true;
        return later(event.forMs, () => engine.refusing = false);
      default:
        return this.#slip(event);
    }
  }

  /** What the engine does once too little or once too often. */
  #slip({ do: what }: Event): void {
    const { engine } = this.#options;
    const { durable, signals } = engine;
    switch (what) {
      case "lose report":
        engine.losing++;
        return;
      case "double report":
        engine.doubling++;
        return;
      case "lose signal":
        signals.losing++;
        return;
      case "double signal":
        signals.doubling++;
        return;
      case "lose answer":
        durable.losing++;
        return;
      case "double answer":
        durable.doublingAnswers++;
        return;
      case "double completion":
        durable.doublingCompletions++;
        return;
    }
  }

  /** Everything is as it should be from now on. */
  heal(): void {
    const { engine, network } = this.#options;
    engine.isUp = true;
    engine.dropping =
      engine.refusing =
      network.refusing =
      network.silent =
        false;
    engine.losing = engine.doubling = 0;
    engine.signals.losing = engine.durable.losing = 0;
    network.connectMs = 5;
    network.release();
  }
}
