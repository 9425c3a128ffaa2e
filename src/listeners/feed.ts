import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SubscribeToWorkflowEventsRequestSchema, WorkflowEvent } from "../../gen/dispatcher/dispatcher_pb.ts";
import { Dispatcher } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { Entry, StreamKind } from "../board.ts";
import type { Root } from "../root.ts";
import type { Attempt } from "../streams/attempt.ts";
import { only } from "../streams/follow.ts";
import { after } from "../streams/clock.ts";
import { StreamError } from "../streams/errors.ts";
import { pushback } from "../streams/pushback.ts";
import type { Pushed } from "../streams/pushed.ts";
import { push } from "../streams/pushed.ts";
import { pushing } from "../streams/reconnect.ts";
import type { Linked } from "../streams/signal.ts";
import { linked } from "../streams/signal.ts";
import type { StreamStatus } from "../streams/status.ts";
import type { Ending, Verdict } from "../streams/verdict.ts";
import { Comeback } from "./comeback.ts";
import type { RunEvent, RunGap } from "./event.ts";
import { gap } from "./order.ts";

/** From when a stream was subscribed where nothing tells, in milliseconds. */
const letInMs = 250;
/** From when it was subscribed even if it told nothing: the engine looks for a run no longer, in milliseconds. */
const foundMs = 10_000;
/** How long the engine has to end a stream that is over, and to tell what is on its way, in milliseconds. */
const graceMs = 1000;

/** Hands an event on; true when it was enough for now. */
type Take = (event: RunEvent) => boolean;

const comesBack: readonly Verdict[] = ["transient", "suspect", "doubt"];

/** What one kind of stream of events does in its own way. */
export interface Matter {
  readonly stream: StreamKind;
  readonly id: string;
  readonly priority: number;
  readonly request: MessageInitShape<typeof SubscribeToWorkflowEventsRequestSchema>;
  /** How often to ask whether all is told, in milliseconds; `undefined` for never. */
  readonly probeMs: number | undefined;
  /** What a message tells. */
  tell(message: WorkflowEvent): readonly RunEvent[];
  /** Whether the engine says with a message that all is told; it may be wrong. */
  hangsUp(message: WorkflowEvent): boolean;
  /** Whether all is told; `undefined` when nobody answers. */
  isOver(signal: AbortSignal): boolean | Promise<boolean | undefined>;
  /**
   * Whether what is over ended as the engine said when it hung up, and not as a later attempt did, and all of it was told
   * before: a busy engine hangs up before it tells the last.
   */
  readonly isAsSaid: boolean;
  /** The stream was lost: until it is open again nothing is told. */
  lost(): void;
  /** Called behind the last event. @throws what the loop is to throw */
  end(): void;
}

/** One attempt. */
interface Try {
  readonly life: Linked;
  readonly openedAt: number;
  /** When it was last of use. */
  heardAt: number;
  /** Whether it told anything. */
  told: boolean;
  /** Whether the engine said that this was all. */
  hungUp: boolean;
  /** Whether somebody else said so. */
  isOver: boolean;
}

/** The events of one subscription, from attempt to attempt; each time it is opened again there is a gap between them. */
export class Feed {
  readonly #root: Root;
  readonly #matter: Matter;
  readonly #entry: Entry;
  readonly #comeback: Comeback;
  #try: Try | undefined;
  #status: StreamStatus | undefined;
  #isPaused = false;
  /** Whether an attempt was let in, or need not be. */
  #isIn = false;
  #failed = 0;
  /** Whether an attempt was ever subscribed: what came before was promised to nobody. */
  #wasSubscribed = false;
  /** What is to be told before the next event. */
  #gap: RunGap | undefined;
  /** How the last ending was no failure of the client's. */
  #excuse: "early" | "alone" | undefined;

  constructor(root: Root, matter: Matter) {
    this.#root = root;
    this.#matter = matter;
    this.#entry = root.board.add(matter.stream, matter.id);
    this.#comeback = new Comeback(root.random);
  }

