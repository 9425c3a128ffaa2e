import type { Client as ConnectClient } from "@connectrpc/connect";
import { createClient as createConnectClient } from "@connectrpc/connect";
import { createClient } from "../../src/client.ts";
import type { Client } from "../../src/client.ts";
import type { DurableSession } from "../../src/mod.ts";
import { linked, onAbort } from "../../src/streams/signal.ts";
import { seeded } from "../../src/testing/random.ts";
import type { GrpcTransport } from "../../src/transport/transport.ts";
import { createTransport } from "../../src/transport/transport.ts";
import { Echo } from "../fixtures/echo/gen/echo_pb.ts";
import { id } from "../remote.ts";
import { pause } from "../wire/server.ts";
import type { Reading } from "./gauge.ts";
import { Gauge } from "./gauge.ts";
import { answered, Peer, resting } from "./peer.ts";

/** How much is done, and how often it is looked at meanwhile. */
export interface Amount {
  readonly messages: number;
  readonly reconnects: number;
  readonly waits: number;
  /** Of the transport's own, beside the client. */
  readonly calls: number;
  /** How many readings each of them takes. */
  readonly readings: number;
  /** For how long waits go on before they are read: what durable tasks were told is kept for half a minute. */
  readonly keptMs?: number | undefined;
}

type Phase = "messages" | "reconnects" | "waits" | "calls";

/** What was read: in each phase, and when everything was closed. */
export interface Course {
  readonly phases: Readonly<Record<Phase, readonly Reading[]>>;
  readonly before: Reading;
  readonly after: Reading;
}

/** What goes wrong on purpose, to see whether it is found. */
export type Sabotage = (phase: Phase, step: number) => void;

/** How many loops there are: over actions, over events and over chunks. */
const loops = 3;
const left = new Error("left");
const gone = new Error("gone");

/** One client through all of it, in one process; rests at each reading. */
export async function soak(amount: Amount, sabotage: Sabotage = () => {}): Promise<Course> {
  const gauge = new Gauge();
  try {
    // Once over, for what a runtime opens at its first connection and keeps.
    await (await Stage.open()).close();
    const before = await gauge.read();
    const stage = await Stage.open();
    try {
      const phases = await run(stage, amount, async (phase, step, work) => {
        sabotage(phase, step);
        await work();
        return await gauge.read();
      });
      await stage.close();
      return { after: await gauge.read(), before, phases };
    } finally {
      await stage.close();
    }
  } finally {
    gauge.restore();
  }
}

async function run(
  stage: Stage,
  amount: Amount,
  read: (phase: Phase, step: number, work: () => Promise<void>) => Promise<Reading>,
): Promise<Course["phases"]> {
  const phase = async (name: Phase, work: (count: number, done: number) => Promise<void>, keptMs = 0) => {
    const count = Math.ceil(amount[name] / amount.readings);
    const readings: Reading[] = [];
    // What comes first compiles code and fills pools, and what is kept for some time.
    const readFrom = performance.now() + keptMs;
    let done = amount[name];
    do {
      await work(Math.max(count, 100), done);
      done += count;
    } while (performance.now() < readFrom);
    for (let step = 0; step < amount.readings; step++) {
      readings.push(await read(name, step, () => work(count, step * count)));
    }
    return readings;
  };
  return {
    messages: await phase("messages", (count) => stage.flood(count)),
    reconnects: await phase("reconnects", (count) => stage.cut(count)),
    waits: await phase("waits", (count, done) => leave(stage, done, count), amount.keptMs),
    calls: await phase("calls", (count) => stage.call(count)),
  };
}

/** A peer, and a client with a stream of every kind open on it, and somebody who waits on each. */
class Stage {
  readonly client: Client;
  readonly tasks: DurableSession;
  /** The signal that outlives all others here. */
  readonly rest: AbortSignal;
  readonly #peer: Peer;
  readonly #transport: GrpcTransport;
  readonly #random = seeded(1);
  readonly #life = new AbortController();
  readonly #open: Promise<unknown>;
  #heard = 0;

