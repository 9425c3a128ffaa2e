import type { Tick } from "../../fixtures/counter/gen/counter_pb.ts";
import { Counter } from "../../fixtures/counter/gen/counter_pb.ts";
import { reconnect } from "../../../src/streams/reconnect.ts";
import { isUnsent } from "../../../src/streams/errors.ts";
import { originOf } from "../../../src/streams/verdict.ts";
import type { Channel } from "../../../src/transport/channel.ts";
import { assert } from "../../harness.ts";
import { pause, until } from "../server.ts";
import { buildPeer } from "./build.ts";
import type { Child } from "./child.ts";
import { heard, start } from "./child.ts";
import { course, failed, reach, suiteUnless, Words } from "./peers.ts";
import { Peer } from "./service.ts";

const { lack, program = "" } = { program: undefined, ...await buildPeer() };
const test = suiteUnless("endings by grpc-go", lack);

const children: Child[] = [];
const channels: Channel[] = [];
test.after.each(async () => {
  await Promise.all(channels.splice(0).map((channel) => channel.close()));
  await Promise.all(children.splice(0).map((child) => child.end()));
});

/** A server, and the port on which it listens. */
async function serve(...flags: string[]): Promise<Child & { readonly port: number }> {
  const child = start(program, flags);
  children.push(child);
  return Object.defineProperties(child, {
    port: { value: Number(await heard(child, /^listening (\d+)/)) },
  }) as Child & { readonly port: number }; // The property was just defined.
}

/** A client, and the connections that its calls went over. */
function follow(port: number | (() => number), options: Parameters<typeof reach>[2] = {}) {
  const { channel, client } = reach(Peer, port, options);
  channels.push(channel);
  const connections = new Set<unknown>();
  /** Asks again only what was never sent. */
  const echo = async (value: string, waitMs = 0): Promise<string> => {
    const headers = { "wait-ms": `${waitMs}` };
    try {
      const answer = await client.echo({ value }, { headers, onHeader: () => connections.add(channel.connection) });
      return answer.value;
    } catch (error) {
      if (isUnsent(error)) return await echo(value, waitMs);
      throw error;
    }
  };
  return { channel, client, connections, echo };
}

/** What the servers were asked to echo, in order. */
function echoed(...servers: Child[]): string[] {
  return servers.flatMap(({ said }) => said.flatMap((line) => /^Echo (.*)/.exec(line)?.[1] ?? [])).toSorted();
}

test("a drain lets all that is under way finish, and sends what comes after to the next server", async () => {
  const [old, next] = await Promise.all([serve(), serve()]);
  let { port } = old;
  const { client, echo } = follow(() => port);
  const words = new Words();
  const chat = client.chat(words)[Symbol.asyncIterator]();
  const reply = async (value: string) => {
    words.say(value);
    return (await chat.next()).value?.value;
  };
  const before = await reply("before");
  const slow = Promise.all(Array.from({ length: 20 }, (_, number) => echo(`slow ${number}`, 150)));
  await until(() => echoed(old).length === 20);

  old.tell("drain");
  port = next.port;
  const quick: string[] = [];
  for (let number = 0; number < 60; number++) quick.push(await echo(`quick ${number}`, number % 5));
  const answers = [...await slow, ...quick];
  const after = await reply("after");
  const stoppedEarly = old.said.includes("stopped ");
  words.say();
  const last = await chat.next();
  await heard(old, /^stopped/);

  assert.equal([before, after, last.done, stoppedEarly], ["before", "after", true, false]);
  assert.is(new Set(answers).size, 80);
  await until(() => echoed(old, next).length >= answers.length);
  assert.equal(echoed(old, next), answers.toSorted());
  assert.ok(echoed(next).length > 0);
});

