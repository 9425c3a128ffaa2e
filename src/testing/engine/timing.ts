/** How long things take in the engine, in milliseconds. The defaults are quick where a test would wait for nothing. */
export interface EngineTiming {
  /** Between a task becoming ready and its assignment. @default 1 (5 to 20 in a real engine) */
  readonly assignMs: number;
  /** Between two looks of a stream of results or durable events at what it is asked for. @default 50 (1000) */
  readonly pollMs: number;
  /** Between two looks of an event stream for a run that is not reported yet; there are ten. @default 50 (1000) */
  readonly eventPollMs: number;
  /** Between the start of a run and its appearance on the reporting side. @default 0 (up to 2000) */
  readonly reportMs: number;
  /** How long events are gathered before they leave together. @default 20 (the same) */
  readonly flushMs: number;
  /** How long chunks behind a gap in their indices are held back. @default 250 (5000) */
  readonly gapMs: number;
  /** After the end of an attempt, when the order of its chunks is forgotten. @default 100 (2000) */
  readonly forgetMs: number;
  /** Changes of a time-out that follow each other within this are written once. @default 25 (500) */
  readonly refreshMs: number;
  /** The longest a durable request takes. @default 2 (some 10) */
  readonly durableMs: number;
  /** A completion held back for so long by one that is missing counts as stalled. @default 3000 (60000) */
  readonly orderGapMs: number;
  /** The grid on which time-outs, retries and silent workers are noticed. @default 20 (1000) */
  readonly housekeepingMs: number;
  /** A worker whose last heartbeat is older gets no work. @default 5000 (the same) */
  readonly heartbeatWindowMs: number;
  /** A worker whose last heartbeat is older loses the work it has. @default 30000 (the same) */
  readonly reassignMs: number;
  /** Between the heartbeats that the engine writes for a worker on the old Listen. @default 4000 (the same) */
  readonly listenBeatMs: number;
  /** How long a drain lets everything go on before it ends the streams. @default 100 (5000) */
  readonly quietMs: number;
  /** How long a drain waits for unary calls under way. @default 1000 (10000) */
  readonly hardStopMs: number;
  /** The first pause after work that could not be delivered; it doubles up to fifty times this. @default 10 (100) */
  readonly internalRetryMs: number;
  /** How long a send waits for a session that is busy writing. @default 250 (the same) */
  readonly sendLockMs: number;
  /** A send that takes longer counts as delivered. @default 25000 (the same) */
  readonly sendMs: number;
  /** After `kill()` and `restart()` nothing is assigned for so long. @default 0 (60000) */
  readonly blindMs: number;
  /** Between two pings of a client's connection. @default 30000 (the same, when idle) */
  readonly pingMs: number;
  /** A connection that does not answer a ping for so long is cut. @default 20000 (the same) */
  readonly pingTimeoutMs: number;
  /** Pings closer together than this earn a GOAWAY after the fourth; 0 lets every ping pass. @default 0 (5000) */
  readonly minPingMs: number;
}

export const defaultTiming: EngineTiming = {
  assignMs: 1,
  pollMs: 50,
  eventPollMs: 50,
  reportMs: 0,
  flushMs: 20,
  gapMs: 250,
  forgetMs: 100,
  refreshMs: 25,
  durableMs: 2,
  orderGapMs: 3000,
  housekeepingMs: 20,
  heartbeatWindowMs: 5000,
  reassignMs: 30_000,
  listenBeatMs: 4000,
  quietMs: 100,
  hardStopMs: 1000,
  internalRetryMs: 10,
  sendLockMs: 250,
  sendMs: 25_000,
  blindMs: 0,
  pingMs: 30_000,
  pingTimeoutMs: 20_000,
  minPingMs: 0,
};

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Reads a duration as the engine writes it: `90s`, `1m30s`, `500ms`. Undefined when it is none. */
export function duration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) total += Number(amount) * units[unit!]!;
  return total;
}
