import { Code, ConnectError } from "@connectrpc/connect";
import type { AssignedAction } from "../../gen/dispatcher/dispatcher_pb.ts";
import { Dispatcher } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { Entry } from "../board.ts";
import { isRefusal } from "../doubt.ts";
import type { Root } from "../root.ts";
import type { Attempt } from "../streams/attempt.ts";
import { after } from "../streams/clock.ts";
import { only } from "../streams/follow.ts";
import type { Connection } from "../streams/gate.ts";
import { reconnect } from "../streams/reconnect.ts";
import type { Ending, Verdict } from "../streams/verdict.ts";
import { originOf } from "../streams/verdict.ts";
import type { Action } from "./action.ts";
import { toAction } from "./action.ts";
import { beatTimeoutMs, heartbeat } from "./heartbeat.ts";
import { isUnimplemented, lacksListenV2 } from "./old-listen.ts";
import { Patience } from "./patience.ts";
import type { RegisterOptions, Registration } from "./register.ts";
import { register } from "./register.ts";
import type { Call } from "./relay.ts";
import { Relay } from "./relay.ts";
import { renew } from "./renewal.ts";
import { reports } from "./reports.ts";
import { Work } from "./work.ts";

/** Whose actions: those of a worker that is registered already, or of one that the stream registers by itself. */
export type ActionsOptions =
  & {
    /** Ends the stream; the loop throws the signal's own reason. */
    readonly signal?: AbortSignal | undefined;
    /** Told each time the stream has registered a worker. */
    readonly onRegistered?: ((registration: Registration) => void) | undefined;
  }
  & (
    | { readonly workerId: string; readonly register?: undefined }
    | { readonly register: RegisterOptions; readonly workerId?: undefined }
  );

/** For how long an engine without ListenV2 is not asked for it again, in milliseconds. */
const oldListenMs = 600_000;
/**
 * How long after an accepted beat, with none behind it, nothing more is on its way that was handed out for it, in
 * milliseconds: the engine schedules for 5 s, and takes a moment to send.
 */
const quietMs = 7000;
/** How often it is asked at the most whether a newer stream is due, in milliseconds. */
const freshMs = 8000;

/**
 * One worker's ListenV2, from attempt to attempt. Where it registers by itself, a stream that the engine did not end is
 * doubt about the worker's id: the engine may have written work into the dead wire, and would leave it there for as
 * long as the worker goes on beating. So it comes back as a new worker.
 */
export class Listener {
  readonly #root: Root;
  readonly #options: ActionsOptions;
  readonly #entry: Entry;
  readonly #work: Work;
  readonly #patience = new Patience();
  /** Empty until it is registered. */
  #workerId: string;
  /** Whether work may have been lost on its way to this worker. */
  #doubtful = false;
  /** The error with which a heartbeat ended the attempt. */
  #lost: unknown;
  /** Whether a beat was accepted since the stream was last opened anew for one that was not. */
  #trusted = true;
  /** Whether the stream is opened anew without a wait. */
  #atOnce = false;
  #sentAt = 0;
  #heardAt = 0;
  /** Whether the newest stream is the engine's old kind. */
  #isOld = false;
  /** Until when the engine is taken for one without ListenV2. */
  #oldUntil = -Infinity;

  constructor(root: Root, options: ActionsOptions) {
    this.#root = root;
    this.#options = options;
    this.#work = new Work(root);
    this.#workerId = options.workerId ?? "";
    this.#entry = root.board.add("actions", options.workerId ?? options.register.name);
  }

  /** Whether the loop may have an action now. */
  begins(action: Action): boolean {
    return this.#work.begin(action);
  }

  async *read(signal: AbortSignal): AsyncGenerator<Action, void> {
    const messages = reconnect<AssignedAction>((attempt) => this.#open(attempt, signal), {
      ...this.#root.policy(this.#entry),
      signal,
      priority: 0,
      ready: (attempt, timeoutMs) => this.#ready(attempt, timeoutMs),
      judge: (verdict, ending) => this.#judge(verdict, ending, signal),
      apart: () => {
        const atOnce = this.#atOnce;
        this.#atOnce = false;
        return atOnce ? 0 : undefined;
      },
    });
    for await (const message of messages) {
      this.#heardAt = this.#root.clock.now();
      const action = toAction(message, this.#workerId, (one, workerId) => reports(this.#root, one, workerId));
      if (action !== undefined) yield this.#work.follow(action);
      else this.#root.config.logger.warn("An action of an unknown kind was left", { kind: message.actionType });
    }
  }

  /** A connection that takes requests, and a worker that the engine knows. */
  async #ready(signal: AbortSignal, timeoutMs: number): Promise<Connection | undefined> {
    const connection = await this.#root.channel.ready(signal, timeoutMs);
    const { onRegistered, register: options } = this.#options;
    if (this.#doubtful && options !== undefined && await this.#work.leave({ signal, timeoutMs })) {
      this.#workerId = "";
    }
    this.#doubtful = false;
    if (this.#workerId === "" && options !== undefined) {
      const registration = await register(this.#root, options, { signal, timeoutMs });
      this.#entry.id = this.#workerId = registration.workerId;
      onRegistered?.(registration);
    }
    return connection;
  }

