import type { Client } from "../../src/client.ts";
import { Client as RealClient } from "../../src/client.ts";
import { resolveConfig } from "../../src/config.ts";
import { Root } from "../../src/root.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { mint } from "../../src/testing/engine/token.ts";
import { seeded } from "../../src/testing/random.ts";
import { Conversation } from "./conversation.ts";
import { Network } from "./network.ts";
import { TalkingEngine } from "./talker.ts";

/** Until when nothing falls on the wire, so that the client is let in; what is lost before is nobody's. */
const quietMs = 3000;
/** For how long things happen, and how long after everybody must know the end, in milliseconds. */
const stormMs = 120_000;
const calmMs = 120_000;

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
    const options = { engine: this.#engine, client: this.#client, clock, random: this.#random };
    const readers = ["quick", "slow", "chunks"] as const;
    const talks = readers.map((reader) => new Conversation(options, reader, this.#random() < 0.7));
    const loops = talks.map((one) => one.listen());
    const talking = talks.map((one) => one.talk(quietMs + this.#below(stormMs)));
    await this.#storm();
    await Promise.all(talking);
    await clock.sleep(calmMs);
    for (const one of talks) {
      // What was sent before anybody listened is no loss.
      this.#findings.push(...one.check(this.#engine.subscribedAt.get(one.run.id) ?? Infinity));
    }
    await this.#client.close();
    await Promise.all(loops);
    this.#over.abort();
    await clock.sleep(100_000);
    if (clock.asleep > 0) this.#findings.push(`${clock.asleep} sleeps outlived the client`);
    if (this.#engine.streams.size > 0) this.#findings.push(`${this.#engine.streams.size} streams outlived the client`);
    return this.#findings;
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

  #below(most: number): number {
    return Math.floor(this.#random() * most);
  }

  #later(ms: number, act: () => void): void {
    this.clock.sleep(ms, this.#over.signal).then(act, () => {
      // The simulation is over.
    });
  }
}
