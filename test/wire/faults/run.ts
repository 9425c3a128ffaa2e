import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Dispatcher } from "../../../gen/dispatcher/dispatcher_pb.ts";
import type { Attempt, Ending, StreamStatus, Verdict } from "../../../src/streams/mod.ts";
import { Gate, judge, originOf, reconnect, StreamError } from "../../../src/streams/mod.ts";
import { openChannel } from "../../../src/transport/channel.ts";
import { watched } from "../../watched.ts";
import { pause } from "../server.ts";
import type { Guard, Measured, Message, Opening, Outcome, Row, Scene } from "./row.ts";
import { back } from "./scene.ts";

/** What every wait of a loop comes to, in milliseconds; the connect time-out; and when a loop is said to be held. */
export const delayMs = 20;
const connectTimeoutMs = 200;
const heldMs = 400;
const limitMs = 1500;

const held = new Error("Nothing has happened");

/** Makes a fault as often as its row says. */
export async function measure(row: Row): Promise<Measured[]> {
  const rounds: Measured[] = [];
  while (rounds.length < (row.rounds ?? 1)) rounds.push(await once(row));
  return rounds;
}

async function once(row: Row): Promise<Measured> {
  const scene = await row.scene();
  try {
    return await (row.call === undefined ? new Course(row, scene).run() : call(row, scene));
  } finally {
    await scene.close();
  }
}

/** One loop over a stream that meets a fault, and what it saw of it. */
class Course {
  readonly #row: Row;
  readonly #scene: Scene;
  readonly #own = watched();
  readonly #signal: AbortSignal;
  #beganAt = 0;
  #endedAt: number | undefined;
  #againAt: number | undefined;
  #ending: { readonly ending: Ending; readonly verdict: Verdict } | undefined;
  /** What Connect threw, where the loop did not look at it. */
  #thrown: unknown;
  #endings = 0;

  constructor(row: Row, scene: Scene) {
    this.#row = row;
    this.#scene = scene;
    this.#signal = row.abort?.at === "time-out" ? AbortSignal.timeout(60) : this.#own.signal;
  }

  async run(): Promise<Measured> {
    const { channel: options, loop: expected } = this.#row;
    const { address, tls } = this.#scene;
    const channel = openChannel({ address, connectTimeoutMs, tls, ...options });
    const client = createClient(Dispatcher, channel.transport);
    const random = () => 1;
    const gate = new Gate({ capMs: delayMs, connectTimeoutMs, firstDelayMs: delayMs, random, slowCapMs: 300 });
    const messages = reconnect<Message>((attempt) => this.#open(client, attempt), {
      gate,
      judge: (verdict, ending) => this.#judge(verdict, ending),
      maxSuspects: 3,
      onStatus: (status) => this.#told(status),
      ready: channel.ready,
      signal: this.#signal,
      ...this.#row.stream,
    });
    const timer = setTimeout(() => this.#own.abort(held), expected === "held" ? heldMs : limitMs);
    const { error, loop } = await this.#loop(messages);
    clearTimeout(timer);
    this.#endedAt ??= performance.now();
    // A peer that hears nothing cannot hear either that it is left.
    if (this.#endings === 0) await this.#scene.mend?.();
    // What is left is on its way out.
    for (let waited = 0; waited < 500 && this.#left().length > 0; waited += 5) await pause(5);
    const left = this.#left();
    await channel.close();
    for (let waited = 0; waited < 500 && this.#scene.connections() > 0; waited += 5) await pause(5);
    if (this.#scene.connections() > 0) left.push(`${this.#scene.connections()} connections`);
    return this.#measured(loop, error, left);
  }

  async #loop(messages: AsyncIterable<Message>): Promise<{ readonly loop: Outcome; readonly error?: unknown }> {
    const { abort, body } = this.#row;
    this.#beganAt = performance.now();
    if (abort?.at === "begin") this.#own.abort(abort.reason);
    try {
      for await (const { id } of messages) {
        if (id === back) return { loop: "again" };
        this.#beganAt = performance.now();
        body?.();
        setTimeout(() => {
          if (abort?.at === "message") this.#own.abort(abort.reason);
          this.#scene.strike?.();
        });
      }
      return { loop: "ended" };
    } catch (error) {
      return { error, loop: this.#outcome(error) };
    }
  }

  #outcome(error: unknown): Outcome {
    const { aborted, reason } = this.#signal;
    if (aborted && error === reason) return reason === held ? "held" : "reason";
    if (error instanceof StreamError && (error.code === "refused" || error.code === "stalled")) return error.code;
    return error instanceof StreamError || error instanceof ConnectError ? "failed" : "thrown";
  }

  async *#open(client: Opening["client"], attempt: Attempt<Message>): AsyncGenerator<Message, void> {
    const options = { onHeader: attempt.live, signal: attempt.signal };
    const { open = listen } = this.#row;
    try {
      yield* open({ attempt, client, options });
    } catch (error) {
      this.#thrown ??= error;
      throw error;
    }
  }

  /** Of several endings the one counts that the row is about: the last before all was well, or before the loop gave up. */
  async #judge(verdict: Verdict, ending: Ending): Promise<Verdict> {
    this.#endedAt = performance.now();
    this.#againAt = undefined;
    this.#ending = { ending, verdict };
    if (this.#endings++ === 0) await this.#scene.mend?.();
    return verdict;
  }

  #told({ state }: StreamStatus): void {
    if (state !== "connecting") return;
    this.#againAt ??= performance.now();
    if (this.#row.abort?.at === "connect") setTimeout(() => this.#own.abort(this.#row.abort?.reason), 20);
  }

  #left(): string[] {
    const listening = this.#own.listening();
    const streams = this.#scene.streams();
    return [...(listening > 0 ? [`${listening} listeners`] : []), ...(streams > 0 ? [`${streams} streams`] : [])];
  }

  #measured(loop: Outcome, error: unknown, left: readonly string[]): Measured {
    const { ending, verdict } = this.#ending ?? {};
    const cause = ending === undefined ? this.#thrown ?? error : ending.error;
    const endedAt = this.#endedAt ?? 0;
    const isOurs = loop === "reason" || loop === "held";
    return {
      code: loop === "held" ? "HANG" : codeOf(cause),
      guard: isOurs ? "signal" : guardOf(cause),
      left,
      loop,
      message: said(cause),
      origin: ending?.origin ?? (isOurs ? "own" : "caller"),
      tookMs: endedAt - this.#beganAt,
      verdict: verdict ?? "none",
      waitedMs: loop === "again" && this.#againAt !== undefined ? this.#againAt - endedAt : undefined,
    };
  }
}

