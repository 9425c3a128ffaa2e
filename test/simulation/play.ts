import type { StreamKind } from "../../src/board.ts";
import type { Client } from "../../src/client.ts";
import { Client as RealClient } from "../../src/client.ts";
import { resolveConfig } from "../../src/config.ts";
import { RunCancelledError } from "../../src/errors.ts";
import type { StartAction } from "../../src/listeners/action.ts";
import { Root } from "../../src/root.ts";
import { StreamError } from "../../src/streams/errors.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { mint } from "../../src/testing/engine/token.ts";
import { seeded } from "../../src/testing/random.ts";
import { Conversation } from "./conversation.ts";
import type { Run } from "./engine.ts";
import { DurableTasks } from "./durable-tasks.ts";
import { Network } from "./network.ts";
import type { Event } from "./schedule.ts";
import { stormMs } from "./schedule.ts";
import { SignalWaits } from "./signal-waits.ts";
import { WholeEngine } from "./whole.ts";

/** What came of one run of the simulation. */
export interface Outcome {
  /** What must never happen and did; empty for a good run. */
  readonly findings: readonly string[];
  /** One line that is the same for the same seed and schedule. */
  readonly line: string;
}

/** How long after the storm everybody must have an answer, in milliseconds. */
const calmMs = 240_000;
/** How long a client that is connected again has to keep the engine from taking what it runs, in milliseconds. */
const backMs = 25_000;
/** How long a worker may be deaf and not say so, in milliseconds. */
const deafMs = 20_000;
/** How long it may take until the engine knows who waits on a stream, in milliseconds. */
const askedMs = 2000;
/** How often in any minute streams may be opened, however many there are and however they are treated. */
const opensPerMinute = 45;

interface Waiter {
  readonly run: Run;
  readonly controller: AbortController;
  readonly begunAt: number;
  settled: number;
  aborted: boolean;
}

interface Talk {
  readonly conversation: Conversation;
  readonly listening: Promise<void>;
  /** From when the client promises that nothing is lost without a gap. */
  since: number;
  /** Whether it may be told that nobody answers. */
  readonly mayFail: boolean;
}

/** Plays one schedule against the real client, on virtual time. */
export async function play(seed: number, events: readonly Event[]): Promise<Outcome> {
  const play = new Play(seed);
  return await play.clock.drive(play.run(events), 10 * (stormMs + calmMs));
}

class Play {
  readonly clock = new VirtualClock(1_000_000_000_000);
  readonly #random: () => number;
  readonly #engine: WholeEngine;
  readonly #network: Network;
  readonly #client: Client;
  readonly #findings: string[] = [];
  readonly #waiters: Waiter[] = [];
  readonly #signals: SignalWaits;
  readonly #tasks: DurableTasks;
  readonly #talks: Talk[] = [];
  readonly #workMs = new Map<string, number>();
  readonly #cancelled = new Set<string>();
  readonly #over = new AbortController();
  #slowUntil = 0;
  #tokenAwayUntil = 0;
  #vanish = false;
  #lyingSince: number | undefined;
  /** The kinds of streams that were let in. */
  readonly #in = new Set<StreamKind>();
  /** Since when calls pass. */
  #passingSince: number | undefined;
  readonly #executing = new Set<string>();
  readonly #abandoned = new Set<string>();
  /** When the machine last woke up. */
  #asleepAt = -Infinity;
  /** When beats were last held up: one that comes late makes the engine wait longer than the client can know. */
  #heldAt = -Infinity;

