import { type Code, ConnectError } from "@connectrpc/connect";
import type { Faults } from "./faults.ts";
import { names } from "./method.ts";
import type { Server } from "./server.ts";

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
  | "loseHangups"
  | "loseAcks"
  | "duplicateCompletions";

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
  #ackDelayMs = 0;
  #trapping = false;
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

  loseAcks(count = 1): void {
    this.#counts.set("loseAcks", count);
  }

  duplicateCompletions(count = 1): void {
    this.#counts.set("duplicateCompletions", count);
  }

  delayAcks(ms: number): void {
    this.#ackDelayMs = ms;
  }

  trapCompletions(on = true): void {
    this.#trapping = on;
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
    this.#ackDelayMs = 0;
    this.#trapping = false;
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

  get ackDelayMs(): number {
    return this.#ackDelayMs;
  }

  get trapping(): boolean {
    return this.#trapping;
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
