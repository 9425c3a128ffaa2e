import type { StreamKind } from "../../src/board.ts";
import type { Client } from "../../src/client.ts";
import { Client as RealClient } from "../../src/client.ts";
import { resolveConfig } from "../../src/config.ts";
import { Root } from "../../src/root.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { mint } from "../../src/testing/engine/token.ts";
import { seeded } from "../../src/testing/random.ts";
import { DurableTasks } from "./durable-tasks.ts";
import { Faults } from "./faults.ts";
import { Network } from "./network.ts";
import { RunWaits } from "./run-waits.ts";
import type { Event } from "./schedule.ts";
import { stormMs } from "./schedule.ts";
import { SignalWaits } from "./signal-waits.ts";
import { Talks } from "./talks.ts";
import { Watch } from "./watch.ts";
import { WholeEngine } from "./whole.ts";
import { Work } from "./work.ts";

/** What came of one run of the simulation. */
export interface Outcome {
  /** What must never happen and did; empty for a good run. */
  readonly findings: readonly string[];
  /** One line that is the same for the same seed and schedule. */
  readonly line: string;
}

/** How long after the storm everybody must have an answer, in milliseconds. */
const calmMs = 240_000;
/** How often in any minute streams may be opened, however many there are and however they are treated. */
const opensPerMinute = 45;

/** Plays one schedule against the real client, on virtual time. */
export async function play(seed: number, events: readonly Event[]): Promise<Outcome> {
  const play = new Play(seed);
  try {
    return await play.clock.drive(play.run(events), 10 * (stormMs + calmMs));
  } catch (error) {
    // Somebody waits for what cannot come, or has thrown where nobody listens.
    return { findings: [String(error)], line: "never ended" };
  }
}

class Play {
  readonly clock = new VirtualClock(1_000_000_000_000);
  readonly #random: () => number;
  readonly #engine: WholeEngine;
  readonly #network: Network;
  readonly #client: Client;
  readonly #findings: string[] = [];
  readonly #faults: Faults;
  readonly #work: Work;
  readonly #runs: RunWaits;
  readonly #signals: SignalWaits;
  readonly #tasks: DurableTasks;
  readonly #talks: Talks;
  readonly #over = new AbortController();
  readonly #watch: Watch;

