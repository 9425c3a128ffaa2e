import * as fc from "fast-check";
import { createClient } from "../../src/client.ts";
import { assert, suite } from "../harness.ts";
import { id } from "../remote.ts";
import { quick } from "../wire/client.ts";
import { frameServer } from "../wire/frames.ts";
import { pause, until } from "../wire/server.ts";
import { assertQuiet, ended, holds, token } from "./cases.ts";
import type { Plan } from "./server.ts";
import { act, plan } from "./server.ts";

const test = suite("fuzz client");

/** Plans with a peer that says in its statuses what it was told in secret. */
const telltale: fc.Arbitrary<Plan> = fc.constantFrom("3", "7", "14", "16").map((status) => ({
  head: undefined,
  body: [],
  ending: { how: "trailers", fields: { "grpc-status": status, "grpc-message": `refused: Bearer ${token}` } },
}));

test("a client on a peer that answers anything settles every call, and leaves nothing behind", {
  limitMs: 60_000,
}, async () => {
  await holds(80, fc.array(plan, { minLength: 1, maxLength: 6 }), async (plans) => {
    let calls = 0;
    const server = await frameServer((connection, call) => act(connection, call, plans[calls++ % plans.length]!));
    const said: unknown[] = [];
    const line = (...args: readonly unknown[]) => void said.push(args);
    const logger = { debug: line, info: line, warn: line, error: line };
    const client = createClient({ hostPort: server.hostPort, token, tls: false, logger, retry: quick });
    const statuses = all(client.status());
    const tasks = client.durable.tasks({ workerId: id(3) });
    const step = { taskId: id(6), invocation: 1 };
    const working = [
      client.runs.result(id(1)),
      client.durable.event(id(6), "paid"),
      client.durable.register(id(6), "paid", { event: "paid" }),
      tasks.memo(step, "key", 1),
      tasks.waitFor(step, { sleepMs: 1 }),
      all(client.runs.events(id(7))),
      all(client.runs.chunks(id(8))),
      client.runs.details(id(2)),
      client.runs.trigger("double", {}),
      client.register({ actions: ["double:double"], name: "w" }),
      all(client.actions({ workerId: id(3) })),
      all(client.runs.results([id(4), id(5)])),
    ].map((call) => ended<unknown>(call));

    await pause(30);
    await ended(client.close({ graceMs: 0 }));

    for (const { error, ...rest } of await Promise.all(working)) {
      if (!("value" in rest)) assert.instance(error, Error);
      said.push(error);
    }
    assertQuiet(...said, await statuses);
    await until(() => server.connections.every(({ closed }) => closed));
    await server.close();
  });
});

test("a peer that tells the token to everybody does not bring it into the log", { limitMs: 20_000 }, async () => {
  const written: string[] = [];
  const { error: toError, warn: toWarn } = console;
  console.error = console.warn = (...args: readonly unknown[]) => void written.push(args.join(" "));
  try {
    await holds(20, telltale, async (one) => {
      const server = await frameServer((connection, call) => act(connection, call, one));
      const client = createClient({ hostPort: server.hostPort, token, tls: false, retry: quick });
      const working = [all(client.actions({ workerId: id(3) })), client.runs.result(id(1))].map((call) =>
        ended<unknown>(call)
      );
      await pause(20);
      await client.close({ graceMs: 0 });
      await Promise.all(working);
      await server.close();
    });
  } finally {
    Object.assign(console, { error: toError, warn: toWarn });
  }

  assert.ok(written.length > 0);
  assertQuiet(...written);
});

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

test.run();
