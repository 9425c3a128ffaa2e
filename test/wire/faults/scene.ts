import { spawn } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:net";
import process from "node:process";
import { createServer as createTlsServer } from "node:tls";
import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import { WorkflowRunEventSchema } from "../../../gen/dispatcher/dispatcher_pb.ts";
import type { CuttingProxy } from "../../../src/testing/proxy.ts";
import { cuttingProxy } from "../../../src/testing/proxy.ts";
import type { Address, TlsMaterial } from "../../../src/transport/channel.ts";
import type { FrameCall, FrameServer } from "../frames.ts";
import { frameServer, head } from "../frames.ts";
import type { Handler, RawServer, RawServerOptions } from "../server.ts";
import { answer, envelope, pem, rawServer } from "../server.ts";
import type { Moment, Scene } from "./row.ts";

/** The first message of a stream that a fault hits in the middle, and the first of one on which all is well. */
const first = "first";
export const back = "back";

/** A message of either kind of stream: the first field of both is a text. */
export function message(id: string): Uint8Array {
  return envelope(toBinary(WorkflowRunEventSchema, create(WorkflowRunEventSchema, { workflowRunId: id })));
}

/** What a server does about a stream on which all is well: it stays. */
const serve: FrameCall = (connection, id) => {
  connection.headers(id, head);
  connection.data(id, message(back));
};

function at(hostPort: string): Promise<Address> {
  const colon = hostPort.lastIndexOf(":");
  return Promise.resolve({ host: hostPort.slice(0, colon), port: Number(hostPort.slice(colon + 1)) });
}

/** A server that does this to its first call, or to every one, and then on the same connection all is well. */
export async function framed(act: FrameCall, moment: Moment, always = false): Promise<Scene> {
  let strike: (() => void) | undefined;
  let calls = 0;
  const server = await frameServer((connection, id) => {
    if (calls++ > 0 && !always) return serve(connection, id);
    if (moment === "pre") return void setTimeout(() => act(connection, id));
    connection.headers(id, head);
    connection.data(id, message(first));
    strike = () => act(connection, id);
  });
  return { ...over(server), address: () => at(server.hostPort), strike: () => strike?.() };
}

/** The same of node:http2's own server, for what it does by itself. */
export async function served(act: Handler, moment: Moment): Promise<Scene> {
  let strike: (() => void) | undefined;
  const server = await rawServer((stream, headers) => {
    if (server.calls.length > 1) return answer(stream, [message(back)]);
    if (moment === "pre") return void setTimeout(() => act(stream, headers));
    answer(stream, [message(first)]);
    strike = () => act(stream, headers);
  });
  return { ...overRaw(server), address: () => at(server.hostPort), strike: () => strike?.() };
}

/** A server in a process of its own that gets this signal; and one in its place. */
export async function killed(signal: NodeJS.Signals, moment: Moment): Promise<Scene> {
  const next = await frameServer(serve);
  const child = spawn(process.execPath, [
    ...("deno" in process.versions ? ["run", "-A"] : []),
    fileURLToPath(new URL("./process.ts", import.meta.url)),
    ...(moment === "mid" ? [btoa(String.fromCharCode(...message(first)))] : []),
  ], { stdio: ["ignore", "pipe", "inherit"] });
  const gone = once(child, "exit");
  const lines = await said(child.stdout, () => moment === "pre" && child.kill(signal));
  let mended = false;
  return {
    ...over(next),
    address: () => at(mended ? next.hostPort : lines.hostPort),
    strike: () => void child.kill(signal),
    mend: () => mended = true,
    async close() {
      child.kill("SIGKILL");
      await gone;
      await next.close();
    },
  };
}

/** Resolves with the line that says where the process listens; `called` is told of the line that says it was called. */
function said(stdout: NodeJS.ReadableStream, called: () => void): Promise<{ hostPort: string }> {
  let text = "";
  return new Promise((resolve) => {
    stdout.on("data", (chunk: Uint8Array) => {
      text += new TextDecoder().decode(chunk);
      const hostPort = /listening (\S+)\n/.exec(text)?.[1];
      if (hostPort !== undefined) resolve({ hostPort });
      if (text.includes("called\n")) called();
    });
  });
}