  constructor(seed: number) {
    const random = this.#random = seeded(seed ^ 0x5eed);
    const { clock } = this;
    this.#engine = new WholeEngine(clock, random, this.#over.signal);
    this.#network = new Network(clock, random, this.#engine);
    this.#engine.onTaken = (run) => {
      const isBack = this.#passingSince !== undefined && clock.now() - this.#passingSince > backMs &&
        clock.now() - this.#heldAt > 60_000;
      const key = `${run.id} ${run.attempt}`;
      if (isBack && this.#executing.has(key) && !this.#abandoned.has(key)) this.#found(`${key} was taken while it ran`);
    };
    const token = mint({ tenantId: "t", hostPort: "127.0.0.1:1", issuedMs: 0, expiresMs: 4e12 }, random);
    const config = resolveConfig({
      clock,
      random,
      tls: false,
      logger: false,
      hostPort: "127.0.0.1:1",
      token: () => {
        if (clock.now() < this.#tokenAwayUntil) throw new Error("the vault is away");
        return token;
      },
    }, {});
    this.#client = new RealClient(new Root(config, (authorization) => this.#network.channel(authorization)));
    const client = this.#client;
    const found = (what: string) => this.#found(what);
    const { durable: model, signals } = this.#engine;
    const wasIn = () => this.#in.has("durable-events");
    this.#signals = new SignalWaits({ clock, durable: client.durable, signals, found, wasIn });
    this.#tasks = new DurableTasks({ client, model, clock, random, over: this.#over.signal, found });
  }

  async run(events: readonly Event[]): Promise<Outcome> {
    const { clock } = this;
    const startedAt = clock.now();
    void this.#engine.live(this.#over.signal);
    const working = this.#work();
    const watching = this.#watch();
    for (const event of events) {
      await this.#until(startedAt + event.at);
      this.#apply(event);
    }
    await this.#until(startedAt + stormMs);
    this.#heal();
    const deadline = clock.now() + calmMs;
    while (clock.now() < deadline && (this.#isAwaited || !this.#isReady)) await clock.sleep(1000);
    await this.#end(working, watching);
    const line = `${this.#waiters.length} waits, ${this.#engine.opens.length} opens, ` +
      `${this.#engine.workers.size} workers, ${Math.round(clock.now() - startedAt)} ms`;
    return { findings: this.#findings, line };
  }

  get #pending(): Waiter[] {
    return this.#waiters.filter(({ aborted, settled }) => !aborted && settled === 0);
  }

  get #isAwaited(): boolean {
    return this.#pending.length + this.#signals.pending.length + this.#tasks.pending.length > 0 ||
      this.#talks.some(({ conversation }) => !conversation.ended);
  }

  get #isReady(): boolean {
    return this.#client.health().streams.some(({ ready, stream }) => stream === "actions" && ready);
  }

  async #until(at: number): Promise<void> {
    const left = at - this.clock.now();
    if (left > 0) await this.clock.sleep(left);
  }

