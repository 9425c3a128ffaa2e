/*
 * A process of its own for session-exit.test.ts: does what the first argument says with the server at the second, and
 * then nothing. Whether it ends by itself is the question.
 */
import process from "node:process";
import { caller, listen, never } from "./server.ts";

const [what, hostPort = ""] = process.argv.slice(2);
const { channel, client } = caller(hostPort, { pingIntervalMs: 50, pingTimeoutMs: 1000 });

if (what === "listening") await listen(client);
else if (what === "dialed") await channel.ready(never, 5000);
else {
  const nobody = caller("127.0.0.1:1");
  void nobody.channel.up(never);
  await nobody.client.heartbeat({ workerId: "w" }).catch(() => {
    // As expected of a port where nobody listens.
  });
  await channel.ready(never, 5000);
  await client.heartbeat({ workerId: "w" });
}
console.log("done");
