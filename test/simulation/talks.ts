import type { ConversationOptions, Reader } from "./conversation.ts";
import { Conversation } from "./conversation.ts";

interface Talk {
  readonly conversation: Conversation;
  readonly listening: Promise<void>;
  /** From when the client promises that nothing is lost without a gap. */
  since: number;
  /** Whether it may be told that nobody answers. */
  readonly mayFail: boolean;
}

/** The conversations of one simulation. */
export class Talks {
  readonly #options: ConversationOptions;
  readonly #talks: Talk[] = [];

  constructor(options: ConversationOptions) {
    this.#options = options;
  }

  /** Whether somebody still listens. */
  get isAwaited(): boolean {
    return this.#talks.some(({ conversation }) => !conversation.ended);
  }

  /** `wasIn` is whether a stream of the kind was let in: before that it may be told that nobody answers. */
  begin(reader: Reader, isNumbered: boolean, forMs: number, wasIn: boolean): void {
    const conversation = new Conversation(this.#options, reader, isNumbered);
    this.#talks.push({ conversation, listening: conversation.listen(), since: Infinity, mayFail: !wasIn });
    void conversation.talk(forMs);
  }

  /** A run's stream is live. */
  heard(runId: string): void {
    const talk = this.#talks.find(({ conversation }) => conversation.run.id === runId);
    if (talk !== undefined) talk.since = Math.min(talk.since, this.#options.clock.now());
  }

  /** What must not have happened and did. */
  check(): string[] {
    const talks = this.#talks.filter(({ conversation, mayFail }) => !(mayFail && conversation.isLeftOut));
    return talks.flatMap(({ conversation, since }) => conversation.check(since));
  }

  async end(): Promise<void> {
    for (const { listening } of this.#talks) await listening;
  }
}
