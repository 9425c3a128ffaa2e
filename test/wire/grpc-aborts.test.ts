import { Code, ConnectError } from "@connectrpc/connect";
import { Echo } from "../fixtures/echo/gen/echo_pb.ts";
import { assert, suite } from "../harness.ts";
import type { Row } from "./grpc.ts";
import { everyKind, hear, heed, listeners, note, open, rows, texts, told } from "./grpc.ts";
import { answer, pause, until } from "./server.ts";

const test = suite("grpc aborts");

const why = new ConnectError("mine", Code.Aborted);
type Stage = Parameters<Row["play"]>[0];

/** Makes a call of each kind that waits, and logs how each ended. */
async function each({ client, log }: Stage, options: { signal?: AbortSignal; timeoutMs?: number }): Promise<void> {
  const seen: string[][] = [[], [], [], []];
  await Promise.all([
    hear(seen[0]!, client.unary({}, options)),
    heed(seen[1]!, client.down({}, options)),
    hear(seen[2]!, client.up(open([], "a"), options)),
    heed(seen[3]!, client.both(open([], "a"), options)),
  ]);
  log.push(...seen.flat());
}

/** Aborts when so many calls are there. */
async function abortAt({ raw }: Stage, calls: number, life: AbortController, reason: unknown): Promise<void> {
  await until(() => raw?.open.size === calls);
  life.abort(reason);
}

const four = (text: string): string[] => [text, text, text, text];
const late = "DeadlineExceeded: the operation timed out";

