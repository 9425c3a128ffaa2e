import type { DescMethodStreaming, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Clock } from "../../src/streams/clock.ts";
import { markUnsent } from "../../src/streams/errors.ts";
import type { Connection } from "../../src/streams/gate.ts";
import { linked, onAbort } from "../../src/streams/signal.ts";
import { SingleFlight } from "../../src/streams/singleflight.ts";
import type { Authorization } from "../../src/root.ts";
import type { Channel } from "../../src/transport/channel.ts";
import type { Engine } from "./engine.ts";

/** How the client's ping finds a dead peer, in milliseconds: somewhere between these. */
const pingMs = { least: 5000, most: 15_000 };

/** Until when a stream that was told nothing still connects, in milliseconds: just before it counts as let in. */
const connectsMs = 249;

/** How long a client may be without an accepted beat before it must fear that its work was taken, in milliseconds. */
const fearMs = 27_500;

/** How long the engine takes to notice a client that is gone without a word, in milliseconds. */
const engineNoticesMs = 50_000;

/** The faces that a lost wire has: the code and the cause that Connect makes of it, by runtime and moment. */
const faces: readonly (() => ConnectError)[] = [
  () => new ConnectError("http/2 stream closed with error code CANCEL (0x8)", Code.Canceled),
  () => new ConnectError("read ECONNRESET", Code.Aborted, undefined, undefined, system("ECONNRESET")),
  () => new ConnectError("Premature close", Code.Unknown, undefined, undefined, system("ERR_STREAM_PREMATURE_CLOSE")),
  () => new ConnectError("write EPIPE", Code.Internal, undefined, undefined, system("EPIPE")),
  () => new ConnectError("protocol error: missing status", Code.Internal),
  () => new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument),
  () => new ConnectError("PING timed out", Code.Unavailable),
];

/** One connection between the client and the model engine. */
export class Wire implements Connection {
  /** Whether the client may still open streams on it. */
  alive = true;
  /** Whether the client knows that nothing more comes of it. */
  isLost = false;
  /** Which way nothing passes, though nobody was told. */
  readonly held: { up: boolean; down: boolean } = { up: false, down: false };
  /** Until when it was last held: what waited is on its way from then on. */
  heldUntil = -Infinity;
  /** What must fail when the client learns that the wire is lost. */
  readonly clientCalls = new Set<(error: ConnectError) => void>();
  /** What must end when the engine learns it. */
  readonly engineCalls = new Set<() => void>();
  readonly #released: (() => void)[] = [];

  get isHeld(): boolean {
    return this.held.up || this.held.down;
  }

  /** Waits while this direction is held; a wire that is lost meanwhile never lets anything through. */
  pass(way: "up" | "down"): Promise<void> {
    if (!this.held[way]) return Promise.resolve();
    return new Promise((resolve) => {
      this.#released.push(() => void this.pass(way).then(resolve));
    });
  }

  release(now: number): void {
    if (this.isHeld) this.heldUntil = now;
    this.held.up = this.held.down = false;
    for (const resolve of this.#released.splice(0)) resolve();
  }
}

/** What lies between a client and the model engine, and everything that can become of it. */
export class Network {
  refusing = false;
  /** Whether dials are accepted and then nothing is said. */
  silent = false;
  connectMs = 5;
  current: Wire | undefined;
  /** Dials under way, now and at the most. */
  dials = 0;
  mostDials = 0;
  /** When an answer last came to a beat after so long a silence that what ran may have been taken. */
  fearedAt = -Infinity;
  /** When the last beat was begun whose answer came, whether or not the client still wanted it. */
  #beatenAt = -Infinity;
  /** When the machine last woke up: what was begun before it slept may seem to be begun then. */
  awakeAt = -Infinity;
  /** The most streams that were connecting at a time, and which. */
  connecting: readonly string[] = [];
  /** Streams that have proven nothing yet, and when they were begun. */
  readonly #unproven = new Map<
    object,
    { readonly method: string; readonly at: number; readonly wire: Wire | undefined }
  >();
  /** What a stream was let in on: the next ones are none that connect. */
  readonly #proven = new WeakSet<Wire>();
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #engine: Engine;
  readonly #flights = new SingleFlight<"dial", Wire>();
  #waiting: (() => void)[] = [];

