import type { Client } from "../../src/client.ts";
import { Client as RealClient } from "../../src/client.ts";
import { resolveConfig } from "../../src/config.ts";
import { RunCancelledError } from "../../src/errors.ts";
import { Root } from "../../src/root.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { mint } from "../../src/testing/engine/token.ts";
import { seeded } from "../../src/testing/random.ts";
import type { Run } from "./engine.ts";
import { Network } from "./network.ts";
import { TalkingEngine } from "./talker.ts";

/** Until when nothing falls on the wire, so that the client is let in; what is lost before is nobody's. */
const quietMs = 3000;
/** For how long things happen, and how long after everybody must know the end, in milliseconds. */
const stormMs = 120_000;
const calmMs = 120_000;

/** A run, and what one loop heard of it. */
interface Talk {
  readonly run: Run;
  readonly isNumbered: boolean;
  /** When each text was sent. */
  readonly sentAt: number[];
  /** The numbers of the texts that were heard, and the gaps between them. */
  readonly heard: (number | "gap")[];
  ended: string | undefined;
}

/** Three runs talk while things fall on the wire; tells what must not happen and did. */
export async function talk(seed: number): Promise<string[]> {
  const talk = new Talking(seed);
  return await talk.clock.drive(talk.run(), 10 * (stormMs + calmMs));
}

class Talking {
  readonly clock = new VirtualClock(1_000_000_000_000);
  readonly #random: () => number;
  readonly #engine: TalkingEngine;
  readonly #network: Network;
  readonly #client: Client;
  readonly #over = new AbortController();
  readonly #findings: string[] = [];

  constructor(seed: number) {
    const { clock } = this;
    const random = this.#random = seeded(seed ^ 0x7a1c);
    this.#engine = new TalkingEngine(clock, random);
    this.#network = new Network(clock, random, this.#engine);
    const token = mint({ tenantId: "t", hostPort: "127.0.0.1:1", issuedMs: 0, expiresMs: 4e12 }, random);
    const config = resolveConfig({ clock, random, tls: false, logger: false, hostPort: "127.0.0.1:1", token }, {});
    this.#client = new RealClient(new Root(config, (authorization) => this.#network.channel(authorization)));
  }

