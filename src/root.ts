import type { DescMessage, DescMethodStreaming, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import { Code, ConnectError, createClient as createConnectClient } from "@connectrpc/connect";
import type { Entry } from "./board.ts";
import { Board } from "./board.ts";
import type { Config } from "./config.ts";
import { publish } from "./diagnostics.ts";
import { Doubt, isRefusal } from "./doubt.ts";
import { logStatus } from "./logger.ts";
import type { Attempt } from "./streams/attempt.ts";
import { fullJitter } from "./streams/backoff.ts";
import { follow } from "./streams/follow.ts";
import type { Clock } from "./streams/clock.ts";
import { isUnsent, StreamError } from "./streams/errors.ts";
import { Gate } from "./streams/gate.ts";
import type { StreamOptions } from "./streams/options.ts";
import { isRetryable, retry } from "./streams/retry.ts";
import { linked } from "./streams/signal.ts";
import { SingleFlight } from "./streams/singleflight.ts";
import { saidOfRate } from "./streams/texts.ts";
import { judge, originOf } from "./streams/verdict.ts";
import { expiresAt } from "./token.ts";
import type { Channel } from "./transport/channel.ts";

/** How long a unary call may take, in milliseconds: the reference client's. */
const callTimeoutMs = 30_000;

/** The header that a call carries; asked for at each. */
export type Authorization = (signal: AbortSignal | undefined) => Promise<string>;

/** A unary call; it gets the signal and the time-out to make it with. */
export type Call<T> = (options: CallOptions) => Promise<T>;

/** Whose a call is, and what may be done with it. */
export interface CallPolicy {
  /** The caller's signal. */
  readonly signal?: AbortSignal | undefined;
  /** Whether making it twice does no harm: then an answer that was lost, or was no answer, is asked for again. */
  readonly idempotent?: boolean;
}

/** How a stream of ours lives. */
export interface OwnPolicy extends StreamOptions {
  readonly signal: AbortSignal;
  readonly judge: Doubt["decorate"];
}

/** What all streams and calls of one client grow from. */
export class Root {
  readonly config: Config;
  readonly channel: Channel;
  readonly clock: Clock;
  readonly random: () => number;
  readonly gate: Gate;
  readonly board: Board;
  readonly doubt: Doubt;
  readonly flights: SingleFlight<string, unknown> = new SingleFlight();
  readonly #life = linked();
  readonly #clients = new Map<DescService, unknown>();
  readonly #kindsSeen = new Set<string>();
  #expiresAt: number | undefined;

  /** `open` makes the way to the engine; `authorization` is the header that each call carries. */
  constructor(config: Config, open: (authorization: Authorization) => Channel) {
    const { clock, random, retry: { capMs, connectTimeoutMs, firstDelayMs, slowCapMs } } = config;
    const log = logStatus(config.logger);
    this.config = config;
    this.clock = clock;
    this.random = random;
    this.gate = new Gate({ clock, random, capMs, connectTimeoutMs, firstDelayMs, slowCapMs });
    this.board = new Board((report, stream) => {
      log(report, stream);
      publish(report);
    });
    this.doubt = new Doubt(clock, () => this.#expiresAt, () => this.gate.trusted());
    this.channel = open(this.authorization);
  }

  /** Aborts when the client closes, with the `closed` that its waiters get. */
  get signal(): AbortSignal {
    return this.#life.signal;
  }

  /** The generated client of a service, on our transport and with our credentials. */
  rpc<S extends DescService>(service: S): Client<S> {
    const client = this.#clients.get(service) ?? createConnectClient(service, this.channel.transport);
    this.#clients.set(service, client);
    return client as Client<S>; // Stored under its own service.
  }

  /** One attempt at a stream of the engine's. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    requests: AsyncIterable<MessageInitShape<I>>,
    attempt: Pick<Attempt<MessageShape<O>>, "live" | "signal">,
  ): AsyncIterable<MessageShape<O>> {
    return follow(this.channel.transport, method, requests, attempt);
  }

  /** How a stream of ours lives; `entry` is its place on the board. */
  policy(entry: Entry): OwnPolicy {
    const { clock, random, gate, channel, doubt, config: { retry: { maxSuspects, setupAttempts } } } = this;
    return {
      clock,
      random,
      gate,
      maxSuspects,
      signal: this.signal,
      ready: channel.ready,
      // Whoever asks for a kind of stream that was live once is in, whatever it takes.
      setupAttempts: this.#kindsSeen.has(entry.stream) ? undefined : setupAttempts,
      judge: doubt.decorate,
      onStatus: (status) => {
        if (status.state === "live") {
          this.#kindsSeen.add(entry.stream);
          doubt.accepted();
        }
        entry.tell(status);
      },
    };
  }

  /**
   * Makes a user's call, `callAttempts` times at the most: again when it was never sent or came too fast, and where
   * making it twice does no harm, when its answer was lost or the engine had a passing trouble.
   *
   * @throws StreamError `unreachable`, `refused` or `closed`; what else the engine answers is a ConnectError
   */
  async call<T>(call: Call<T>, { signal, idempotent = false }: CallPolicy = {}): Promise<T> {
    const { clock, random, config: { retry: { baseMs, callAttempts } } } = this;
    const life = linked(this.signal, signal);
    const fromWire = fullJitter({ baseMs, random });
    const fromEngine = fullJitter({ baseMs: 5000, capMs: 80_000, random });
    let attempts = 0;
    let isOfWire = true;
    try {
      return await retry((attempt) => {
        attempts = attempt;
        return call({ signal: life.signal, timeoutMs: callTimeoutMs });
      }, {
        clock,
        signal: life.signal,
        attempts: callAttempts,
        // A wire that is away may be back in a moment; an engine in trouble is left alone for longer.
        backoff: (failures) => (isOfWire ? fromWire : fromEngine)(failures),
        retryable: (error) => {
          isOfWire = originOf(error) === "wire";
          if (this.#verdict(error) !== "transient") return false;
          return isUnsent(error) || isTooFast(error) || (idempotent && (isOfWire || isPassing(error)));
        },
      });
    } catch (error) {
      life.signal.throwIfAborted();
      throw this.#translate(error, attempts);
    } finally {
      life.abort();
    }
  }

  /** Makes a call of our own, on the session that is there: it waits for one, and never dials. */
  async background<T>(call: Call<T>, signal: AbortSignal, timeoutMs: number = callTimeoutMs): Promise<T> {
    await this.channel.up(signal);
    return await call({ signal, timeoutMs });
  }

  /** Ends everything that grew here; whoever waits gets `closed`. */
  async close(): Promise<void> {
    this.#life.abort(new StreamError("closed", "The client was closed"));
    this.board.close();
    await this.channel.close();
  }

  /** The header that every call carries, with the token of the moment. */
  readonly authorization: Authorization = async (signal) => {
    const token = await this.config.token(signal);
    this.#expiresAt = expiresAt(token);
    return `Bearer ${token}`;
  };

  #verdict(error: unknown): string {
    return judge(
      {
        alone: false,
        error,
        heard: false,
        origin: originOf(error),
        sent: !isUnsent(error),
        wasLive: this.#kindsSeen.size > 0,
      },
      () => "transient",
    );
  }

  /** What a user's call throws, by who ended it. */
  #translate(error: unknown, attempts: number): unknown {
    const cause = error;
    switch (this.#verdict(error)) {
      case "bug":
        return error instanceof Error && error.name === "ConnectError" ? error.cause ?? error : error;
      case "fatal":
        if (isRefusal(error)) return new StreamError("refused", "The engine refused the token", { attempts, cause });
        if (originOf(error) === "wire") {
          return new StreamError("refused", "The engine's certificate or TLS was refused", { attempts, cause });
        }
    }
    if (originOf(error) !== "wire") return error;
    const message = isUnsent(error)
      ? `The engine could not be reached in ${attempts} attempts`
      : "The connection was lost before the answer came; the call may have taken effect";
    return new StreamError("unreachable", message, { attempts, cause });
  }
}

/** Whether the engine was asked too often: nothing was done, and a quota or a size it is not. */
function isTooFast(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.ResourceExhausted && saidOfRate(error);
}

/** Whether the engine answered with a trouble of the moment. */
function isPassing(error: unknown): boolean {
  return isRetryable(error) && !(error instanceof ConnectError && error.code === Code.ResourceExhausted);
}
