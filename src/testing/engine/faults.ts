import type { Code } from "@connectrpc/connect";

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
  /** The next requests of durable tasks take effect and are never acknowledged. */
  loseAcks(count?: number): void;
  /** The next completions of durable tasks go out twice. */
  duplicateCompletions(count?: number): void;
  /** Acknowledgements of durable tasks wait this long; 0 ends it. */
  delayAcks(ms: number): void;
  /**
   * A new DurableTask stream expects the completions of a task from the first, as in the real engine, while it is on:
   * one that comes in the middle holds back everything until it was told all of them again.
   */
  trapCompletions(on?: boolean): void;
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