  constructor(clock: Clock, random: () => number, engine: Engine) {
    this.#clock = clock;
    this.#random = random;
    this.#engine = engine;
  }

  /** The client's side: a channel as the real transport has it. */
  channel(authorization: Authorization): Channel {
    const connection = () => (this.current?.alive === true ? this.current : undefined);
    return {
      transport: this.#transport(authorization),
      ready: (signal, timeoutMs) => this.ready(signal, timeoutMs),
      up: (signal) => this.#up(signal),
      get connection() {
        return connection();
      },
      close: async () => {
        this.lose();
      },
    };
  }

  async ready(signal: AbortSignal, timeoutMs: number): Promise<Wire> {
    if (this.current?.alive === true) return this.current;
    return await this.#flights.do("dial", (flight) => this.#dial(flight, timeoutMs), signal);
  }

  /** The wire is lost, and the client learns it at once; the engine as well, or only after its own pings. */
  lose(engineNotices = true): void {
    const wire = this.current;
    if (wire === undefined) return;
    this.#clientLoses(wire);
    if (engineNotices) this.#engineLoses(wire);
    else void this.#later(engineNoticesMs, () => this.#engineLoses(wire));
  }

  /** Nothing passes any more in the given ways, until the client's ping finds out. */
  hold(up: boolean, down: boolean): void {
    const wire = this.current;
    if (wire === undefined || !wire.alive || wire.isHeld) return;
    Object.assign(wire.held, { up, down });
    const { least, most } = pingMs;
    void this.#later(least + (most - least) * this.#random(), () => {
      if (!wire.isHeld) return;
      this.#clientLoses(wire);
      void this.#later(engineNoticesMs, () => this.#engineLoses(wire));
    });
  }

  /** What was held passes again; a wire that was found dead stays dead. */
  release(): void {
    this.current?.release(this.#clock.now());
  }

  /** GOAWAY: the wire takes no new streams, and those it has may finish. */
  retire(): void {
    if (this.current !== undefined) this.current.alive = false;
  }

  /** One more lost wire, as Connect tells it. */
  face(): ConnectError {
    return faces[Math.floor(this.#random() * faces.length)]!();
  }

  #clientLoses(wire: Wire): void {
    wire.alive = false;
    wire.isLost = true;
    const error = this.face();
    for (const fail of [...wire.clientCalls]) fail(error);
  }

  #engineLoses(wire: Wire): void {
    for (const end of [...wire.engineCalls]) end();
  }

  async #later(ms: number, act: () => void): Promise<void> {
    await this.#clock.sleep(ms);
    act();
  }

  async #dial(signal: AbortSignal, timeoutMs: number): Promise<Wire> {
    this.mostDials = Math.max(this.mostDials, ++this.dials);
    try {
      if (this.silent) {
        await this.#clock.sleep(timeoutMs, signal);
        throw unreachable("ETIMEDOUT");
      }
      if (this.connectMs >= timeoutMs) await this.#clock.sleep(timeoutMs, signal);
      else await this.#clock.sleep(this.connectMs, signal);
      if (this.connectMs >= timeoutMs) throw unreachable("ETIMEDOUT");
      if (this.refusing || !this.#engine.isUp) throw unreachable("ECONNREFUSED");
      const wire = this.current = new Wire();
      for (const resolve of this.#waiting.splice(0)) resolve();
      return wire;
    } finally {
      this.dials--;
    }
  }

  #up(signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      if (this.current?.alive === true) return resolve(this.current);
      const undo = onAbort(signal, () => {
        this.#waiting = this.#waiting.filter((one) => one !== connected);
        reject(signal.reason);
      });
      const connected = () => {
        undo();
        this.#up(signal).then(resolve, reject);
      };
      if (!signal.aborted) this.#waiting.push(connected);
    });
  }

  #transport(authorization: Authorization): Transport {
    return {
      unary: async (method, signal, timeoutMs, _header, input) => {
        const token = await authorization(signal);
        return await this.#unary(method, signal ?? new AbortController().signal, timeoutMs, input, token);
      },
      stream: async (method, signal, _timeoutMs, _header, input) => {
        const token = await authorization(signal);
        return await this.#stream(method, signal ?? new AbortController().signal, input, token) as never; // One shape.
      },
    };
  }

  async #unary(
    method: DescMethodUnary,
    signal: AbortSignal,
    timeoutMs: number | undefined,
    input: MessageInitShape<DescMethodUnary["input"]>,
    token: string,
  ): Promise<UnaryResponse<never, never>> {
    const wire = await this.ready(signal, 5000);
    const begunAt = this.#clock.now();
    const message = await this.#call(wire, signal, timeoutMs, async () => {
      await this.#travel(wire, "up");
      const answer = await settle(() => this.#engine.unary(method.name, input as never, token));
      await this.#travel(wire, "down");
      const inTime = this.#clock.now() - begunAt < (timeoutMs ?? Infinity);
      if (method.name === "Heartbeat" && "value" in answer && inTime && !wire.isLost) this.#beaten(begunAt);
      return answer;
    });
    if ("error" in message) throw message.error;
    // An accepted beat proves the stream that it is for.
    if (method.name === "Heartbeat") {
      for (const [one, { method }] of this.#unproven) if (method === "ListenV2") this.#proves(one);
    }
    const response = create(method.output, message.value as never);
    const { parent: service } = method;
    return {
      stream: false,
      service,
      method,
      message: response,
      header: new Headers(),
      trailer: new Headers(),
    } as never;
  }

  async #stream(
    method: DescMethodStreaming,
    signal: AbortSignal,
    input: AsyncIterable<unknown>,
    token: string,
  ): Promise<StreamResponse> {
    const down = new Down();
    this.#connects(down, method.name, signal);
    const wire = await this.ready(signal, 5000);
    const life = linked(signal);
    const lost = (error: ConnectError) => down.put({ error });
    const ended = () => stream.end();
    wire.clientCalls.add(lost);
    wire.engineCalls.add(ended);
    const stream = this.#engine.open(method.name, token, wire, (one) => void this.#deliver(wire, down, one));
    onAbort(life.signal, () => {
      wire.clientCalls.delete(lost);
      down.put({ error: new ConnectError("aborted", Code.Canceled, undefined, undefined, signal.reason) });
      void this.#travel(wire, "up").then(() => {
        wire.engineCalls.delete(ended);
        stream.end();
      });
    });
    down.over = () => {
      wire.clientCalls.delete(lost);
      life.release();
    };
    void this.#send(wire, input, stream);
    // Headers come with the first message, or are the whole answer.
    const first = await down.next();
    this.#proves(down);
    if (first.done === true && first.error !== undefined) throw first.error;
    const header = new Headers(first.done === true ? { "grpc-status": "0" } : {});
    const messages = down.from(first, (value) => create(method.output, value as never));
    const { parent: service } = method;
    return { stream: true, service, method, header, trailer: new Headers(), message: messages } as never; // As above.
  }

  #beaten(begunAt: number): void {
    if (begunAt - this.#beatenAt >= fearMs) this.fearedAt = this.#clock.now();
    this.#beatenAt = Math.max(this.#beatenAt, begunAt);
  }

  /** It was let in. */
  #proves(down: object): void {
    const wire = this.#unproven.get(down)?.wire;
    if (wire !== undefined) this.#proven.add(wire);
    this.#unproven.delete(down);
  }

  /** Those that nothing has ended for so long were let in too. */
  #provesOld(): void {
    const since = this.#clock.now() - connectsMs;
    for (const [one, { at }] of this.#unproven) if (at <= since) this.#proves(one);
  }

  /** Notes that a stream connects, beside those that still do. */
  #connects(down: Down, method: string, signal: AbortSignal): void {
    const at = this.#clock.now();
    this.#provesOld();
    const wire = this.current;
    if (wire !== undefined && this.#proven.has(wire)) return;
    if (at === this.awakeAt) {
      // For a machine that wakes up every moment has passed, also the one in which the next may connect.
      if (wire !== undefined) this.#proven.add(wire);
      return;
    }
    this.#unproven.set(down, { method, at, wire });
    onAbort(signal, () => {
      this.#provesOld();
      this.#unproven.delete(down);
    });
    if (this.#unproven.size > this.connecting.length) {
      this.connecting = Array.from(this.#unproven.values(), (one) => one.method);
    }
  }

  /** Hands the engine what the client's request side yields, while the wire lasts. */
  async #send(wire: Wire, input: AsyncIterable<unknown>, stream: { request(message: never): void }): Promise<void> {
    await this.#travel(wire, "up");
    for await (const message of input) {
      await wire.pass("up");
      stream.request(message as never);
    }
  }

  async #deliver(wire: Wire, down: Down, one: Item): Promise<void> {
    const turn = down.turn;
    const passed = (async () => {
      await turn;
      await this.#travel(wire, "down");
    })();
    down.turn = passed;
    await passed;
    down.put(one);
  }

  async #travel(wire: Wire, way: "up" | "down"): Promise<void> {
    await wire.pass(way);
    await this.#clock.sleep(1 + 4 * this.#random());
    await wire.pass(way);
  }

  /** Races an exchange against the loss of its wire, its time-out and its caller. */
  #call<T>(wire: Wire, signal: AbortSignal, timeoutMs: number | undefined, exchange: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const life = linked(signal);
      const lost = (error: ConnectError) => settle(() => reject(error));
      const settle = (act: () => void) => {
        wire.clientCalls.delete(lost);
        life.release();
        timer.abort();
        act();
      };
      const timer = new AbortController();
      wire.clientCalls.add(lost);
      onAbort(
        life.signal,
        () => settle(() => reject(new ConnectError("aborted", Code.Canceled, undefined, undefined, signal.reason))),
      );
      if (timeoutMs !== undefined) {
        this.#clock.sleep(timeoutMs, timer.signal).then(
          () => lost(new ConnectError("the operation timed out", Code.DeadlineExceeded)),
          () => {
            // Settled in time.
          },
        );
      }
      exchange().then((value) => settle(() => resolve(value)), (error) => settle(() => reject(error)));
    });
  }
}