test("connections that grow too old cost no call, however many are under way", { limitMs: 5000 }, async () => {
  const server = await serve("-age", "100ms");
  const { connections, echo } = follow(server.port);
  const endAt = Date.now() + 600;

  const lanes = await Promise.all(
    Array.from({ length: 8 }, async (_, lane) => {
      const answers: string[] = [];
      while (Date.now() < endAt) {
        answers.push(await echo(`${lane} ${answers.length}`, (lane * 7 + answers.length) % 15));
      }
      return answers;
    }),
  );

  assert.equal(echoed(server), lanes.flat().toSorted());
  assert.ok(lanes.every((answers) => answers.every((value, number) => value.endsWith(` ${number}`))));
  assert.ok(connections.size > 3, `${connections.size} connections`);
});

test("more calls than a connection may carry wait for their turn", async () => {
  const server = await serve("-max-streams", "3");
  const { connections, echo } = follow(server.port);

  const answers = await Promise.all(Array.from({ length: 40 }, (_, number) => echo(`${number}`, 5)));

  assert.equal(echoed(server), answers.toSorted());
  assert.is(connections.size, 1);
});

test(
  "a counter is followed without a gap or a repeat through every ending and lost connection",
  { limitMs: 5000 },
  async () => {
    // Once its grace is over, grpc-go says nothing more for a second before it closes.
    const server = await serve("-age", "60ms", "-grace", "5ms");
    const { channel, client } = reach(Counter, server.port);
    channels.push(channel);
    const origins = new Set<string>();
    const ticks: number[] = [];

    const stream = reconnect<Tick>(
      ({ signal, last, live }) => client.count({ after: last?.offset ?? 0 }, { signal, onHeader: live }),
      {
        backoff: () => 1,
        onStatus: (status) => {
          if (status.state === "waiting") origins.add(status.error === undefined ? "end" : originOf(status.error));
        },
      },
    );
    for await (const { offset } of stream) {
      if (ticks.push(offset) >= 100 && origins.size === 3) break;
    }

    assert.equal(ticks, Array.from(ticks, (_, n) => n + 1));
    assert.equal([...origins].toSorted(), ["end", "engine", "wire"]);
  },
);

for (
  const [how, strike] of [
    ["stopped at once", (server: Child) => server.tell("stop")],
    ["killed", (server: Child) => server.signal("SIGKILL")],
  ] as const
) {
  test(`calls of a server that is ${how} fail by the wire, and the next ones reach its successor`, async () => {
    const [old, next] = await Promise.all([serve(), serve()]);
    let { port } = old;
    const { channel, client, echo } = follow(() => port);
    const told = course(client.tell({ value: 3 }, { headers: { size: "10", linger: "1" } }));
    const slow = echo("slow", 5000).catch((error: unknown) => error);
    await Promise.all([heard(old, /^Echo slow/), heard(old, /^Tell/)]);
    await pause(20);

    strike(old);
    port = next.port;
    const { heard: messages, error } = await told;
    const lost = await slow;
    await until(() => channel.connection === undefined);
    const value = await echo("next");
    await heard(next, /^Echo next/);

    assert.is(messages.length, 3);
    assert.equal([failed(error)[1], failed(lost)[1]], ["wire", "wire"]);
    assert.is(value, "next");
  });
}

test("a server that is pinged too often hangs up by the wire, until we ping as rarely as it likes", async () => {
  const server = await serve("-min-ping", "100ms");
  const { channel, client } = follow(server.port, { pingIntervalMs: 40 });
  const endings: (readonly [number, string])[] = [];
  let livedMs = 0;

  while (livedMs < 600) {
    const begun = performance.now();
    const options = { headers: { linger: "1" }, signal: AbortSignal.timeout(600) };
    const { error } = await course(client.tell({ value: 0 }, options));
    livedMs = performance.now() - begun;
    if (livedMs < 590) endings.push(failed(error));
    await until(() => channel.connection === undefined || livedMs >= 590);
  }

  assert.ok(endings.length > 0 && endings.length < 4, `${endings.length} connections`);
  assert.equal([...new Set(endings.map(([, origin]) => origin))], ["wire"]);
});

test.run();