  constructor(seed: number) {
    const random = this.#random = seeded(seed ^ 0x5eed);
    const { clock } = this;
    this.#engine = new WholeEngine(clock, random, this.#over.signal);
    this.#network = new Network(clock, random, this.#engine);
    this.#engine.onTaken = (run) => {
      const key = `${run.id} ${run.attempt}`;
      // What the client had to fear to have lost, for no answer to a beat came through, it does not claim when it comes
      // back as another worker.
      if (this.#watch.isBack && this.#work.isAt(key, this.#network.fearedAt)) {
        this.#found(`${key} was taken while it ran`);
      }
    };
    this.#engine.onTwice = (runId) => this.#found(`the end of ${runId} was told twice in one batch`);
    const token = mint({ tenantId: "t", hostPort: "127.0.0.1:1", issuedMs: 0, expiresMs: 4e12 }, random);
    const config = resolveConfig({
      clock,
      random,
      tls: false,
      logger: false,
      hostPort: "127.0.0.1:1",
      token: () => {
        if (clock.now() < this.#watch.tokenAwayUntil) throw new Error("the vault is away");
        return token;
      },
    }, {});
    this.#client = new RealClient(new Root(config, (authorization) => this.#network.channel(authorization)));
    const client = this.#client;
    const { signal: over } = this.#over;
    const { durable: model, signals } = this.#engine;
    const found = (what: string) => this.#found(what);
    const wasIn = (kind: StreamKind) => () => this.#watch.wasIn(kind);
    this.#watch = new Watch({ client, clock, engine: this.#engine, network: this.#network, over, found });
    this.#faults = new Faults({
      engine: this.#engine,
      network: this.#network,
      later: (ms, act) => this.#later(ms, act),
      pick: (items) => this.#pick(items),
    });
    this.#work = new Work({ client, clock, over, found });
    this.#runs = new RunWaits({ clock, runs: client.runs, found, wasIn: wasIn("results") });
    this.#signals = new SignalWaits({
      clock,
      durable: client.durable,
      signals,
      found,
      wasIn: wasIn("durable-events"),
    });
    this.#tasks = new DurableTasks({ client, model, clock, random, over, found });
    this.#talks = new Talks({ engine: this.#engine, client, clock, random });
  }

  async run(events: readonly Event[]): Promise<Outcome> {
    const { clock } = this;
    const startedAt = clock.now();
    void this.#engine.live(this.#over.signal);
    const working = this.#work.run();
    const watching = this.#watch.run({
      work: this.#work,
      runs: this.#runs,
      signals: this.#signals,
      talks: this.#talks,
    });
    for (const event of events) {
      await this.#until(startedAt + event.at);
      this.#apply(event);
    }
    await this.#until(startedAt + stormMs);
    this.#faults.heal();
    const deadline = clock.now() + calmMs;
    while (clock.now() < deadline && (this.#isAwaited || !this.#work.isReady)) await clock.sleep(1000);
    await this.#end(working, watching);
    const line = `${this.#runs.all.length} waits, ${this.#engine.opens.length} opens, ` +
      `${this.#engine.workers.size} workers, ${Math.round(clock.now() - startedAt)} ms`;
    return { findings: this.#findings, line };
  }

  get #isAwaited(): boolean {
    const pending = this.#runs.pending.length + this.#signals.pending.length + this.#tasks.pending.length;
    return pending > 0 || this.#talks.isAwaited;
  }

  async #until(at: number): Promise<void> {
    const left = at - this.clock.now();
    if (left > 0) await this.clock.sleep(left);
  }

  #found(what: string): void {
    this.#findings.push(`${Math.round(this.clock.now() - 1_000_000_000_000)} ms: ${what}`);
  }

  #apply(event: Event): void {
    const { clock } = this;
    const engine = this.#engine;
    const runs = this.#runs;
    const signals = this.#signals;
    const whom = <T>(item: T | undefined, act: (item: T) => void): void => void (item !== undefined && act(item));
    switch (event.do) {
      case "run": {
        const run = engine.trigger();
        this.#work.takes(run, event.workMs);
        return runs.begin(run);
      }
      case "join":
        return whom(this.#pick(runs.all), ({ run }) => runs.begin(run));
      case "abort":
        return whom(this.#pick(runs.pending), (wait) => runs.abort(wait));
      case "cancel": {
        const assigned = [...engine.runs.values()].filter(({ state }) => state === "assigned");
        return whom(this.#pick(assigned), (run) => engine.cancel(run));
      }
      case "vanish":
        this.#work.vanish = true;
        return;
      case "slow consumer":
        this.#work.slowUntil = clock.now() + event.forMs;
        return;
      case "expire":
        this.#watch.tokenAwayUntil = clock.now() + 5000;
        return;
      case "jump":
        this.#watch.sleeps(event.forMs);
        return clock.jump(event.forMs);
      case "talk":
        return this.#talks.begin(event.reader, event.isNumbered, event.forMs, this.#watch.wasIn("events"));
      case "signal": {
        // Of another task, or another signal of the same.
        const known = this.#random() < 0.5 ? this.#pick(signals.all)?.taskId : undefined;
        const taskId = known ?? engine.uuid();
        const signalKey = `paid:${signals.all.length}`;
        signals.begin(taskId, signalKey);
        return this.#later(event.afterMs, () => engine.signals.give(taskId, signalKey));
      }
      case "join signal":
        return whom(this.#pick(signals.all), ({ signalKey, taskId }) => signals.begin(taskId, signalKey));
      case "abort signal":
        return whom(this.#pick(signals.pending), (wait) => signals.abort(wait));
      case "durable":
        return this.#tasks.start(event.parts);
      case "give up":
        return this.#tasks.giveUp();
      case "steal":
        return this.#tasks.steal();
      case "hold":
        this.#watch.heldUntil = clock.now() + event.forMs;
        return this.#faults.befall(event);
      default:
        return this.#faults.befall(event);
    }
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }

  #later(ms: number, act: () => void): void {
    this.clock.sleep(ms, this.#over.signal).then(act, () => {
      // The simulation is over.
    });
  }

  async #end(working: Promise<void>, watching: Promise<void>): Promise<void> {
    const { clock } = this;
    this.#findings.push(...this.#talks.check());
    this.#runs.end();
    this.#signals.end();
    this.#tasks.end();
    if (this.#network.mostDials > 1) this.#found(`${this.#network.mostDials} connects at once`);
    if (this.#network.connecting.length > 1) this.#found(`${this.#network.connecting.join(", ")} connect at once`);
    const { opens } = this.#engine;
    for (let first = 0; first + opensPerMinute < opens.length; first++) {
      if (opens[first + opensPerMinute]!.at - opens[first]!.at < 60_000) {
        this.#found(`more than ${opensPerMinute} streams opened in a minute`);
        break;
      }
    }
    if (!this.#work.isReady) this.#found("the worker is not back");
    this.#over.abort();
    await this.#tasks.close();
    await this.#client.close();
    await this.#talks.end();
    await working;
    await watching;
    await clock.sleep(100_000);
    if (clock.asleep > 0) this.#found(`${clock.asleep} sleeps outlived the client`);
    if (this.#engine.streams.size > 0) this.#found(`${this.#engine.streams.size} streams outlived the client`);
  }
}