  private constructor(peer: Peer) {
    const { hostPort } = peer;
    // No wait but the shortest: what is measured is what stays, not how long it takes.
    const retry = { baseMs: 0.01, capMs: 0.01, firstDelayMs: 0.01, slowCapMs: 0.01 };
    this.client = createClient({ hostPort, logger: false, random: () => 0, retry, tls: false, token: "e30.e30.e30" });
    this.tasks = this.client.durable.tasks({ workerId: id(1) });
    const signal = this.rest = this.#life.signal;
    this.#peer = peer;
    this.#transport = createTransport({ baseUrl: `http://${hostPort}` });
    const { durable, runs } = this.client;
    this.#open = Promise.allSettled([
      this.#listen(this.client.actions({ signal, workerId: id(1) })),
      this.#listen(runs.events(resting, { signal })),
      this.#listen(runs.chunks(resting, { onGap: ignore, signal })),
      runs.result(resting, { signal }),
      durable.event(resting, "never", { signal }),
      this.tasks.waitFor({ invocation: 1, taskId: resting }, { sleepMs: 1000 }, { signal }),
    ]);
  }

  static async open(): Promise<Stage> {
    const stage = new Stage(await Peer.open());
    await until(() => stage.#peer.rests && stage.#heard >= loops);
    return stage;
  }

  async flood(count: number): Promise<void> {
    const each = Math.ceil(count / loops);
    const due = this.#heard + each * loops;
    await this.#peer.flood(each);
    await until(() => this.#heard >= due);
  }

  async cut(count: number): Promise<void> {
    this.#peer.cut(count);
    await until(() => this.#peer.rests);
  }

  /** Makes calls of every kind, and leaves each at some moment, if it is still there; some wait for their deadline. */
  async call(count: number): Promise<void> {
    const client = createConnectClient(Echo, this.#transport);
    for (let left = count; left > 0; left -= 100) {
      await Promise.all(Array.from({ length: Math.min(100, left) }, async (_, n) => {
        const caller = linked(this.rest);
        const leaving = new Promise<void>((resolve) => setTimeout(resolve, this.#random() * 8));
        if (n % 7 === 0) caller.abort(gone);
        await Promise.all([
          leaving.then(() => caller.abort(gone)),
          make(client, n, caller.signal).catch(ignore),
          // The signal they share sees many come and go. Deno's server drops a connection that reset a thousand streams.
          ...(n % 10 === 0 ? [client.unary({}, { signal: this.rest }).catch(ignore)] : []),
        ]);
      }));
    }
  }

  async close(): Promise<void> {
    if (this.rest.aborted) return;
    this.#life.abort(left);
    await this.#open;
    await this.client.close();
    await this.#transport.close();
    await this.#peer.close();
    await pause(100); // Sockets close in their own time.
  }

  async #listen(messages: AsyncIterable<unknown>): Promise<void> {
    for await (const _ of messages) this.#heard++;
  }
}

/**
 * Waits for results, signals and steps, and leaves: at once, a moment later, or as the answer comes; a few stay for
 * their answer.
 */
async function leave(stage: Stage, first: number, count: number): Promise<void> {
  const { client, rest: signal, tasks } = stage;
  for (let done = 0; done < count; done += 100) {
    const round = Array.from({ length: Math.min(100, count - done) }, (_, index) => first + done + index);
    const leavers = round.map((n) => {
      const caller = new AbortController();
      wait(stage, n, caller.signal).catch(ignore);
      if (n % 3 === 0) caller.abort(left);
      return caller;
    });
    // The peer answers ids that end in 0, so these need not leave; the signal they share sees many come and go.
    const runs = [id(9_000_000 + 10 * first), id(9_000_010 + 10 * first)];
    await Promise.all([
      ...runs.map((run) => client.runs.result(run, { signal })),
      client.durable.event(id(8_000_000 + first), answered, { signal }),
      go(tasks, id(7_000_000 + first + done), signal),
      new Promise((resolve) => setImmediate(resolve)),
    ]);
    for (const caller of leavers) caller.abort(left);
    for (const n of round) if (n % 4 === 2) tasks.forget({ invocation: 1, taskId: id(3_000_000 + n) });
  }
}

/** One call of each kind in turn; the peer answers half of them. */
function make(client: ConnectClient<typeof Echo>, n: number, signal: AbortSignal): Promise<unknown> {
  switch (n % 4) {
    case 0:
      return client.unary({ text: "a" }, { signal, timeoutMs: 1000 });
    case 1:
      return drain(client.down({}, { signal }));
    case 2:
      return client.up(asking(signal), { signal, timeoutMs: 5 });
    default:
      return drain(client.both(asking(signal), { signal }));
  }
}

async function drain(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

/** A note, and then none until the call is left. */
async function* asking(signal: AbortSignal): AsyncGenerator<{ text: string }, void> {
  yield { text: "a" };
  await new Promise<void>((resolve) => onAbort(signal, resolve));
}

/** One wait of each kind in turn, for what never comes. */
function wait({ client, tasks }: Stage, n: number, signal: AbortSignal): Promise<unknown> {
  if (n % 4 === 3) return client.durable.event(id(2_000_000 + n), "never", { signal });
  if (n % 4 === 2) return tasks.waitFor({ invocation: 1, taskId: id(3_000_000 + n) }, { sleepMs: 1000 }, { signal });
  const run = id(1_000_000 + n);
  // Few are calls, for Deno's server drops a connection that reset a thousand streams.
  return n % 400 === 1 ? client.runs.details(run, { signal }) : client.runs.result(run, { signal });
}

/** A durable task from its first step to its end; it is evicted once. */
async function go(tasks: DurableSession, taskId: string, signal: AbortSignal): Promise<void> {
  const before = { invocation: 1, taskId };
  await tasks.memo(before, "key", () => "value", { signal });
  await tasks.evict(before, "to free its slot", { signal });
  const task = { invocation: 2, taskId };
  await tasks.memo(task, "key", () => "value", { signal });
  await tasks.waitFor(task, { sleepMs: 1000 }, { label: answered, signal });
  const [run] = await tasks.triggerRuns(task, [{ task: "double" }], { signal });
  await run?.result({ signal });
  tasks.forget(task);
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await pause(1);
}

function ignore(): void {
  // Whoever leaves knows why.
}
