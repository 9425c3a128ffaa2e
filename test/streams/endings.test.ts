import { Code } from "@connectrpc/connect";
import { Gate } from "../../src/streams/gate.ts";
import type { StreamOptions } from "../../src/streams/options.ts";
import { reconnect } from "../../src/streams/reconnect.ts";
import type { StreamStatus } from "../../src/streams/status.ts";
import type { Ending } from "../../src/streams/verdict.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import type { Step } from "../../src/testing/script.ts";
import { cut, hangUp, script } from "../../src/testing/script.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("endings");

/** Plays lines behind a gate that always waits its longest, until "done" comes. */
async function play(options: StreamOptions, ...lines: readonly (readonly (string | Step)[])[]) {
  const clock = new VirtualClock();
  const gate = new Gate({ clock, random: () => 1 });
  const peer = script<string>(clock, ...lines);
  const seen: StreamStatus[] = [];
  const stream = reconnect(peer.open, { clock, gate, onStatus: (status) => seen.push(status), ...options });
  await clock.drive(async () => {
    for await (const message of stream) if (message === "done") break;
  });
  assert.is(clock.asleep, 0);
  return { gate, openedAt: peer.openedAt, seen };
}

test("an ending that is no failure of the client's waits by itself, and the gate hears nothing of it", async () => {
  const apart = ({ error }: Ending) => (error === undefined ? 250 : undefined);

  const { gate, openedAt, seen } = await play({ apart }, [hangUp], ["a", hangUp], ["done"]);

  assert.equal(openedAt, [0, 250, 500]);
  assert.is(gate.failures, 0);
  assert.equal(seen.filter(({ state }) => state === "waiting"), [
    { state: "waiting", failures: 0, delayMs: 250, error: undefined },
    { state: "waiting", failures: 0, delayMs: 250, error: undefined },
  ]);
});

test("every other ending is counted as ever", async () => {
  const apart = ({ error }: Ending) => (error === undefined ? 250 : undefined);

  const { gate, openedAt } = await play({ apart }, [hangUp], [cut(Code.Unavailable)], ["done"]);

  assert.equal(openedAt, [0, 250, 2250]);
  assert.is(gate.failures, 1);
});

test("tells whether a stream ended alone, or with what it ran on", async () => {
  const connection = { alive: true };
  const told: boolean[] = [];
  const apart = ({ alone }: Ending) => {
    told.push(alone);
    connection.alive = false;
    return 1;
  };

  await play({ apart, ready: () => Promise.resolve(connection) }, [cut()], [cut()], ["done"]);

  assert.equal(told, [true, false]);
});

test("who is not let in is still bounded", async () => {
  const playing = play({ apart: () => 1, setupAttempts: 2 }, [hangUp], [hangUp], ["done"]);

  const error = await rejects(playing);

  assert.match(error.message, "Not let in after 2 attempts");
});

test("opens nothing when the caller left while the connection came about", async () => {
  const clock = new VirtualClock();
  const life = new AbortController();
  let opened = 0;
  const ready = () => {
    life.abort(new Error("left"));
    return Promise.resolve({ alive: true });
  };
  const stream = reconnect<string>(() => {
    opened++;
    return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("the call failed")) }) };
  }, { clock, ready, signal: life.signal });

  const asked = stream.next();

  await rejects(clock.drive(asked), /left/);
  assert.is(opened, 0);
});

test.run();
