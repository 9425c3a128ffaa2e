import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { AdminService, Dispatcher, EventsService, V1Dispatcher, WorkflowService } from "../../proto.ts";
import { type Clock, systemClock } from "../../streams/clock.ts";
import { seeded } from "../random.ts";
import { admin, workflows } from "./admin.ts";
import { Agenda } from "./agenda.ts";
import { Bulletin } from "./bulletin.ts";
import { type Call, drained } from "./call.ts";
import { type Core, delayed } from "./core.ts";
import { dispatcher } from "./dispatcher.ts";
import { Durable } from "./durable.ts";
import { events } from "./events.ts";
import { FaultBox } from "./fault-box.ts";
import type { Faults } from "./faults.ts";
import { uuid } from "./ids.ts";
import { Runs } from "./runs.ts";
import { type Seen, SeenBook } from "./seen.ts";
import { Server, type ServerTls } from "./server.ts";
import { State } from "./state.ts";
import { defaultTiming, type EngineTiming } from "./timing.ts";
import { UserEvents } from "./user-events.ts";
import { v1Dispatcher } from "./v1-dispatcher.ts";
import { mint, Tokens } from "./token.ts";

/** How an embedded engine is started; everything may be left out. */
export interface EngineOptions {
  /** The port on 127.0.0.1. @default 0, a free one */
  readonly port?: number | undefined;
  /** Repeats ids and chance. @default a random one */
  readonly seed?: number | undefined;
  /** @default the runtime's own time */
  readonly clock?: Clock | undefined;
  readonly timing?: Partial<EngineTiming> | undefined;
  /** Serves TLS instead of plain HTTP/2; with `ca` clients must show a certificate. */
  readonly tls?: ServerTls | undefined;
  /**
   * What triggering an unknown workflow does: `"phantom"` answers with the id of a run that never comes into being, as
   * the real engine does, `"refuse"` fails the call. @default "phantom"
   */
  readonly unknownWorkflows?: "phantom" | "refuse" | undefined;
  /** Larger messages are refused, in requests, and left empty, in results. @default 4194304 */
  readonly maxMessageBytes?: number | undefined;
  /** The token to accept. @default one made for this engine */
  readonly token?: string | undefined;
  /** How long the token made for this engine is accepted. @default 90 days */
  readonly tokenTtlMs?: number | undefined;
  /** How many ended runs are remembered. @default 10000 */
  readonly keepRuns?: number | undefined;
}

/** A running engine. */
export interface Engine extends AsyncDisposable {
  /** `127.0.0.1:port`; it stays over restarts. */
  readonly hostPort: string;
  /** A token with the claims of a real one. */
  readonly token: string;
  readonly tenantId: string;
  /** What the engine does wrong. */
  readonly faults: Faults;
  /** What reached the engine. */
  readonly seen: Seen;
  /** Makes and accepts one more token. */
  issueToken(ttlMs?: number): string;
  /**
   * Stops as a deploy does: for a quiet while everything goes on, then all streams end OK at once and connections are
   * refused. Resolves when it is down.
   */
  drain(): Promise<void>;
  /** Dies: connections are cut, the port is closed. Workers stay active, and belong to the dead process. */
  kill(): Promise<void>;
  /** Comes up on the same port with everything it knew, except sessions and subscriptions; kills first if it runs. */
  restart(): Promise<void>;
  /** Everything down for good: no timer and no socket is left. Idempotent. */
  close(): Promise<void>;
}

const day = 86_400_000;

/**
 * Starts an engine inside this process: a real gRPC server on loopback that keeps everything in memory. It is for tests
 * and demonstrations; in production runs the Hatchet engine.
 *
 * Not imitated: conditions of tasks and branches of durable tasks (refused), and crons, concurrency, rate limits, filters
 * and labels (accepted, without effect). Of CEL it knows paths, literals, comparisons and the logic between them.
 */
export async function startEngine(options: EngineOptions = {}): Promise<Engine> {
  const engine = new EmbeddedEngine(options);
  await engine.start(options.port ?? 0, options.token, options.tokenTtlMs ?? 90 * day);
  return engine;
}

class EmbeddedEngine implements Engine {
  hostPort = "";
  token = "";
  readonly tenantId: string;
  readonly faults: FaultBox;
  readonly seen: SeenBook;
  readonly #core: Core;
  readonly #runs: Runs;
  readonly #bulletin: Bulletin;
  readonly #durable: Durable;
  readonly #server: Server;
  readonly #tokens = new Tokens();
  readonly #closing = new AbortController();
  #up = false;
  #crashed = false;
  #drain: Promise<void> | undefined;

