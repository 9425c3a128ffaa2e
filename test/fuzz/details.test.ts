import { ConnectError } from "@connectrpc/connect";
import * as fc from "fast-check";
import { judge, originOf } from "../../src/streams/verdict.ts";
import { assert, suite } from "../harness.ts";
import type { FrameCall } from "../wire/frames.ts";
import { frameServer, head } from "../wire/frames.ts";
import type { Caller } from "../wire/server.ts";
import { action, beat, caller } from "../wire/server.ts";
import { ended, holds } from "./cases.ts";
import type { Plan } from "./server.ts";
import { act } from "./server.ts";
import { text } from "./wrong.ts";

const test = suite("fuzz details");

const garbage = fc.oneof(
  fc.constantFrom("=", "!", "CAU=", "CAUSAXg", "CP///////////wE", "AAAA", "%00", "CGM", " ", ","),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("base64")),
  text.map((one) => one.replaceAll(/[^\x20-\x7e]/g, "").trim().slice(0, 500)),
);
const fatal = fc.constantFrom(3, 5, 7, 9, 12, 16);

async function drain(messages: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of messages) count++;
  return count;
}

const calls: readonly ((open: Caller) => Promise<unknown>)[] = [
  ({ client }) => client.heartbeat({ workerId: "w" }),
  ({ client }) => drain(client.listenV2({ workerId: "w" })),
];

test(
  "details that cannot be read hide no status: what the engine refused is refused",
  { limitMs: 30_000 },
  async () => {
    let plan: Plan | undefined;
    const call: FrameCall = (connection, id) => act(connection, id, plan!);
    const server = await frameServer(call);
    const open = caller(server.hostPort);
    const cases = fc.record({
      code: fatal,
      details: garbage,
      kind: fc.constantFrom(0, 1),
      body: fc.constantFrom(0, 1, 2),
    });
    try {
      await holds(150, cases, async ({ body, code, details, kind }) => {
        plan = {
          head: body === 0 ? undefined : head, // Trailers-Only, headers without a message, headers and a message.
          body: body === 2 ? [kind === 0 ? beat : action("a")] : [],
          ending: {
            how: "trailers",
            fields: { "grpc-status": String(code), "grpc-message": "no", "grpc-status-details-bin": details },
          },
        };

        const { error } = await ended(calls[kind]!(open));

        const seen = { alone: false, error, heard: false, origin: originOf(error), sent: true, wasLive: false };
        assert.ok(error instanceof ConnectError, String(error));
        assert.is(error.code, code);
        assert.is(originOf(error), "engine");
        assert.is(judge(seen, () => "end"), "fatal");
      });
    } finally {
      await open.channel.close();
      await server.close();
    }
  },
);

test.run();
