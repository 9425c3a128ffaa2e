/**
 * Streams that live, for any Connect client: `reconnect()` opens a stream again whenever it ends, and knows which
 * endings no retry can mend.
 *
 * @example
 * ```ts
 * import { reconnect } from "coppice/streams";
 *
 * const changes = reconnect<Change>(({ signal, last }) => watch.changes({ after: last?.offset }, { signal }));
 * for await (const change of changes) {
 *   console.log(change.offset);
 * }
 * ```
 *
 * @module
 */
export type { Attempt } from "./attempt.ts";
export { type Backoff, fullJitter, type FullJitterOptions } from "./backoff.ts";
export { type Clock, sleep, type SleepOptions, systemClock } from "./clock.ts";
export { StreamError, type StreamErrorCode, type StreamErrorOptions } from "./errors.ts";
export { type Connection, type Failure, Gate, type GateOptions, type Ready, type Slot, type Turn } from "./gate.ts";
export type { StreamOptions } from "./options.ts";
export { Outbox } from "./outbox.ts";
export type { PumpOptions } from "./pump.ts";
export { type Open, reconnect } from "./reconnect.ts";
export { reference, type ReferenceOptions } from "./reference.ts";
export { isRetryable, retry, type RetryOptions } from "./retry.ts";
export { SingleFlight } from "./singleflight.ts";
export { moves, type StreamStatus } from "./status.ts";
export { LiveStream, type LiveStreamOptions } from "./stream.ts";
export type { Entry } from "./registry.ts";
export { Subscriptions, type SubscriptionsOptions } from "./subscriptions.ts";
export { type Ending, judge, type OnEnd, type Origin, originOf, type Verdict } from "./verdict.ts";
