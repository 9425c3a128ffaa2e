import type { Client } from "../../src/client.ts";
import { RunCancelledError } from "../../src/errors.ts";
import { StreamError } from "../../src/streams/errors.ts";
import type { Clock } from "../../src/streams/clock.ts";
import type { Run } from "./runs.ts";
import type { TalkingEngine } from "./talker.ts";

/** Who listens: a loop over events, one that is slow at it, or one over chunks. */
export type Reader = "quick" | "slow" | "chunks";

/** What a conversation needs of the simulation. */
export interface ConversationOptions {
  readonly engine: TalkingEngine;
  readonly client: Client;
  readonly clock: Clock;
  readonly random: () => number;
}

/** A run that talks, and what one loop hears of it: each text once, or a gap in its place, and then the end. */
export class Conversation {
  readonly run: Run;
  readonly #options: ConversationOptions;
  readonly #reader: Reader;
  readonly #isNumbered: boolean;
  /** When each text was sent. */
  readonly #sentAt: number[] = [];
  /** The numbers of the texts that were heard, and the gaps between them. */
  readonly #heard: (number | "gap")[] = [];
  #ended: string | undefined;

  constructor(options: ConversationOptions, reader: Reader, isNumbered: boolean) {
    const { engine } = options;
    this.#options = options;
    this.#reader = reader;
    this.#isNumbered = isNumbered;
    this.run = engine.trigger();
    // No worker runs it.
    this.run.state = "talking";
  }

  /** Whether its loop has ended. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Whether nobody answered when it was to begin. */
  get isLeftOut(): boolean {
    return this.#ended === "unreachable";
  }

  async listen(): Promise<void> {
    const { client: { runs }, clock } = this.#options;
    const heard = this.#heard;
    try {
      if (this.#reader === "chunks") {
        for await (const text of runs.chunks(this.run.id, { onGap: () => heard.push("gap") })) heard.push(Number(text));
      } else {
        for await (const event of runs.events(this.run.id)) {
          if (event.kind === "gap") heard.push("gap");
          if (event.kind === "chunk") heard.push(Number(event.text));
          if (this.#reader === "slow") await clock.sleep(this.#below(600));
        }
      }
      this.#ended = "completed";
    } catch (error) {
      if (error instanceof RunCancelledError) this.#ended = "cancelled";
      else this.#ended = error instanceof StreamError ? error.code : String(error);
    }
  }

  /** Chunks, alone and in bursts, failures between them, and an end; nobody tells an engine that is down. */
  async talk(forMs: number): Promise<void> {
    const { clock, engine, random } = this.#options;
    const until = clock.now() + forMs;
    for (let index = 0; clock.now() < until;) {
      await clock.sleep(this.#below(1000));
      if (!engine.isUp) continue;
      if (random() < 0.03) {
        engine.falter(this.run);
        index = 0;
        await clock.sleep(this.#below(6000));
        continue;
      }
      for (let left = random() < 0.1 ? this.#below(20) : 1; left > 0; left--) {
        const text = this.#sentAt.push(clock.now()) - 1;
        engine.chunk(this.run, String(text), this.#isNumbered ? index++ : undefined);
      }
    }
    while (!engine.isUp) await clock.sleep(100);
    engine.finish(this.run, random() < 0.3);
  }

  /** What must not have happened and did; what was sent before `since` was promised to nobody. */
  check(since: number): string[] {
    const { run } = this;
    const findings: string[] = [];
    const found = (what: string) => findings.push(`run ${run.id}: ${what}`);
    const expected = run.cancelled ? "cancelled" : "completed";
    if (this.#ended !== expected) found(`the loop ended with ${this.#ended} instead of ${expected}`);
    let next = this.#sentAt.findIndex((at) => at >= since);
    if (next < 0) next = this.#sentAt.length;
    let isGap = false;
    let last = -1;
    // At a cancel the engine forgets what it holds back, and nothing tells; but then the loop has thrown.
    for (const one of run.cancelled ? this.#heard : [...this.#heard, this.#sentAt.length]) {
      if (one === "gap") {
        isGap = true;
        continue;
      }
      if (one <= last) found(`text ${one} came after ${last}`);
      if (one > next && !isGap) found(`texts ${next} to ${one - 1} were lost outside a gap`);
      last = one;
      next = Math.max(next, one + 1);
      isGap = false;
    }
    return findings;
  }

  #below(most: number): number {
    return Math.floor(this.#options.random() * most);
  }
}