/** What comes down a stream: a message, or its end. */
export type Item = { readonly message: unknown } | { readonly error: ConnectError | undefined };

type Read = { done: false; value: unknown } | { done: true; value: undefined; error?: ConnectError | undefined };

/** The client's end of a stream. */
class Down {
  /** The delivery before the next one, so that messages keep their order. */
  turn: Promise<void> = Promise.resolve();
  over: () => void = () => {};
  readonly #items: Item[] = [];
  #ended = false;
  #asker: (() => void) | undefined;

  put(item: Item): void {
    if (this.#ended) return;
    this.#items.push(item);
    if ("error" in item) {
      this.#ended = true;
      this.over();
    }
    this.#asker?.();
  }

  async next(): Promise<Read> {
    while (this.#items.length === 0) {
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => this.#asker = resolve);
    }
    const item = this.#items.shift()!;
    return "message" in item
      ? { done: false, value: item.message }
      : { done: true, value: undefined, error: item.error };
  }

  /** As Connect iterates: no `return()`, and an error rejects. */
  from(first: Read, shape: (value: unknown) => unknown): AsyncIterable<unknown> {
    let ahead: Read | undefined = first;
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          const read = ahead ?? await this.next();
          ahead = undefined;
          if (read.done && read.error !== undefined) throw read.error;
          return read.done ? { done: true, value: undefined } : { done: false, value: shape(read.value) };
        },
      }),
    };
  }
}

async function settle<T>(act: () => T): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: act() };
  } catch (error) {
    return { error };
  }
}

function unreachable(code: string): ConnectError {
  return markUnsent(new ConnectError(code, Code.Unavailable, undefined, undefined, system(code)));
}

function system(code: string): Error {
  return Object.assign(new Error(code), { code });
}
