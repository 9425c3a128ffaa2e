import type { Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import type { CuttingProxy } from "../../src/testing/proxy.ts";
import { cuttingProxy } from "../../src/testing/proxy.ts";
import { assert, suite } from "../harness.ts";

const test = suite("proxy");

let server: Server;
let target = "";
let proxy: CuttingProxy;
const onServer: Peer[] = [];
const open: Socket[] = [];

/** A socket and everything that happened to it. */
interface Peer {
  readonly socket: Socket;
  text: string;
  readonly events: string[];
}

function watch(socket: Socket): Peer {
  const peer: Peer = { socket, text: "", events: [] };
  open.push(socket);
  socket.on("data", (chunk: Uint8Array) => {
    peer.text += new TextDecoder().decode(chunk);
  });
  socket.on("connect", () => peer.events.push("connect"));
  socket.on("end", () => peer.events.push("end"));
  socket.on("error", (error: Error & { code?: string }) => peer.events.push(error.code ?? error.message));
  socket.on("close", () => peer.events.push("close"));
  return peer;
}

function client(): Peer {
  const [host = "", port] = proxy.hostPort.split(":");
  return watch(connect({ host, port: Number(port) }));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(2);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A client that the server has answered once. */
async function served(): Promise<Peer> {
  const peer = client();
  peer.socket.write("hello");
  await until(() => peer.text === "hello");
  return peer;
}

test.before(async () => {
  server = createServer((socket) => {
    onServer.push(watch(socket));
    socket.on("data", (chunk: Uint8Array) => socket.write(chunk));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  target = typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : "";
});
test.before.each(async () => {
  proxy = await cuttingProxy(() => target);
});
test.after.each(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  onServer.length = 0;
  await proxy.close();
});
test.after(() => {
  server.close();
});

test("passes bytes and endings on, and counts connections", async () => {
  const peer = await served();
  const counted = [proxy.connections, proxy.accepted];

  peer.socket.end();
  await until(() => peer.events.includes("close") && proxy.connections === 0);

  assert.equal(counted, [1, 1]);
  assert.equal(peer.events, ["connect", "end", "close"]);
  assert.equal(onServer[0]?.events, ["end", "close"]);
  assert.equal([proxy.connections, proxy.accepted], [0, 1]);
});

test("a cut by reset is a reset on both sides", async () => {
  const peer = await served();

  proxy.cut("rst");
  await until(() => peer.events.includes("close") && onServer[0]?.events.includes("close") === true);

  assert.equal(peer.events, ["connect", "ECONNRESET", "close"]);
  assert.ok(onServer[0]?.events.includes("ECONNRESET"));
});

test("a cut by FIN is an ending without an error on both sides", async () => {
  const peer = await served();

  proxy.cut("fin");
  await until(() => peer.events.includes("close") && onServer[0]?.events.includes("close") === true);

  assert.equal(peer.events, ["connect", "end", "close"]);
  assert.equal(onServer[0]?.events, ["end", "close"]);
});

test("a reset by the client is a reset for the server", async () => {
  const peer = await served();

  peer.socket.resetAndDestroy();
  await until(() => onServer[0]?.events.includes("close") === true);

  assert.ok(onServer[0]?.events.includes("ECONNRESET"));
});

test("a stall up holds what goes up and lets down what is on its way, in order, when resumed", async () => {
  const peer = await served();

  proxy.stall("up");
  peer.socket.write("one");
  await pause(20);
  peer.socket.write("two");
  onServer[0]?.socket.write("down");
  await pause(50);
  const held = [onServer[0]?.text, peer.text];
  proxy.resume();
  await until(() => peer.text.length === "hellodownonetwo".length);

  assert.equal(held, ["hello", "hellodown"]);
  assert.is(peer.text, "hellodownonetwo");
});

test("a stall down holds what comes down, endings too, and closes nothing", async () => {
  const peer = await served();

  proxy.stall("down");
  onServer[0]?.socket.end("last");
  await pause(50);
  const held = [peer.text, ...peer.events];
  proxy.resume();
  await until(() => peer.events.includes("close"));

  assert.equal(held, ["hello", "connect"]);
  assert.is(peer.text, "hellolast");
  assert.equal(peer.events, ["connect", "end", "close"]);
});

test("a stall holds new connections too", async () => {
  proxy.stall();

  const peer = client();
  peer.socket.write("hello");
  await pause(50);
  const held = [peer.text, ...peer.events];
  proxy.resume();
  await until(() => peer.text === "hello");

  assert.equal(held, ["", "connect"]);
});

test("a stalled connection can be cut", async () => {
  const peer = await served();
  proxy.stall();

  proxy.cut("rst");
  await until(() => peer.events.includes("close"));

  assert.equal(peer.events, ["connect", "ECONNRESET", "close"]);
});

test("a delay holds each way, and keeps the order when it is lifted", async () => {
  const peer = await served();

  proxy.delay(60);
  const begun = performance.now();
  peer.socket.write("slow");
  await pause(20);
  proxy.delay(0);
  peer.socket.write("fast");
  await until(() => peer.text.length === "helloslowfast".length);
  const tookMs = performance.now() - begun;

  assert.is(peer.text, "helloslowfast");
  assert.ok(tookMs >= 59, `took ${tookMs} ms`);
});

test("refuses new connections, keeps the old, and opens the same port again", async () => {
  const { hostPort } = proxy;
  const old = await served();

  await proxy.refuse(true);
  const refused = client();
  await until(() => refused.events.includes("close"));
  old.socket.write("!");
  await until(() => old.text === "hello!");
  await proxy.refuse(false);
  await served();

  assert.equal(refused.events, ["ECONNREFUSED", "close"]);
  assert.is(proxy.hostPort, hostPort);
});

test("a trap that closes ends new connections without an error", async () => {
  proxy.acceptThen("close");

  const peer = client();
  peer.socket.write("hello");
  await until(() => peer.events.includes("close"));

  assert.equal(peer.events, ["connect", "end", "close"]);
  assert.is(onServer.length, 0);
});

test("a trap that resets does so at once", async () => {
  proxy.acceptThen("rst");

  const peer = client();
  await until(() => peer.events.includes("close"));

  assert.ok(peer.events.includes("ECONNRESET"), peer.events.join());
});

test("traps answer garbage, a proxy's page, or nothing, and are over when lifted", async () => {
  proxy.acceptThen("garbage");
  const garbage = client();
  await until(() => garbage.text.length > 0);
  proxy.acceptThen("http502");
  const page = client();
  await until(() => page.events.includes("close"));
  proxy.acceptThen("silence");
  const silent = client();
  silent.socket.write("hello");
  await pause(30);
  proxy.acceptThen(undefined);

  await served();

  assert.not(garbage.events.includes("close"));
  assert.match(page.text, /^HTTP\/1\.1 502 /);
  assert.equal([silent.text, ...silent.events], ["", "connect"]);
});

test("cuts right behind a byte, once", async () => {
  const peer = await served();

  proxy.cutAfter(5, "fin");
  peer.socket.write("abc");
  await until(() => peer.text === "helloabc");
  peer.socket.write("defgh");
  await until(() => peer.events.includes("close"));
  const after = await served();

  assert.is(peer.text, "helloabcde");
  assert.is(after.text, "hello");
});

test("a target that is down ends the client and nothing else", async () => {
  const gone = await cuttingProxy("127.0.0.1:1");
  const [host = "", port] = gone.hostPort.split(":");

  const peer = watch(connect({ host, port: Number(port) }));
  await until(() => peer.events.includes("close"));
  await gone.close();

  assert.is(gone.connections, 0);
});

test("passes more than any buffer holds without losing a byte", async () => {
  const peer = client();
  const block = "0123456789abcdef".repeat(4096);

  for (let index = 0; index < 64; index++) peer.socket.write(block);
  await until(() => peer.text.length === 64 * block.length);

  assert.ok(peer.text === block.repeat(64));
});

test("closes twice without complaint, and with everything it holds", async () => {
  const peer = await served();
  proxy.stall();

  await Promise.all([proxy.close(), proxy[Symbol.asyncDispose]()]);
  await until(() => peer.events.includes("close"));
  const late = client();
  await until(() => late.events.includes("close"));

  assert.is(proxy.connections, 0);
  assert.equal(late.events, ["ECONNREFUSED", "close"]);
});

test.run();