  /** Says whether reading pauses, because whoever loops is behind. */
  readonly pause = (isPaused: boolean): void => {
    this.#isPaused = isPaused;
    if (this.#status?.state === "live") this.#entry.tell({ ...this.#status, paused: isPaused });
  };

  /** The events, for a pump. */
  read(life: AbortSignal): AsyncIterable<RunEvent> {
    const pushed: Pushed<RunEvent> = { [push]: (take) => this.#events(life, take) };
    return pushed as Pushed<RunEvent> & AsyncIterable<RunEvent>; // A pump does not pull what pushes.
  }

  async *#events(life: AbortSignal, take: Take): AsyncGenerator<unknown, void> {
    const matter = this.#matter;
    const { onStatus, setupAttempts = Infinity, ...policy } = this.#root.policy(this.#entry);
    const whole = linked(life, this.#root.signal);
    this.#isIn = setupAttempts === Infinity;
    try {
      const messages = pushing<WorkflowEvent>((attempt) => this.#open(attempt), {
        ...policy,
        signal: whole.signal,
        priority: matter.priority,
        judge: async (usual, ending) => {
          const verdict = await this.#judge(usual, ending, whole.signal);
          if (comesBack.includes(verdict)) this.#countTry(setupAttempts, ending.error);
          return verdict;
        },
        apart: () => this.#excuse && this.#comeback[this.#excuse](),
        onIn: () => {
          this.#isIn = this.#wasSubscribed = true;
          if (this.#gap !== undefined) take(this.#gap);
          this.#gap = undefined;
        },
        onStatus: (status) => {
          this.#status = status;
          onStatus?.(status);
        },
      });
      yield* messages[push]((message) => this.#tell(message, take));
      if (this.#gap !== undefined) take(this.#gap);
      matter.end();
    } finally {
      whole.abort();
    }
  }

  #open(attempt: Attempt<WorkflowEvent>): AsyncIterable<WorkflowEvent> {
    const { probeMs, request } = this.#matter;
    const life = linked(attempt.signal);
    const openedAt = this.#root.clock.now();
    const current = this.#try = { life, openedAt, heardAt: openedAt, told: false, hungUp: false, isOver: false };
    if (probeMs !== undefined) this.#probe(current, probeMs);
    const { signal } = life;
    return this.#root.stream(Dispatcher.method.subscribeToWorkflowEvents, only(request), {
      live: attempt.live,
      signal,
    });
  }

  #tell(message: WorkflowEvent, take: Take): boolean {
    const current = this.#try;
    /* c8 ignore next -- a message comes by a try, but no type says so. */
    if (current === undefined) return false;
    let enough = false;
    for (const event of this.#matter.tell(message)) {
      current.told = true;
      enough = take(event);
    }
    current.heardAt = this.#root.clock.now();
    if (this.#matter.hangsUp(message)) {
      current.hungUp = true;
      this.#endSoon(current);
    }
    return enough;
  }

  /** Asks now and then whether all is told: the engine may have lost the word of it. */
  #probe(current: Try, probeMs: number): void {
    const { clock, random } = this.#root;
    const { signal } = current.life;
    const probe = async () => {
      current.isOver = await this.#matter.isOver(signal) === true;
      if (current.isOver) this.#endSoon(current);
      else this.#probe(current, probeMs);
    };
    after(clock, probeMs * (0.8 + 0.4 * random()), signal, () => void probe());
  }

  /** Ends a stream that is over once nothing comes any more; what nobody has read yet may be on its way still. */
  #endSoon(current: Try): void {
    const { clock } = this.#root;
    const { life } = current;
    after(clock, graceMs, life.signal, () => {
      if (this.#isPaused || clock.now() - current.heardAt < graceMs) this.#endSoon(current);
      else life.abort();
    });
  }

  async #judge(usual: Verdict, ending: Ending, signal: AbortSignal): Promise<Verdict> {
    const { alone, error, heard } = ending;
    const now = this.#root.clock.now();
    const current = this.#try;
    this.#try = undefined;
    const livedMs = current === undefined ? 0 : now - current.openedAt;
    const verdict = this.#root.doubt.decorate(usual, ending);
    this.#excuse = undefined;
    this.#comeback.lived(livedMs, current?.told === true);
    if (livedMs >= letInMs) this.#wasSubscribed = true;
    if (current !== undefined && (error === undefined || current.hungUp || current.isOver)) {
      const isOver = await this.#matter.isOver(signal);
      if (isOver) {
        // It ended without a word of that end, or that word overtook others: there may be more that was not told.
        if (!(current.hungUp && this.#matter.isAsSaid) && (heard || livedMs >= foundMs)) this.#gap ??= gap("missing");
        return "end";
      }
      if (isOver === false) {
        this.#isIn = true;
        this.#excuse = "early";
      }
    }
    if (current !== undefined && this.#wasSubscribed) {
      this.#gap ??= gap("reconnect");
      this.#matter.lost();
    }
    if (verdict !== "transient") return verdict;
    if (alone && pushback(error, now) === undefined) this.#excuse ??= "alone";
    return verdict;
  }

  /** One more attempt that failed; whoever was in once stays in. @throws StreamError `unreachable` */
  #countTry(setupAttempts: number, cause: unknown): void {
    if (this.#isIn || ++this.#failed < setupAttempts) return;
    const attempts = this.#failed;
    throw new StreamError("unreachable", `Not let in after ${attempts} attempts`, { attempts, cause });
  }
}