/** A call instead of a loop. */
async function call({ call, channel: options }: Row, scene: Scene): Promise<Measured> {
  const { address, tls } = scene;
  const channel = openChannel({ address, connectTimeoutMs, tls, ...options });
  const began = performance.now();
  let error: unknown;
  try {
    await call?.(createClient(Dispatcher, channel.transport));
  } catch (thrown) {
    error = thrown;
  }
  const tookMs = performance.now() - began;
  await channel.close();
  for (let waited = 0; waited < 500 && scene.connections() > 0; waited += 5) await pause(5);
  const origin = error === undefined ? "engine" : originOf(error);
  return {
    code: codeOf(error),
    guard: guardOf(error),
    left: scene.connections() > 0 ? [`${scene.connections()} connections`] : [],
    loop: "call",
    message: said(error),
    origin,
    tookMs,
    verdict: judge({ alone: true, error, heard: false, origin, sent: true, wasLive: false }, () => "transient"),
    waitedMs: undefined,
  };
}

/** ListenV2, as every row reads it that does not say otherwise. */
export async function* listen({ client, options }: Opening, workerId = "w"): AsyncGenerator<Message, void> {
  for await (const { tenantId: id } of client.listenV2({ workerId }, options)) yield { id };
}

function codeOf(error: unknown): string {
  if (error === undefined) return "OK";
  if (error instanceof ConnectError) return Code[error.code];
  return error instanceof Error ? `(${error.name})` : `(${typeof error})`;
}

function said(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { cause } = error;
  const word = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
  return `${error instanceof ConnectError ? error.rawMessage : error.message}${word}`;
}

/** Which of our own guards made an error, if one did. */
function guardOf(error: unknown): Guard | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const { cause, rawMessage } = error;
  if (rawMessage === "The stream closed without a response") return "unanswered";
  if (rawMessage === "The peer does not answer PING any more") return "ping";
  if (/than configured (read|write)MaxBytes/.test(rawMessage)) return "size limit";
  if (cause instanceof Error && cause.name === "DialError" && cause.message.startsWith("Not connected within")) {
    return "connect time-out";
  }
  return error.code === Code.DeadlineExceeded && !error.metadata.has("grpc-status") ? "timeoutMs" : undefined;
}
