import { type Code, ConnectError } from "@connectrpc/connect";
import { names } from "./method.ts";
import type { Server } from "./server.ts";

/**
 * What a test can make the engine do wrong. Methods are named with or without their service: `ListenV2` or
 * `Dispatcher/ListenV2`. What is counted stops by itself; `calm()` ends everything else.
 */
export interface Faults {
  /** The next heartbeats are answered OK and forgotten. */
  dropBeats(count?: number): void;
  /** The next heartbeats are refused. */
  refuseBeats(code: Code, count?: number): void;
  /** The next results count as delivered and never leave. */
  swallowFinished(count?: number): void;
  /** The next results come without their list: finished, fetch yourself. */
  emptyResults(count?: number): void;
  /** The next assigned attempts count as delivered and never leave, as if written into a dead connection. */
  lostStarts(count?: number): void;
  /** The next chunks are answered OK and never published. */
  loseStreamEvents(count?: number): void;
  /** The next chunks are published twice. */
  duplicateStreamEvents(count?: number): void;
  /** Events that leave together leave backwards, the next so many times. */
  reorderEvents(count?: number): void;
  /** The next ends of runs are not told on event streams. */
  loseHangups(count?: number): void;
  /** The next cancels go out twice. */
  duplicateCancel(count?: number): void;
  /** Every message of a stream waits this long before it leaves; 0 ends it. */
  delaySends(ms: number): void;
  /** Answers of a unary method wait this long; 0 ends it. */
  delayAnswers(method: string, ms: number): void;
  /** The next calls of a method take effect, and are reset instead of answered. */
  loseAnswers(method: string, count?: number): void;
  /** The next calls of a method fail. */
  failCalls(method: string, code: Code, count?: number, message?: string, metadata?: Record<string, string>): void;
  /** Every call is refused as unauthenticated while it is on. */
  refuseAuth(on?: boolean): void;
  /** Every stream ends OK right after it opened while it is on. */
  acceptAndDrop(on?: boolean): void;
  /** Nothing is read, answered or sent while it is on, though connections stay and pings are answered. */
  freeze(on?: boolean): void;
  /** Ends the open streams of a method, or all, with OK or a status; returns how many. */
  endStreams(method?: string, code?: Code, message?: string): number;
  /** Resets the open streams of a method with an HTTP/2 error code (8, CANCEL, by default); returns how many. */
  resetStreams(method: string, code?: number): number;
  /** Sends a GOAWAY on every connection; streams go on. */
  goAway(code?: number): void;
  /** Ends every fault that is on or still counted. */
  calm(): void;
}

/** A fault of the next so many occasions. */
export type Counted =
  | "dropBeats"
  | "swallowFinished"
  | "emptyResults"
  | "lostStarts"
  | "duplicateCancel"
  | "loseStreamEvents"
  | "duplicateStreamEvents"
  | "reorderEvents"
  | "loseHangups";

interface Failure {
  readonly method: string;
  readonly error: ConnectError;
  left: number;
}

/** The faults that are on; the engine asks it where they apply. */
export class FaultBox implements Faults {
  readonly #server: () => Server;
  readonly #counts = new Map<Counted, number>();
  readonly #delays = new Map<string, number>();
  #failures: Failure[] = [];
  #losses: { readonly method: string; left: number }[] = [];
  #beats: { readonly code: Code; left: number } | undefined;
  #sendDelayMs = 0;
  #refusing = false;
  #dropping = false;
  #thawed: Promise<void> | undefined;
  #thaw = () => {};

  constructor(server: () => Server) {
    this.#server = server;
  }

  dropBeats(count = 1): void {
    this.#counts.set("dropBeats", count);
  }

  refuseBeats(code: Code, count = 1): void {
    this.#beats = { code, left: count };
  }

  swallowFinished(count = 1): void {
    this.#counts.set("swallowFinished", count);
  }

  emptyResults(count = 1): void {
    this.#counts.set("emptyResults", count);
  }

  lostStarts(count = 1): void {
    this.#counts.set("lostStarts", count);
  }

  duplicateCancel(count = 1): void {
    this.#counts.set("duplicateCancel", count);
  }

  loseStreamEvents(count = 1): void {
    this.#counts.set("loseStreamEvents", count);
  }

  duplicateStreamEvents(count = 1): void {
    this.#counts.set("duplicateStreamEvents", count);
  }

  reorderEvents(count = 1): void {
    this.#counts.set("reorderEvents", count);
  }

  loseHangups(count = 1): void {
    this.#counts.set("loseHangups", count);
  }

  delaySends(ms: number): void {
    this.#sendDelayMs = ms;
  }

  delayAnswers(method: string, ms: number): void {
    this.#delays.set(method, ms);
  }

  loseAnswers(method: string, count = 1): void {
    this.#losses.push({ method, left: count });
  }

  failCalls(method: string, code: Code, count = 1, message = "fault", metadata: Record<string, string> = {}): void {
    this.#failures.push({ method, error: new ConnectError(message, code, metadata), left: count });
  }

  refuseAuth(on = true): void {
    this.#refusing = on;
  }

  acceptAndDrop(on = true): void {
    this.#dropping = on;
  }

  freeze(on = true): void {
    if (on) this.#thawed ??= new Promise((resolve) => this.#thaw = resolve);
    else {
      this.#thaw();
      this.#thawed = undefined;
    }
  }

  endStreams(method?: string, code?: Code, message = "fault"): number {
    const error = code === undefined ? undefined : new ConnectError(message, code);
    const calls = this.#server().streams(method);
    for (const call of calls) call.end(error);
    return calls.length;
  }

  resetStreams(method: string, code = 8): number {
    const calls = this.#server().streams(method);
    for (const call of calls) call.reset(code);
    return calls.length;
  }

  goAway(code = 0): void {
    this.#server().goAway(code);
  }

  calm(): void {
    this.#counts.clear();
    this.#delays.clear();
    this.#failures = [];
    this.#losses = [];
    this.#beats = undefined;
    this.#sendDelayMs = 0;
    this.#refusing = false;
    this.#dropping = false;
    this.freeze(false);
  }

  /** Uses one occasion of a counted fault up; false when there is none. */
  take(name: Counted): boolean {
    const left = this.#counts.get(name) ?? 0;
    if (left > 0) this.#counts.set(name, left - 1);
    return left > 0;
  }

  /** What the next heartbeat is refused with. */
  takeBeatRefusal(): ConnectError | undefined {
    if (this.#beats === undefined || this.#beats.left-- <= 0) return undefined;
    return new ConnectError("Heartbeat rejected", this.#beats.code);
  }

  takeFailure(method: string): ConnectError | undefined {
    const failure = this.#failures.find((it) => it.left > 0 && names(it.method, method));
    if (failure === undefined) return undefined;
    failure.left--;
    return failure.error;
  }

  takeLoss(method: string): boolean {
    const loss = this.#losses.find((it) => it.left > 0 && names(it.method, method));
    if (loss === undefined) return false;
    loss.left--;
    return true;
  }

  answerDelayMs(method: string): number {
    for (const [name, ms] of this.#delays) if (names(name, method)) return ms;
    return 0;
  }

  get sendDelayMs(): number {
    return this.#sendDelayMs;
  }

  get refusing(): boolean {
    return this.#refusing;
  }

  get dropping(): boolean {
    return this.#dropping;
  }

  /** Resolves when nothing is frozen; undefined when nothing is. */
  get thawed(): Promise<void> | undefined {
    return this.#thawed;
  }
}
