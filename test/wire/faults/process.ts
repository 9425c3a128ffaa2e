/*
 * A server in a process of its own, for faults that only the end of a process makes. It says where it listens and when
 * it is called, answers with the message that its argument is in base 64, if it has one, exits at SIGTERM, and by itself
 * when nobody has ended it for long.
 */
import process from "node:process";
import { frameServer, head } from "../frames.ts";

const message = process.argv[2];
const server = await frameServer((connection, id) => {
  if (message !== undefined) {
    connection.headers(id, head);
    connection.data(id, Uint8Array.from(atob(message), (char) => char.charCodeAt(0)));
  }
  console.log("called");
});
process.on("SIGTERM", () => process.exit(0));
setTimeout(() => process.exit(1), 10_000);
console.log(`listening ${server.hostPort}`);