  constructor(options: EngineOptions) {
    const clock = options.clock ?? systemClock;
    const random = seeded(options.seed ?? Math.floor(Math.random() * 2 ** 32));
    this.tenantId = uuid(random);
    this.faults = new FaultBox(() => this.#server);
    this.seen = new SeenBook(() => clock.now());
    this.#core = {
      tenantId: this.tenantId,
      clock,
      random,
      timing: { ...defaultTiming, ...options.timing },
      agenda: new Agenda(clock),
      state: new State(options.keepRuns ?? 10_000),
      faults: this.faults,
      seen: this.seen,
      userEvents: new UserEvents(),
      crash: () => void this.kill(),
      maxMessageBytes: options.maxMessageBytes ?? 4 * 1024 * 1024,
      unknownWorkflows: options.unknownWorkflows ?? "phantom",
      closing: this.#closing.signal,
      dispatcherId: uuid(random),
      blindUntil: 0,
    };
    this.#runs = new Runs(this.#core);
    this.#bulletin = new Bulletin(this.#core);
    this.#durable = new Durable(this.#core, this.#runs);
    this.#server = new Server({
      tls: options.tls,
      maxMessageBytes: this.#core.maxMessageBytes,
      clock,
      timing: this.#core.timing,
      routes: (router) => this.#routes(router),
      accept: (call, handler) => this.#accept(call, handler),
    });
  }

  async start(port: number, token: string | undefined, tokenTtlMs: number): Promise<void> {
    this.hostPort = `127.0.0.1:${await this.#server.listen(port)}`;
    this.#up = true;
    if (token !== undefined) this.#tokens.accept(token, Infinity);
    this.token = token ?? this.issueToken(tokenTtlMs);
  }

  issueToken(ttlMs: number = 90 * day): string {
    const { clock, random, tenantId } = this.#core;
    const issuedMs = clock.now();
    const expiresMs = issuedMs + ttlMs;
    const token = mint({ tenantId, hostPort: this.hostPort, issuedMs, expiresMs }, random);
    this.#tokens.accept(token, expiresMs);
    return token;
  }

  drain(): Promise<void> {
    this.#drain ??= this.#goDown().finally(() => this.#drain = undefined);
    return this.#drain;
  }

  async #goDown(): Promise<void> {
    const { agenda, clock, timing } = this.#core;
    const quiet = await clock.sleep(timing.quietMs, this.#closing.signal).then(() => true, () => false);
    if (!quiet || !this.#up) return;
    this.#up = false;
    const hardStop = new AbortController();
    const late = clock.sleep(timing.hardStopMs, hardStop.signal).catch(() => {
      // Everything ended in time.
    });
    await this.#server.drain(late);
    hardStop.abort();
    agenda.stop();
  }

  async kill(): Promise<void> {
    if (!this.#up) return;
    this.#up = false;
    this.#core.agenda.stop();
    this.#crashed = true;
    await this.#server.kill();
  }

  async restart(): Promise<void> {
    if (this.#closing.signal.aborted) throw new Error("The engine is closed");
    await this.kill();
    await this.#drain;
    const core = this.#core;
    for (const worker of core.state.workers.values()) worker.sessions.clear();
    this.#durable.forget();
    core.dispatcherId = uuid(core.random);
    core.blindUntil = this.#crashed ? core.clock.now() + core.timing.blindMs : 0;
    this.#crashed = false;
    await this.#server.listen(Number(this.hostPort.split(":")[1]));
    this.#up = true;
    core.agenda.resume();
    this.#runs.scheduler.kick();
  }

  async close(): Promise<void> {
    this.faults.calm();
    this.#closing.abort(new Error("The engine is closed"));
    this.#up = false;
    this.#core.agenda.stop();
    await this.#server.kill();
    await this.#drain;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #routes(router: ConnectRouter): void {
    router.service(Dispatcher, dispatcher(this.#core, this.#runs, this.#bulletin, this.#durable));
    router.service(V1Dispatcher, v1Dispatcher(this.#core, this.#runs, this.#durable));
    router.service(EventsService, events(this.#core, this.#runs, this.#bulletin));
    router.service(AdminService, admin(this.#core, this.#runs));
    router.service(WorkflowService, workflows(this.#core, this.#runs));
  }

  /** What happens to a call before and after its handler, in the order of the real engine: first the token. */
  async #accept(call: Call, handler: UniversalHandler): Promise<void> {
    const { faults } = this;
    void call.closed.then(this.seen.called(call.method, call.authorization));
    await faults.thawed;
    if (faults.refusing || !this.#tokens.admits(call.authorization, this.#core.clock.now())) {
      return call.end(new ConnectError("invalid auth token", Code.Unauthenticated));
    }
    const failure = faults.takeFailure(call.method);
    if (failure !== undefined) return call.end(failure);
    if (faults.dropping && call.streaming) return call.end(undefined, drained);
    const lost = !call.streaming && faults.takeLoss(call.method);
    await call.serve(handler, async () => {
      await faults.thawed;
      if (!call.streaming) await delayed(this.#core, faults.answerDelayMs(call.method));
      if (lost) call.reset(8);
    });
  }
}