/** A server behind a proxy: `begin` is done to it before anybody connects, `strike` when the first message was heard. */
export async function proxied(
  begin: (proxy: CuttingProxy) => unknown,
  strike: (proxy: CuttingProxy) => void = () => {},
): Promise<Scene> {
  let calls = 0;
  const server = await frameServer((connection, id) => {
    connection.headers(id, head);
    connection.data(id, message(calls++ > 0 ? back : first));
  });
  const proxy = await cuttingProxy(server.hostPort);
  await begin(proxy);
  return {
    ...over(server),
    address: () => at(proxy.hostPort),
    strike: () => strike(proxy),
    async mend() {
      // Nobody has called yet, so whoever does next hears that all is well.
      calls++;
      proxy.acceptThen(undefined);
      proxy.resume();
      await proxy.refuse(false);
    },
    connections: () => proxy.connections,
    async close() {
      await proxy.close();
      await server.close();
    },
  };
}

/** Dials that go wrong at a place where no HTTP/2 is spoken as we speak it; and a server for when that is over. */
export async function elsewhere(address: () => Promise<Address>, tls?: TlsMaterial): Promise<Scene> {
  const next = await frameServer(serve);
  let mended = false;
  return {
    ...over(next),
    address: () => (mended ? at(next.hostPort) : address()),
    ...(tls !== undefined && { tls: () => Promise.resolve(tls) }),
    mend: () => mended = true,
  };
}

/** The same at a server with a certificate. */
export async function secured(
  as: NonNullable<RawServerOptions["tls"]>["as"],
  host: string,
  tls: TlsMaterial | undefined,
): Promise<Scene> {
  const server = await rawServer((stream) => answer(stream, [message(back)]), { tls: { as } });
  const scene = await elsewhere(() => Promise.resolve({ host, port: server.port }), tls);
  return { ...scene, connections: () => scene.connections() + server.sessions.size, close: both(scene, server.kill) };
}

/** The same at a server that speaks TLS, but no HTTP/2 in it. */
export async function withoutAlpn(): Promise<Scene> {
  const sockets = new Set<Socket>();
  const server = createTlsServer({ cert: pem("server.crt"), key: pem("server.key"), ALPNProtocols: ["http/1.1"] });
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => {
      // The client's side of what the row is about.
    });
  };
  server.on("connection", track);
  server.on("tlsClientError", () => {
    // It is what shall happen.
  });
  const scene = await elsewhere(await listening(server), { ca: pem("ca.crt") });
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { ...scene, connections: () => scene.connections() + sockets.size, close: both(scene, close) };
}

/** The same at a port where nobody is any more. */
export async function nobody(host: string): Promise<Scene> {
  const server = createServer();
  const address = await listening(server);
  const { port } = await address();
  await new Promise((resolve) => server.close(resolve));
  return await elsewhere(() => Promise.resolve({ host, port }));
}

/** A server that was trusted until its next dial, when it shows another certificate; and then the old one again. */
export async function renewed(): Promise<Scene> {
  const [good, other] = await Promise.all(
    (["server", "elsewhere"] as const).map((as) =>
      rawServer((stream) => answer(stream, [message(dials > 1 ? back : first)]), { tls: { as } })
    ),
  );
  let dials = 0;
  return {
    address: () => at((dials++ === 1 ? other : good)?.hostPort ?? "").then((one) => ({ ...one, host: "localhost" })),
    tls: () => Promise.resolve({ ca: pem("ca.crt") }),
    strike: () => good?.sessions.forEach((session) => session.destroy()),
    streams: () => (good?.open.size ?? 0) + (other?.open.size ?? 0),
    connections: () => (good?.sessions.size ?? 0) + (other?.sessions.size ?? 0),
    close: async () => void await Promise.all([good?.kill(), other?.kill()]),
  };
}

async function listening(server: ReturnType<typeof createServer>): Promise<() => Promise<Address>> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // A TCP server that listens has no other kind of address.
  return () => Promise.resolve({ host: "127.0.0.1", port });
}

function both(scene: Scene, close: () => Promise<void>): () => Promise<void> {
  return async () => {
    await scene.close();
    await close();
  };
}

function over(server: FrameServer): Pick<Scene, "streams" | "connections" | "close"> {
  const open = () => server.connections.filter(({ closed }) => !closed);
  return {
    streams: () => open().reduce((sum, { open }) => sum + open.size, 0),
    connections: () => open().length,
    close: () => server.close(),
  };
}

function overRaw(server: RawServer): Pick<Scene, "streams" | "connections" | "close"> {
  return { streams: () => server.open.size, connections: () => server.sessions.size, close: () => server.kill() };
}