  async run(): Promise<string[]> {
    const { clock } = this;
    const talks = [0, 1, 2].map((): Talk => {
      const run = this.#engine.trigger();
      return { run, isNumbered: this.#random() < 0.7, sentAt: [], heard: [], ended: undefined };
    });
    const loops = talks.map((one, n) => this.#listen(one, n));
    const talking = talks.map((one) => this.#talk(one));
    await this.#storm();
    await Promise.all(talking);
    await clock.sleep(calmMs);
    for (const one of talks) this.#check(one);
    await this.#client.close();
    await Promise.all(loops);
    this.#over.abort();
    await clock.sleep(100_000);
    if (clock.asleep > 0) this.#findings.push(`${clock.asleep} sleeps outlived the client`);
    if (this.#engine.streams.size > 0) this.#findings.push(`${this.#engine.streams.size} streams outlived the client`);
    return this.#findings;
  }

  /** A quick loop over events, a slow one, and one over chunks. */
  async #listen(one: Talk, n: number): Promise<void> {
    const { runs } = this.#client;
    try {
      if (n === 2) {
        const onGap = () => one.heard.push("gap");
        for await (const text of runs.chunks(one.run.id, { onGap })) one.heard.push(Number(text));
      } else {
        for await (const event of runs.events(one.run.id)) {
          if (event.kind === "gap") one.heard.push("gap");
          if (event.kind === "chunk") one.heard.push(Number(event.text));
          if (n === 1) await this.clock.sleep(this.#below(600));
        }
      }
      one.ended = "completed";
    } catch (error) {
      one.ended = error instanceof RunCancelledError ? "cancelled" : String(error);
    }
  }

  /** Chunks, alone and in bursts, failures between them, and an end; nobody tells an engine that is down. */
  async #talk(one: Talk): Promise<void> {
    const { clock } = this;
    const engine = this.#engine;
    const until = clock.now() + quietMs + this.#below(stormMs);
    for (let index = 0; clock.now() < until;) {
      await clock.sleep(this.#below(1000));
      if (!engine.isUp) continue;
      if (this.#random() < 0.03) {
        engine.falter(one.run);
        index = 0;
        await clock.sleep(this.#below(6000));
        continue;
      }
      for (let left = this.#random() < 0.1 ? this.#below(20) : 1; left > 0; left--) {
        const text = one.sentAt.push(clock.now()) - 1;
        engine.chunk(one.run, String(text), one.isNumbered ? index++ : undefined);
      }
    }
    while (!engine.isUp) await clock.sleep(100);
    engine.finish(one.run, this.#random() < 0.3);
  }

  async #storm(): Promise<void> {
    const { clock } = this;
    const startedAt = clock.now();
    const times = Array.from({ length: 3 + this.#below(9) }, () => quietMs + this.#below(stormMs - quietMs));
    for (const at of times.sort((a, b) => a - b)) {
      await clock.sleep(Math.max(0, startedAt + at - clock.now()));
      this.#fall();
    }
    await clock.sleep(Math.max(0, startedAt + stormMs - clock.now()));
    const engine = this.#engine;
    const network = this.#network;
    engine.isUp = true;
    engine.dropping =
      engine.refusing =
      network.refusing =
      network.silent =
        false;
    network.release();
  }

  #fall(): void {
    const engine = this.#engine;
    const network = this.#network;
    const forMs = 100 + this.#below(15_000);
    switch (this.#below(10)) {
      case 0:
        return network.lose(this.#random() < 0.7);
      case 1:
        return network.retire();
      case 2:
      case 3: {
        const streams = [...engine.streams];
        return streams[this.#below(streams.length)]?.finish(this.#random() < 0.7 ? network.face() : undefined);
      }
      case 4:
        network.hold(this.#random() < 0.5, true);
        return this.#later(forMs, () => network.release());
      case 5:
        engine.drain();
        network.retire();
        return this.#later(forMs, () => engine.isUp = true);
      case 6:
        engine.isUp = false;
        network.lose();
        return this.#later(forMs, () => engine.isUp = true);
      case 7:
        network.refusing = true;
        network.lose();
        return this.#later(forMs, () => network.refusing = false);
      case 8:
        engine.dropping = true;
        for (const stream of [...engine.streams]) stream.finish();
        return this.#later(forMs, () => engine.dropping = false);
      default:
        engine.refusing = true;
        network.lose();
        return this.#later(forMs, () => engine.refusing = false);
    }
  }

  #check({ ended, heard, run, sentAt }: Talk): void {
    const found = (what: string) => this.#findings.push(`run ${run.id}: ${what}`);
    const expected = run.cancelled ? "cancelled" : "completed";
    if (ended !== expected) found(`the loop ended with ${ended} instead of ${expected}`);
    // What was sent before anybody listened is no loss.
    const from = this.#engine.subscribedAt.get(run.id) ?? Infinity;
    let next = sentAt.findIndex((at) => at >= from);
    if (next < 0) next = sentAt.length;
    let isGap = false;
    // At a cancel the engine forgets what it holds back, and nothing tells; but then the loop has thrown.
    for (const one of run.cancelled ? heard : [...heard, sentAt.length]) {
      if (one === "gap") {
        isGap = true;
        continue;
      }
      if (one < next) found(`text ${one} came after ${next - 1}`);
      if (one > next && !isGap) found(`texts ${next} to ${one - 1} were lost outside a gap`);
      next = one + 1;
      isGap = false;
    }
  }

  #below(most: number): number {
    return Math.floor(this.#random() * most);
  }

  #later(ms: number, act: () => void): void {
    this.clock.sleep(ms, this.#over.signal).then(act, () => {
      // The simulation is over.
    });
  }
}