  #found(what: string): void {
    this.#findings.push(`${Math.round(this.clock.now() - 1_000_000_000_000)} ms: ${what}`);
  }

  /** A worker's loop, as a user writes it. */
  async #work(): Promise<void> {
    const { clock } = this;
    while (!this.#over.signal.aborted) {
      const actions = this.#client.actions({ register: { name: "worker", actions: ["work:work"], slots: 10 } });
      try {
        for await (const action of actions) {
          if (action.kind === "cancel") this.#cancelled.add(`${action.taskId} ${action.attempt}`);
          else void this.#execute(action);
          if (clock.now() < this.#slowUntil) await clock.sleep(5000);
          if (this.#vanish) {
            // Nobody says any more that these run, so the engine may take them.
            for (const key of this.#executing) this.#abandoned.add(key);
            break;
          }
        }
      } catch (error) {
        this.#found(`the worker's loop threw ${error}`);
      }
      this.#vanish = false;
      await clock.sleep(500);
    }
  }

  async #execute(action: StartAction): Promise<void> {
    const key = `${action.taskId} ${action.attempt}`;
    if (this.#executing.has(key)) this.#found(`attempt ${key} was begun twice`);
    this.#executing.add(key);
    try {
      await this.clock.sleep(this.#workMs.get(action.taskId) ?? 0);
      if (this.#cancelled.has(key)) return;
      await action.completed({ id: action.taskId });
    } catch (error) {
      if (!this.#over.signal.aborted) this.#found(`a report threw ${error}`);
    } finally {
      this.#executing.delete(key);
    }
  }

  #wait(run: Run): void {
    const controller = new AbortController();
    const waiter: Waiter = { run, controller, begunAt: this.clock.now(), settled: 0, aborted: false };
    this.#waiters.push(waiter);
    this.#client.runs.result(run.id, { signal: waiter.controller.signal }).then((outputs) => {
      waiter.settled++;
      const { id } = (outputs["work"] ?? {}) as { id?: unknown };
      if (id !== run.id) this.#found(`run ${run.id} got the output of ${id}`);
    }, (error) => {
      waiter.settled++;
      // Whoever waits to be let in is told when nobody answers; whoever was in stays in.
      const early = error instanceof StreamError && error.code === "unreachable" && !this.#in.has("results");
      const cancelled = error instanceof RunCancelledError && run.cancelled;
      if (!waiter.aborted && !early && !cancelled) this.#found(`the wait for ${run.id} threw ${error}`);
    });
  }

  #talk({ forMs, isNumbered, reader }: Event & { readonly do: "talk" }): void {
    const { clock } = this;
    const options = { engine: this.#engine, client: this.#client, clock, random: this.#random };
    const conversation = new Conversation(options, reader, isNumbered);
    const mayFail = !this.#in.has("events");
    this.#talks.push({ conversation, listening: conversation.listen(), since: Infinity, mayFail });
    void conversation.talk(forMs);
  }

  /** Once a second: the worker that is deaf says so, and nobody storms the engine. */
  async #watch(): Promise<void> {
    const { clock } = this;
    while (!this.#over.signal.aborted) {
      await clock.sleep(1000);
      const { current, refusing, silent } = this.#network;
      const passes = current?.alive === true && !current.isHeld && !refusing && !silent && this.#engine.isUp &&
        !this.#engine.dropping && !this.#engine.refusing && clock.now() >= this.#tokenAwayUntil;
      this.#passingSince = passes ? this.#passingSince ?? clock.now() : undefined;
      for (const { id, state, stream } of this.#client.health().streams) {
        if (state !== "live") continue;
        this.#in.add(stream);
        const talk = this.#talks.find(({ conversation }) => conversation.run.id === id);
        if (talk !== undefined) talk.since = Math.min(talk.since, clock.now());
      }
      this.#checkAsked();
      const heard = [...this.#engine.streams].some(({ wire, worker }) => worker !== undefined && !wire.isHeld);
      this.#lyingSince = !heard && this.#isReady ? this.#lyingSince ?? clock.now() : undefined;
      if (this.#lyingSince !== undefined && clock.now() - this.#lyingSince > deafMs) {
        this.#found(`deaf for ${clock.now() - this.#lyingSince} ms, and healthy`);
      }
    }
  }

  /** Whoever waits is on the current stream. */
  #checkAsked(): void {
    const { signals, streams } = this.#engine;
    const before = this.clock.now() - askedMs;
    for (const stream of streams) {
      if (stream.openedAt > before || this.#asleepAt > before || !stream.wire.alive || stream.wire.isHeld) continue;
      const miss = (what: string) =>
        this.#found(`${what} is not on the stream that is ${before - stream.openedAt} old`);
      if (stream.method === "SubscribeToWorkflowRuns") {
        for (const { begunAt, run } of this.#pending) {
          if (begunAt < before && run.state !== "done" && !stream.ids.has(run.id)) miss(`the wait for ${run.id}`);
        }
      } else if (stream.method === "ListenForDurableEvent") {
        for (const { begunAt, signalKey, taskId } of this.#signals.pending) {
          if (begunAt < before && !signals.isAsked(stream, taskId, signalKey)) miss(`the wait for ${signalKey}`);
        }
      }
    }
  }

  #apply(event: Event): void {
    const engine = this.#engine;
    const network = this.#network;
    const { durable, signals } = engine;
    const pick = <T>(items: readonly T[]): T | undefined => items[Math.floor(this.#random() * items.length)];
    switch (event.do) {
      case "run": {
        const run = engine.trigger();
        this.#workMs.set(run.id, event.workMs);
        return this.#wait(run);
      }
      case "join": {
        const waiter = pick(this.#waiters);
        return waiter && this.#wait(waiter.run);
      }
      case "abort": {
        const waiter = pick(this.#pending);
        if (waiter === undefined) return;
        waiter.aborted = true;
        return waiter.controller.abort(new Error("not interested any more"));
      }
      case "cancel": {
        const run = pick([...engine.runs.values()].filter(({ state }) => state === "assigned"));
        return run && engine.cancel(run);
      }
      case "cut":
        return network.lose(event.engineNotices);
      case "goaway":
        return network.retire();
      case "reset": {
        const stream = pick([...engine.streams]);
        return stream?.finish(network.face());
      }
      case "lose report":
        engine.losing++;
        return;
      case "double report":
        engine.doubling++;
        return;
      case "vanish":
        this.#vanish = true;
        return;
      case "expire":
        this.#tokenAwayUntil = this.clock.now() + 5000;
        return;
      case "hold":
        network.hold(event.up, event.down);
        this.#heldAt = this.clock.now() + event.forMs;
        return this.#later(event.forMs, () => network.release());
      case "drain":
        engine.drain();
        network.retire();
        return this.#later(event.forMs, () => engine.isUp = true);
      case "kill":
        engine.isUp = false;
        network.lose();
        return this.#later(event.forMs, () => engine.isUp = true);
      case "refuse":
        network.refusing = true;
        return this.#later(event.forMs, () => network.refusing = false);
      case "silence":
        network.silent = true;
        return this.#later(event.forMs, () => network.silent = false);
      case "slow connects":
        network.connectMs = 4000;
        return this.#later(event.forMs, () => network.connectMs = 5);
      case "drop":
        engine.dropping = true;
        for (const stream of [...engine.streams]) stream.finish();
        return this.#later(event.forMs, () => engine.dropping = false);
      case "no auth":
        engine.refusing = true;
        return this.#later(event.forMs, () => engine.refusing = false);
      case "slow consumer":
        this.#slowUntil = this.clock.now() + event.forMs;
        return;
      case "jump":
        // Whoever does not run cannot say that it is deaf.
        if (this.#lyingSince !== undefined) this.#lyingSince += event.forMs;
        this.#passingSince = undefined;
        this.#asleepAt = this.clock.now() + event.forMs;
        return this.clock.jump(event.forMs);
      case "talk":
        return this.#talk(event);
      case "signal": {
        // Of another task, or another signal of the same.
        const taskId = this.#random() < 0.5 ? pick(this.#signals.all)?.taskId ?? engine.uuid() : engine.uuid();
        const signalKey = `paid:${this.#signals.all.length}`;
        this.#signals.begin(taskId, signalKey);
        return this.#later(event.afterMs, () => signals.give(taskId, signalKey));
      }
      case "join signal": {
        const wait = pick(this.#signals.all);
        return wait && this.#signals.begin(wait.taskId, wait.signalKey);
      }
      case "abort signal": {
        const wait = pick(this.#signals.pending);
        return wait && this.#signals.abort(wait);
      }
      case "lose signal":
        signals.losing++;
        return;
      case "double signal":
        signals.doubling++;
        return;
      case "durable":
        return this.#tasks.start(event.parts);
      case "give up":
        return this.#tasks.giveUp();
      case "steal":
        return this.#tasks.steal();
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

  #later(ms: number, act: () => void): void {
    this.clock.sleep(ms, this.#over.signal).then(act, () => {
      // The simulation is over.
    });
  }

  #heal(): void {
    const engine = this.#engine;
    const network = this.#network;
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

  async #end(working: Promise<void>, watching: Promise<void>): Promise<void> {
    const { clock } = this;
    for (const { run } of this.#pending) this.#found(`nobody told the waiter of ${run.id}, which is ${run.state}`);
    for (const { run, settled } of this.#waiters) {
      if (settled > 1) this.#found(`run ${run.id} settled ${settled} times`);
    }
    for (const { conversation, mayFail, since } of this.#talks) {
      if (!(mayFail && conversation.isLeftOut)) this.#findings.push(...conversation.check(since));
    }
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
    if (!this.#isReady) this.#found("the worker is not back");
    this.#over.abort();
    await this.#tasks.close();
    await this.#client.close();
    for (const { listening } of this.#talks) await listening;
    await working;
    await watching;
    await clock.sleep(100_000);
    if (clock.asleep > 0) this.#found(`${clock.asleep} sleeps outlived the client`);
    if (this.#engine.streams.size > 0) this.#found(`${this.#engine.streams.size} streams outlived the client`);
  }
}
