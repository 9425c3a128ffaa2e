import type { DescService } from "@bufbuild/protobuf";
import type { Client as ConnectClient } from "@connectrpc/connect";
import type { Health, StreamReport } from "./board.ts";
import { channelOf } from "./channel.ts";
import type { ClientOptions } from "./config.ts";
import { resolveConfig } from "./config.ts";
import { Durable } from "./durable.ts";
import { Events } from "./events.ts";
import type { Action } from "./listeners/action.ts";
import type { ActionsOptions } from "./listeners/actions.ts";
import { actions } from "./listeners/actions.ts";
import type { RegisterOptions, Registration } from "./listeners/register.ts";
import { checkRegistration, register } from "./listeners/register.ts";
import { Results } from "./listeners/results.ts";
import { Rest } from "./rest.ts";
import { Root } from "./root.ts";
import { Runs } from "./runs.ts";
import type { WaitOptions } from "./runs.ts";
import { onAbort } from "./streams/signal.ts";
import type { LiveStream } from "./streams/stream.ts";
import type { StopOptions, WorkerOptions } from "./worker/worker.ts";
import { Worker } from "./worker/worker.ts";

/** A handle on one engine: everything it opens lives until `close()`. */
export class Client implements AsyncDisposable {
  /** Triggers runs and waits for them. */
  readonly runs: Runs;
  /** Signals of durable tasks. */
  readonly durable: Durable;
  /** Tells the engine what happened. */
  readonly events: Events;
  /** Reads the REST API. */
  readonly rest: Rest;
  readonly #root: Root;
  readonly #results: Results;
  readonly #workers = new Set<Worker>();
  #closing: Promise<void> | undefined;

  /** @internal `createClient()` makes clients. */
  constructor(root: Root) {
    this.#root = root;
    this.#results = new Results(root);
    this.runs = new Runs(root, this.#results);
    this.durable = new Durable(root);
    this.events = new Events(root);
    const { authorization, clock, config: { retry, serverUrl }, random } = root;
    const attempts = retry.restAttempts;
    this.rest = new Rest({ attempts, authorization, clock, fetch, random, serverUrl, signal: root.signal });
    const { signal } = root.config;
    const undo = signal && onAbort(signal, () => void this.close());
    if (undo !== undefined) onAbort(root.signal, undo);
  }

  /**
   * The actions that the engine sends to a worker, with its heartbeats; see {@link ActionsOptions}.
   *
   * @throws TypeError or RangeError at once; the loop throws StreamError
   */
  actions(options: ActionsOptions): LiveStream<Action> {
    return actions(this.#root, options);
  }

  /** Registers a new worker; every call makes another. */
  async register(options: RegisterOptions & WaitOptions): Promise<Registration> {
    checkRegistration(options);
    return await this.#root.call((call) => register(this.#root, options, call), { signal: options.signal });
  }

  /** A worker that runs tasks. @throws TypeError or RangeError when the options make no sense */
  worker(name: string, options: WorkerOptions): Worker {
    const worker = new Worker(this.#root, name, options);
    this.#workers.add(worker);
    return worker;
  }

  /** The Buf-generated Connect client of any service, on our transport and with our credentials. */
  rpc<S extends DescService>(service: S): ConnectClient<S> {
    return this.#root.rpc(service);
  }

  /**
   * Where every stream is: first a snapshot, then changes. Of each stream only the newest is kept for a slow reader. It
   * ends with `close()`, and keeps no process alive.
   */
  status(): AsyncIterableIterator<StreamReport, undefined> {
    return this.#root.board.watch();
  }

  /** Whether the client receives, stream by stream. */
  health(): Health {
    return this.#root.board.health();
  }

  /**
   * Stops the workers, then ends every stream and the connection. After it every waiter has settled and the process can
   * exit. Idempotent.
   */
  close(options: StopOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  /** The same as {@link Client.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(options: StopOptions): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.stop(options)));
    this.#results.close();
    this.durable.close();
    await this.#root.close();
  }
}

/**
 * Makes a client, from options, then the environment, then the token's own claims. It does no I/O: the connection opens
 * with the first call or loop.
 *
 * @throws ConfigError naming option and variable; never showing a token
 *
 * @example
 * ```ts
 * const hatchet = createClient();
 * try {
 *   const { total } = await hatchet.runs.run(report, { month: "2026-10" });
 * } finally {
 *   await hatchet.close();
 * }
 * ```
 */
export function createClient(options: ClientOptions = {}): Client {
  const config = resolveConfig(options);
  return new Client(new Root(config, (authorization) => channelOf(config, authorization)));
}
