import type { StreamKind } from "../../src/board.ts";
import type { Client } from "../../src/client.ts";
import type { Clock } from "../../src/streams/clock.ts";
import type { Network } from "./network.ts";
import type { RunWaits } from "./run-waits.ts";
import type { SignalWaits } from "./signal-waits.ts";
import type { Talks } from "./talks.ts";
import type { WholeEngine } from "./whole.ts";
import type { Work } from "./work.ts";

/** How long a client that is connected again has to keep the engine from taking what it runs, in milliseconds. */
const backMs = 25_000;
/** For how long after late beats the engine waits longer than the client can know, in milliseconds. */
const lateMs = 60_000;
/** How long a worker may be deaf and not say so, in milliseconds. */
const deafMs = 20_000;
/** How long it may take until the engine knows who waits on a stream, in milliseconds. */
const askedMs = 2000;

/** What is watched. */
export interface WatchOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly engine: WholeEngine;
  readonly network: Network;
  readonly over: AbortSignal;
  readonly found: (what: string) => void;
}

/** Those who are watched. */
export interface Watched {
  readonly work: Work;
  readonly runs: RunWaits;
  readonly signals: SignalWaits;
  readonly talks: Talks;
}

/** Once a second: a worker that is deaf says so, and whoever waits is on the current stream. */
export class Watch {
  /** Until when the token function fails. */
  tokenAwayUntil = 0;
  /** Until when beats are held up. */
  heldUntil = -Infinity;
  readonly #options: WatchOptions;
  /** The kinds of streams that were let in. */
  readonly #in = new Set<StreamKind>();
  #lyingSince: number | undefined;
  /** Since when calls pass. */
  #passingSince: number | undefined;
  /** When the machine last woke up. */
  #awakeSince = -Infinity;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Whether the client was connected for long enough to have said what it runs. */
  get isBack(): boolean {
    const now = this.#options.clock.now();
    return this.#passingSince !== undefined && now - this.#passingSince > backMs && now - this.heldUntil > lateMs;
  }

  /** Whether a stream of the kind was let in. */
  wasIn(kind: StreamKind): boolean {
    return this.#in.has(kind);
  }

  /** The machine will have slept: whoever does not run cannot say that it is deaf. */
  sleeps(ms: number): void {
    if (this.#lyingSince !== undefined) this.#lyingSince += ms;
    this.#passingSince = undefined;
    this.#awakeSince = this.#options.network.awakeAt = this.#options.clock.now() + ms;
  }

  async run(watched: Watched): Promise<void> {
    const { client, clock, engine, found, network, over } = this.#options;
    const { talks, work } = watched;
    while (!over.aborted) {
      await clock.sleep(1000);
      const { current, refusing, silent } = network;
      const passes = current?.alive === true && !current.isHeld && !refusing && !silent && engine.isUp &&
        !engine.dropping && !engine.refusing && clock.now() >= this.tokenAwayUntil;
      this.#passingSince = passes ? this.#passingSince ?? clock.now() : undefined;
      for (const { id, state, stream } of client.health().streams) {
        if (state !== "live") continue;
        this.#in.add(stream);
        if (stream === "events") talks.heard(id);
      }
      this.#checkAsked(watched);
      const heard = [...engine.streams].some(({ wire, worker }) => worker !== undefined && !wire.isHeld);
      this.#lyingSince = !heard && work.isReady ? this.#lyingSince ?? clock.now() : undefined;
      if (this.#lyingSince !== undefined && clock.now() - this.#lyingSince > deafMs) {
        found(`deaf for ${clock.now() - this.#lyingSince} ms, and healthy`);
      }
    }
  }

  #checkAsked({ runs, signals }: Watched): void {
    const { clock, engine, found } = this.#options;
    const before = clock.now() - askedMs;
    const left = (what: string) => found(`${what} is not on the stream that is there`);
    for (const stream of engine.streams) {
      if (stream.openedAt > before || this.#awakeSince > before) continue;
      const { wire } = stream;
      // What waited for a held wire is on its way from when it is free, as what waited for a machine that slept.
      if (!wire.alive || wire.isHeld || wire.heldUntil > before) continue;
      if (stream.method === "SubscribeToWorkflowRuns") {
        for (const { begunAt, run } of runs.pending) {
          if (begunAt < before && run.state !== "done" && !stream.ids.has(run.id)) left(`the wait for ${run.id}`);
        }
      } else if (stream.method === "ListenForDurableEvent") {
        for (const { begunAt, signalKey, taskId } of signals.pending) {
          const isAsked = engine.signals.isAsked(stream, taskId, signalKey);
          if (begunAt < before && !isAsked) left(`the wait for signal ${signalKey} of ${taskId}`);
        }
      }
    }
  }
}