  #open(attempt: Attempt<AssignedAction>, life: AbortSignal): AsyncIterable<AssignedAction> {
    const { channel, clock, doubt } = this.#root;
    const workerId = this.#workerId;
    const dispatcher = this.#root.rpc(Dispatcher);
    const lose = (error: unknown) => relay.fail(this.#lost = error);
    const relay = new Relay<AssignedAction>(
      (signal) => this.#call(workerId, { live: attempt.live, signal }, lose),
      attempt.signal,
    );
    const alive = () => {
      this.#entry.doubt(undefined);
      attempt.live();
    };
    this.#entry.doubt(new Error("The engine has not accepted a heartbeat yet"));
    void heartbeat({
      clock,
      beat: async (heartbeatAt, signal) => {
        const begunAt = clock.now();
        // It beats while its stream is open: without a connection that one is only going away, and needs a successor.
        await channel.ready(signal, beatTimeoutMs);
        // It may outlive its stream: whether the engine took it tells whether what runs here is still this worker's.
        await dispatcher.heartbeat({ workerId, heartbeatAt }, { signal: life, timeoutMs: beatTimeoutMs });
        if (this.#workerId === workerId) this.#work.beaten(begunAt);
      },
      sentAt: () => this.#sentAt,
      accepted: () => {
        this.#trusted = true;
        doubt.accepted();
        alive();
        if (relay.size === 1) return false;
        // What the engine sends on a call that is let go of is lost: so it goes when nothing is sent.
        after(clock, quietMs, attempt.signal, () => relay.retire());
        return true;
      },
      deaf: (error) => {
        this.#entry.doubt(error);
        // What the engine could not send meanwhile is on its way elsewhere, but not what it sent into the void.
        this.#doubtful = true;
        this.#atOnce = this.#trusted;
        this.#trusted = false;
        lose(error);
      },
      forgotten: lose,
      refused: (error) => {
        this.#entry.doubt(error);
        if (doubt.judge("fatal", error) === "fatal") lose(error);
      },
      silent: (error) => {
        this.#entry.doubt(error);
      },
      needless: alive,
    }, attempt.signal);
    this.#keepFresh(relay, attempt.signal);
    this.#work.watch((cancelled) => relay.put(cancelled), attempt.signal);
    return relay;
  }

  /** The newest call of a stream, which may be its only one. */
  #call(
    workerId: string,
    attempt: Pick<Attempt<AssignedAction>, "live" | "signal">,
    lose: (error: unknown) => void,
  ): Call<AssignedAction> {
    const { channel: { connection }, clock } = this.#root;
    const { listen, listenV2 } = Dispatcher.method;
    const wasOld = this.#isOld;
    this.#sentAt = clock.now();
    this.#isOld = clock.now() < this.#oldUntil;
    return {
      messages: this.#root.stream(this.#isOld ? listen : listenV2, only({ workerId }), attempt),
      onLeft: (error, wasNewest) => {
        if (wasNewest) {
          this.#isOld = wasOld;
          if (isUnimplemented(error)) this.#oldUntil = clock.now() + oldListenMs;
        }
        if (this.#options.register === undefined || connection?.alive !== false) return;
        if (error === undefined || originOf(error) === "engine") return;
        // The engine goes on sending there until it knows, whatever else the worker listens on.
        this.#doubtful = this.#atOnce = true;
        lose(error);
      },
    };
  }

  /** Opens a second call beside one that was idle for long, or old for long; when that one fails, the first stays. */
  #keepFresh(relay: Relay<AssignedAction>, signal: AbortSignal): void {
    const { clock, random } = this.#root;
    const patienceMs = this.#patience.ms * (1 - 0.2 * random());
    const due = () => this.#isOld ? this.#oldUntil : Math.max(this.#heardAt, this.#sentAt) + patienceMs;
    const keep = () => this.#keepFresh(relay, signal);
    after(clock, Math.max(freshMs, due() - clock.now()), signal, () => {
      if (due() <= clock.now() && relay.size === 1) void renew(this.#root, relay, signal).then(keep);
      else keep();
    });
  }

  /** The usual verdict, but for what only this stream can know. */
  async #judge(verdict: Verdict, ending: Ending, signal: AbortSignal): Promise<Verdict> {
    const { alone, error, origin, sent } = ending;
    const lost = this.#lost !== undefined && error === this.#lost;
    this.#lost = undefined;
    if (alone && sent && error !== undefined && !lost && verdict === "transient") {
      this.#patience.cut(this.#root.clock.now() - Math.max(this.#heardAt, this.#sentAt));
    }
    if (origin !== "engine" && sent) this.#doubtful = true;
    const usual = this.#root.doubt.decorate(verdict, ending);
    if (origin !== "engine" || !(error instanceof ConnectError) || isRefusal(error)) return usual;
    switch (error.code) {
      case Code.FailedPrecondition:
        return lost ? "transient" : usual;
      case Code.NotFound:
        if (this.#options.register === undefined) return usual;
        this.#workerId = "";
        return "transient";
      case Code.Unimplemented:
        if (this.#root.clock.now() < this.#oldUntil) return usual;
        if (await lacksListenV2(this.#root, signal)) this.#oldUntil = this.#root.clock.now() + oldListenMs;
        return "transient";
      default:
        return usual;
    }
  }
}
