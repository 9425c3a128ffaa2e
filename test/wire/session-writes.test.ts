import { Socket } from "node:net";
import { assert, suite } from "../harness.ts";
import type { Caller, RawServer } from "./server.ts";
import { answer, beat, caller, never, rawServer } from "./server.ts";

const test = suite("session-writes");

let server: RawServer;
let client: Caller;

test.before.each(async () => {
  server = await rawServer((stream) => answer(stream, [beat], 0));
  client = caller(server.hostPort);
  await client.channel.ready(never, 1000);
});
test.after.each(async () => {
  await client.channel.close();
  await server.kill();
});

/** How often a socket to the server is written to meanwhile; 0 where HTTP/2 writes past it, as on Node. */
async function writes(work: () => Promise<unknown>): Promise<number> {
  const { _write, _writev } = Socket.prototype;
  let count = 0;
  const counted = <A extends unknown[]>(write: ((...args: A) => void) | undefined) =>
    write && function (this: Socket, ...args: A): void {
      if (this.remotePort === server.port) count++;
      write.apply(this, args);
    };
  Object.assign(Socket.prototype, { _write: counted(_write), _writev: counted(_writev) });
  try {
    await work();
  } finally {
    Object.assign(Socket.prototype, { _write, _writev });
  }
  return count;
}

test("sends all that is called in one turn in one piece", async () => {
  const count = await writes(() => Promise.all(Array.from({ length: 20 }, () => client.client.heartbeat({}))));

  assert.is(server.calls.length, 20);
  // One, but the peer's own frames may be answered meanwhile.
  assert.ok(count <= 3, `written ${count} times`);
});

test.run();