rows(test, {
  "an aborted signal sends nothing": {
    serve: (log) => ({ handle: () => void log.push("sent") }),
    play: (stage) => each(stage, { signal: AbortSignal.abort(why) }),
    seen: four("Aborted: mine"),
  },
  "an abort before headers": {
    serve: () => ({ handle: () => {} }),
    async play(stage) {
      const life = new AbortController();
      await Promise.all([each(stage, life), abortAt(stage, 4, life, why)]);
      await until(() => stage.raw?.open.size === 0);
    },
    seen: four("Aborted: mine"),
  },
  "an abort without a reason, with a text, and with an error": {
    serve: () => ({ handle: () => {} }),
    async play(stage) {
      for (const reason of [undefined, "left", new TypeError("left")]) {
        const life = new AbortController();
        await Promise.all([hear(stage.log, stage.client.unary({}, life)), abortAt(stage, 1, life, reason)]);
        await until(() => stage.raw?.open.size === 0);
      }
      stage.log.push(stage.log.shift()!.split(":")[0]!);
    },
    seen: ["Canceled: left", "Canceled: left", "Canceled"],
  },
  "an abort by what is asked for the first message": {
    serve: () => ({ handle: () => {} }),
    async play({ client, log, raw }) {
      const life = new AbortController();
      const leaver: AsyncIterable<{ text: string }> = {
        [Symbol.asyncIterator]: () => ({
          next() {
            life.abort(why);
            return Promise.resolve({ done: false, value: { text: "a" } });
          },
          throw: () => Promise.resolve({ done: true, value: undefined }),
        }),
      };
      await heed(log, client.both(leaver, life));
      await until(() => raw?.open.size === 0);
    },
    seen: ["Aborted: mine"],
  },
  "an abort in the middle of a stream": {
    serve: () => ({ handle: (stream) => answer(stream, [note("a")]) }),
    async play({ client, log, raw }) {
      const life = new AbortController();
      const error = await (async () => {
        for await (const { text } of client.both(open(log, "x"), life)) {
          log.push(text);
          setTimeout(() => life.abort(why), 5);
        }
      })().catch((reason: unknown) => reason);
      log.push(told(error));
      await until(() => raw?.open.size === 0 && log.includes("request return()"));
      log.sort();
    },
    seen: ["Aborted: mine", "a", "request return()", "request throw(Aborted: mine)"],
  },
  "an abort while messages wait comes before them": {
    serve: () => ({ handle: (stream) => answer(stream, ["a", "b", "c"].map((text) => note(text))) }),
    async play({ log, raw, transport }) {
      const life = new AbortController();
      const { message } = await transport.stream(Echo.method.down, life.signal, undefined, undefined, texts("x"));
      const notes = message[Symbol.asyncIterator]();
      log.push((await notes.next()).value?.text ?? "done");
      await pause(20);
      life.abort(why);
      for (let reads = 0; reads < 2; reads++) {
        log.push(await notes.next().then(({ value }) => value?.text ?? "done", told));
      }
      await until(() => raw?.open.size === 0);
    },
    seen: ["a", "Aborted: mine", "Aborted: mine"],
  },
  "an abort behind the end comes too late, once the end was read": {
    serve: () => ({ handle: (stream) => answer(stream, [note("a")], 0) }),
    async play({ log, transport }) {
      const life = new AbortController();
      const { message } = await transport.stream(Echo.method.down, life.signal, undefined, undefined, texts("x"));
      const notes = message[Symbol.asyncIterator]();
      log.push((await notes.next()).value?.text ?? "done", (await notes.next()).value?.text ?? "done");
      life.abort(why);
      log.push((await notes.next()).value?.text ?? "done");
    },
    seen: ["a", "done", "done"],
  },
  "a deadline is told to the peer, and is ours": {
    serve: (log) => ({ handle: (_, headers) => void log.push(headers["grpc-timeout"] as string) }),
    async play({ client, log, raw }) {
      await hear(log, client.unary({}, { timeoutMs: 300 }));
      await until(() => raw?.open.size === 0);
    },
    seen: ["300m", late],
  },
  "a deadline of every kind of call": {
    serve: () => ({ handle: () => {} }),
    play: (stage) => each(stage, { timeoutMs: 50 }),
    seen: four(late),
  },
  "a deadline that the server keeps": {
    serve: () => ({
      routes: {
        unary: (_, { signal }) =>
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      },
    }),
    play: ({ client, log }) => hear(log, client.unary({}, { timeoutMs: 40 })),
    seen: [late],
  },
  "a deadline in the middle of a stream": {
    serve: () => ({ handle: (stream) => answer(stream, [note("a")]) }),
    async play({ client, log, raw }) {
      await heed(log, client.down({}, { timeoutMs: 300 }));
      await until(() => raw?.open.size === 0);
    },
    seen: ["a", late],
  },
  "a deadline for calls that have none": {
    serve: (log) => ({
      handle: (stream, headers) => {
        log.push(`${headers["grpc-timeout"]}`);
        answer(stream, [note("a")], 0);
      },
    }),
    options: () => ({ defaultTimeoutMs: 900 }),
    async play({ client, log }) {
      await hear(log, client.unary({}));
      await hear(log, client.unary({}, { timeoutMs: 800 }));
      await hear(log, client.unary({}, { timeoutMs: 0 }));
    },
    seen: ["900m", "a", "800m", "a", "undefined", "a"],
  },
  "a deadline of a month is told in the eight digits that gRPC has": {
    serve: (log) => ({
      handle: (stream, headers) => {
        log.push(`${headers["grpc-timeout"]}`);
        answer(stream, [note("a")], 0);
      },
    }),
    play: async ({ client }) => {
      for (const timeoutMs of [99_999_999, 99_999_999.5, 100_000_001, 2e9]) {
        await client.unary({}, { timeoutMs }).catch(told);
      }
    },
    seen: ["99999999m", "100000S", "100001S", "2000000S"],
    differs: "connect-node tells any number of milliseconds, which no peer reads",
  },
  "a fraction of a millisecond is rounded up": {
    serve: (log) => ({
      handle: (stream, headers) => {
        log.push(`${headers["grpc-timeout"]}`);
        answer(stream, [note("a")], 0);
      },
    }),
    play: async ({ client }) => void await client.unary({}, { timeoutMs: 900.5 }),
    seen: ["901m"],
    differs: "connect-node tells fractions, which no peer reads",
  },
  "a call that is over leaves its signal alone": {
    serve: () => ({
      routes: {
        unary: () => ({}),
        async *down() {
          yield {};
        },
      },
    }),
    async play(stage) {
      const life = new AbortController();
      const count = listeners(life.signal);
      for (let calls = 0; calls < 5; calls++) await everyKind(stage, { signal: life.signal });
      await pause(5);
      stage.log.splice(0, stage.log.length, `${count()} listeners`);
      assert.not(life.signal.aborted);
    },
    seen: ["0 listeners"],
  },
});

test.run();
