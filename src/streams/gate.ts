/** What a stream runs on, as far as reconnecting must know: streams that die with one connection are one failure. */
export interface Connection {
  /** False from the moment the connection has ended or takes no new streams. */
  readonly alive: boolean;
}

/** Dials if need be, and resolves when a request can be written; `timeoutMs` bounds the dial. */
export type Ready = (signal: AbortSignal, timeoutMs: number) => Promise<Connection>;
