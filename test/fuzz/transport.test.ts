import { gzipSync } from "node:zlib";
import { ConnectError } from "@connectrpc/connect";
import * as fc from "fast-check";
import { judge, originOf } from "../../src/streams/verdict.ts";
import { assert, suite } from "../harness.ts";
import type { FrameCall } from "../wire/frames.ts";
import { frameServer } from "../wire/frames.ts";
import type { Caller } from "../wire/server.ts";
import { caller, envelope, until } from "../wire/server.ts";
import { assertQuiet, ended, holds, token } from "./cases.ts";
import type { Plan } from "./server.ts";
import { act, honest, isPoison, isSilent, plan } from "./server.ts";

const test = suite("fuzz transport");

/** The three kinds of call; each settles by itself, unless the peer is silent. */
const calls: Readonly<Record<"unary" | "stream" | "bidi", (open: Caller, signal: AbortSignal) => Promise<unknown>>> = {
  unary: ({ client }, signal) => client.heartbeat({ workerId: "w" }, { headers, signal }),
  stream: ({ client }, signal) => drain(client.listenV2({ workerId: "w" }, { headers, signal })),
  bidi: ({ client }, signal) => drain(client.subscribeToWorkflowRuns(asking(signal), { headers, signal })),
};
const kinds = fc.constantFrom("unary" as const, "stream" as const, "bidi" as const);
const headers = { authorization: `Bearer ${token}` };
const left = new Error("left");

async function drain(messages: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of messages) count++;
  return count;
}

async function* asking(signal: AbortSignal): AsyncGenerator<{ workflowRunId: string }> {
  yield { workflowRunId: "a" };
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
}

/** What a hostile peer may make of a call: an answer, or an error that is the peer's or the wire's. */
async function survives(open: Caller, kind: keyof typeof calls, silent: boolean): Promise<void> {
  const life = new AbortController();
  const timer = silent ? setTimeout(() => life.abort(left), 5) : undefined;
  const { error, ...rest } = await ended(calls[kind](open, life.signal));
  clearTimeout(timer);
  life.abort(left);
  if ("value" in rest) return;

  assertQuiet(error);
  if (silent && error instanceof ConnectError && error.cause === left) return;
  const origin = originOf(error);
  const verdict = judge({ alone: false, error, heard: false, origin, sent: true, wasLive: true }, () => "end");
  assert.instance(error, ConnectError);
  assert.is.not(origin, "caller", `taken for the caller's own: ${fc.stringify(error)}`);
  assert.is.not(verdict, "bug");
  assert.ok((error as ConnectError).message.length < 20_000);
}

/** So many calls, each answered by a plan of its own; after each the peer is honest, and must be of use at once. */
async function storm(count: number, plans: fc.Arbitrary<Plan>): Promise<void> {
  let what: Plan | undefined;
  const server = await frameServer((connection, id) => act(connection, id, what ?? honest));
  let open = caller(server.hostPort);
  try {
    await holds(count, fc.tuple(kinds, plans), async ([kind, one]) => {
      what = one;
      try {
        await survives(open, kind, isSilent(one));

        what = undefined;
        if (isPoison(one)) server.connections.at(-1)?.socket.destroy();
        await returns(open);
      } catch (error) {
        await open.channel.close();
        open = caller(server.hostPort); // A smaller case begins anew.
        throw error;
      }
    });
  } finally {
    await open.channel.close();
    await until(() => server.connections.every(({ closed }) => closed));
    await server.close();
  }
}

/** A connection that was lost may cost a call that was under way; a third call that fails is none of that. */
async function returns({ client }: Caller): Promise<void> {
  let failure: unknown;
  for (let tries = 0; tries < 3; tries++) {
    const { error } = await ended(client.heartbeat({ workerId: "w" }), 1000);
    if (error === undefined) return;
    failure = error;
  }
  throw new Error(`of no use any more: ${fc.stringify(failure)}`);
}

test("whatever a peer answers, a call settles, and is nobody's fault but the peer's", { limitMs: 60_000 }, () => {
  return storm(1200, plan);
});

test("a status whose message is not encoded as it should be is the engine's all the same", async () => {
  const trailers: Plan = {
    ...honest,
    ending: { how: "trailers", fields: { "grpc-status": "5", "grpc-message": "100%" } },
  };
  const said: unknown[] = [];

  for (const one of [trailers, { ...trailers, body: [] }, { ...trailers, head: undefined }]) {
    await against((connection, id) => act(connection, id, one), async ({ client }) => {
      said.push((await ended(client.heartbeat({ workerId: "w" }))).error);
    });
  }

  assert.equal(said.map(String), Array.from({ length: 3 }, () => "ConnectError: [not_found] 100%"));
  assert.equal(said.map(originOf), ["engine", "engine", "engine"]);
});

test("a peer that sends a frame too large loses its connection, and no other call", async () => {
  let large = true;
  const odd = (): Plan =>
    large ? { ...honest, ending: { how: "trailers", fields: { "x-odd": "x".repeat(20_000) } } } : honest;
  await against((connection, id) => act(connection, id, odd()), async (open) => {
    await ended(open.client.heartbeat({ workerId: "w" }));
    large = false;

    await returns(open);

    assert.is(open.channel.connection?.alive, true);
  });
});

test("a message that would unpack to 64 MiB is refused before it does", { limitMs: 10_000 }, async () => {
  const bomb = gzipSync(new Uint8Array(2 ** 26), { level: 1 });
  const head = { ...honest.head, "grpc-encoding": "gzip" };
  const body = pieces(envelope(bomb, bomb.length, 1));
  await against((connection, id) => act(connection, id, { ...honest, head, body }), async ({ client }) => {
    const { error } = await ended(client.heartbeat({ workerId: "w" }));

    assert.match(String(error), /resource_exhausted/);
  });
});

test("a message that announces more than it may have is refused before it comes", async () => {
  for (const announced of [4 * 2 ** 20 + 1, 2 ** 31, 2 ** 32 - 1]) {
    const plan: Plan = { ...honest, body: [envelope(new Uint8Array(), announced)], ending: { how: "silence" } };
    await against((connection, id) => act(connection, id, plan), async ({ client }) => {
      const { error } = await ended(client.heartbeat({ workerId: "w" }), 1000);

      assert.match(String(error), /resource_exhausted/);
    });
  }
});

/** One channel on one peer, both gone after it. */
async function against(call: FrameCall, work: (open: Caller) => Promise<void>): Promise<void> {
  const server = await frameServer(call);
  const open = caller(server.hostPort);
  try {
    await work(open);
  } finally {
    await open.channel.close();
    await server.close();
  }
}

/** As many frames as it takes. */
function pieces(message: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.ceil(message.length / 16_384) }, (_, index) => {
    return message.subarray(index * 16_384, (index + 1) * 16_384);
  });
}

test.run();
