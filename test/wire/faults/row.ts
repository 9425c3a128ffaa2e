import type { CallOptions, Client } from "@connectrpc/connect";
import type { Dispatcher } from "../../../gen/dispatcher/dispatcher_pb.ts";
import type { Attempt } from "../../../src/streams/attempt.ts";
import type { StreamOptions } from "../../../src/streams/options.ts";
import type { Origin, Verdict } from "../../../src/streams/verdict.ts";
import type { Address, ChannelOptions, TlsMaterial } from "../../../src/transport/channel.ts";

/** When a fault strikes: in place of the answer, or behind headers and a message. */
export type Moment = "pre" | "mid";

/**
 * What became of a loop: it waited and opened the stream again; it threw StreamError with that code; it ended; it threw
 * its own signal's reason, or what the caller's code threw, or, being a call, the error; or nothing happened to it. Any
 * other error is one that no loop should throw.
 */
export type Outcome = "again" | "refused" | "stalled" | "ended" | "reason" | "thrown" | "call" | "held" | "failed";

/** What ends a stream or a dial whose peer says nothing that would. */
export type Guard = "unanswered" | "connect time-out" | "ping" | "size limit" | "timeoutMs" | "signal";

/** A peer that is about to do something wrong, and does everything right afterwards. */
export interface Scene {
  /** Where to connect; asked at every dial. */
  address(): Promise<Address>;
  readonly tls?: () => Promise<TlsMaterial>;
  /** The client has heard the first message. */
  strike?(): void;
  /** The first ending was noticed: from here on all is well. */
  mend?(): unknown;
  /** Streams open on the peer, and its connections. */
  streams(): number;
  connections(): number;
  close(): Promise<void>;
}

/** The message of the stream that a row is about. */
export interface Message {
  readonly id: string;
}

/** What a call of a row has at hand. */
export interface Opening {
  readonly client: Client<typeof Dispatcher>;
  readonly attempt: Attempt<Message>;
  /** For the call: the attempt's signal and its `live`. */
  readonly options: CallOptions;
}

/** One fault: how it is made, and what it must come to on every runtime. */
export interface Row {
  readonly name: string;
  readonly scene: () => Promise<Scene>;
  /** `own` is our own signal: nobody is asked about it. */
  readonly origin: Origin | "own";
  readonly verdict: Verdict | "none";
  readonly loop: Outcome;
  /** Connect's code, where it is no matter of luck or of the runtime; "OK" is a clean end. */
  readonly code?: string;
  /** For a peer that would never end it. */
  readonly guard?: Guard;
  /** The least that the loop waits, in milliseconds, where the peer asks for more than the gate. */
  readonly waitMs?: number;
  /** How often it is made, where luck has a part in it. @default 1 */
  readonly rounds?: number;
  /** Opens the stream. @default ListenV2 */
  readonly open?: (opening: Opening) => AsyncIterable<Message>;
  /** Instead of a loop: a call on the channel. */
  readonly call?: (client: Client<typeof Dispatcher>) => Promise<unknown>;
  readonly channel?: Partial<ChannelOptions>;
  readonly stream?: Pick<StreamOptions, "onEnd">;
  /** What is done with the caller's signal: when, and what it aborts with. */
  readonly abort?: { readonly at: "begin" | "connect" | "message" | "time-out"; readonly reason?: unknown };
  /** The body of the loop, run for the first message. */
  readonly body?: () => void;
}

/** What a row came to, once. */
export interface Measured {
  readonly code: string;
  readonly origin: Row["origin"];
  readonly verdict: Row["verdict"];
  readonly loop: Outcome;
  readonly guard: Guard | undefined;
  /** From the fault to its ending. */
  readonly tookMs: number;
  /** From the ending to the next attempt. */
  readonly waitedMs: number | undefined;
  readonly message: string;
  /** What was left afterwards; nothing, if all is well. */
  readonly left: readonly string[];
}
