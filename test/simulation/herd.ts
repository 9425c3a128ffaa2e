import { Code, ConnectError } from "@connectrpc/connect";
import { fullJitter } from "../../src/streams/backoff.ts";
import { Gate } from "../../src/streams/gate.ts";
import { reconnect } from "../../src/streams/reconnect.ts";
import { onAbort } from "../../src/streams/signal.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { seeded } from "../../src/testing/random.ts";

/** Who comes back, and to what. */
interface Scenario {
  readonly clients: number;
  readonly streamsEach: number;
  /** How many streams the server lets in a second; the rest it refuses. */
  readonly perSecond: number;
  readonly outageMs: number;
  readonly gated: boolean;
}

/** For how long all were connected before, so that every attempt was steady, in milliseconds. */
const calmMs = 20_000;

/** A server that refuses what is more than it can take. */
class Server {
  attempts = 0;
  readonly #clock: VirtualClock;
  readonly #perSecond: number;
  readonly #byTenth = new Map<number, number>();
  #room: number;
  #filledAt = 0;
  upFrom = 0;

  constructor(clock: VirtualClock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#room = perSecond / 10;
  }

  /** The most attempts in any 100 ms. */
  get peak(): number {
    return Math.max(...this.#byTenth.values());
  }

  admits(): boolean {
    const now = this.#clock.now();
    if (now < calmMs) return true;
    this.attempts++;
    const tenth = Math.floor(now / 100);
    this.#byTenth.set(tenth, (this.#byTenth.get(tenth) ?? 0) + 1);
    this.#room = Math.min(this.#perSecond / 10, this.#room + (now - this.#filledAt) * this.#perSecond / 1000);
    this.#filledAt = now;
    if (now < this.upFrom || this.#room < 1) return false;
    this.#room--;
    return true;
  }
}

/** Lets a fleet lose its server in one instant and come back, and tells how that went; `gated` is ours. */
async function stampede({ clients, gated, outageMs, perSecond, streamsEach }: Scenario): Promise<string> {
  const clock = new VirtualClock();
  const server = new Server(clock, perSecond);
  const over = new AbortController();
  const back: number[][] = [];
  server.upFrom = calmMs + outageMs;
  const loss = new AbortController();

  for (let client = 0; client < clients; client++) {
    const random = seeded(client + 1);
    const gate = gated ? new Gate({ clock, random }) : undefined;
    const returned: number[] = [];
    back.push(returned);
    let connection = { alive: true };
    onAbort(loss.signal, () => connection.alive = false);
    for (let stream = 0; stream < streamsEach; stream++) {
      const messages = reconnect<never>(({ signal }) => {
        const isFirst = clock.now() < calmMs;
        if (!isFirst) returned.push(clock.now() - server.upFrom);
        return untilLost(isFirst ? loss.signal : over.signal, signal);
      }, {
        clock,
        random,
        gate,
        priority: stream,
        signal: over.signal,
        backoff: fullJitter({ random }),
        ready: async () => {
          if (!server.admits()) throw refused();
          if (!connection.alive) connection = { alive: true };
          return connection;
        },
      });
      messages.next().catch(() => {
        // The scenario is over.
      });
    }
  }
  await clock.pass(calmMs);
  loss.abort();
  const all = clients * streamsEach;
  for (let waited = 0; waited < 600_000 && back.flat().length < all; waited += 100) await clock.pass(100);
  over.abort();
  await clock.pass(1);

  const seconds = (ms: number | undefined) => (ms === undefined ? ">600" : (ms / 1000).toFixed(1));
  const sorted = (times: number[]) => times.sort((a, b) => a - b);
  const at = (times: number[], share: number) => seconds(times[Math.ceil(times.length * share) - 1]);
  const first = sorted(back.map((times) => times[0] ?? Infinity));
  const last = sorted(back.map((times) => times[streamsEach - 1] ?? Infinity));
  const every = sorted(back.flat());
  return `${server.peak} / ${(server.attempts / 1000).toFixed(1)}k / ${at(first, 0.5)} / ${at(last, 0.5)} / ` +
    `${at(every, 0.99)} / ${at(every, 1)}`;
}

// oxlint-disable-next-line require-yield -- a stream that says nothing until it is lost
async function* untilLost(lost: AbortSignal, signal: AbortSignal): AsyncGenerator<never> {
  await new Promise<void>((resolve) => {
    onAbort(lost, resolve);
    onAbort(signal, resolve);
  });
  throw refused();
}

function refused(): ConnectError {
  const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
  return new ConnectError("connect ECONNREFUSED", Code.Unavailable, undefined, undefined, cause);
}

/** The table of herds: 10,000 streams lose their server at once; ours are 4 to a client, the reference's are alone. */
export async function herd(print: (line: string) => void): Promise<void> {
  print("| server | outage | reference: 10,000 independent | ours: 2,500 clients of 4 |");
  print("|---|---|---|---|");
  for (const perSecond of [500, 2000]) {
    for (const outageMs of [0, 5000, 30_000, 120_000]) {
      const alone = await stampede({ clients: 10_000, streamsEach: 1, gated: false, perSecond, outageMs });
      const ours = await stampede({ clients: 2500, streamsEach: 4, gated: true, perSecond, outageMs });
      print(`| ${perSecond}/s, refuses | ${outageMs / 1000} s | ${alone} | ${ours} |`);
    }
  }
  print("peak per 100 ms / attempts / first stream back t50 / all four t50 / t99 / t100, seconds after the outage");
}
