import process from "node:process";
import type { Server as Http1Server } from "node:http";
import { createServer as createHttp1Server } from "node:http";
import type { Http2Server, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { constants, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { ConnectRouter, Transport } from "@connectrpc/connect";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import type { UniversalClientFn } from "@connectrpc/connect/protocol";
import { universalClientResponseFromFetch } from "@connectrpc/connect/protocol";
import { createTransport as createConnectOverFetch } from "@connectrpc/connect/protocol-connect";
import { createTransport as createGrpcWebOverFetch } from "@connectrpc/connect/protocol-grpc-web";
import { reconnect } from "../../src/streams/reconnect.ts";
import { seeded } from "../../src/testing/random.ts";
import type { Tick } from "../fixtures/counter/gen/counter_pb.ts";
import { Counter } from "../fixtures/counter/gen/counter_pb.ts";
import { assert, suite } from "../harness.ts";

const test = suite("counter");

const seed = Number(process.env["COPPICE_SEED"] ?? 1);

/** What may happen to a call, whatever the protocol. */
type Fate = "end" | "status" | "bug" | "reset" | "kill";
const fates: readonly Fate[] = ["end", "status", "bug", "reset", "kill"];
const statuses = [Code.Unavailable, Code.Internal, Code.Canceled, Code.DeadlineExceeded, Code.ResourceExhausted];

/** A counter on loopback whose calls meet their fates at random. */
interface Peer {
  readonly baseUrl: string;
  /** How many calls came, and which fates they met. */
  readonly served: { calls: number; readonly met: Set<Fate> };
  close(): Promise<void>;
}

/** Serves the counter; `strike` does to the wire what a handler cannot. */
function routes(
  random: () => number,
  served: Peer["served"],
  strike: (fate: Fate) => void,
): (router: ConnectRouter) => void {
  return ({ service }) =>
    service(Counter, {
      async *count({ after }) {
        served.calls++;
        for (let left = 1 + Math.floor(random() * 12); left > 0; left--) {
          if (random() < 0.2) await new Promise((resolve) => setTimeout(resolve, 1));
          yield { offset: ++after };
        }
        const fate = fates[Math.floor(random() * fates.length)]!;
        served.met.add(fate);
        switch (fate) {
          case "end":
            return;
          case "status":
            throw new ConnectError("told", statuses[Math.floor(random() * statuses.length)]);
          case "bug":
            throw new Error("a bug of the server's");
        }
        // Not in the turn in which it wrote: a reset before the write is done makes Node's http2 spin for ever.
        await new Promise((resolve) => setTimeout(resolve, 2));
        strike(fate);
        await new Promise((resolve) => setTimeout(resolve, 1000));
      },
    });
}

async function listening(server: Http1Server | Http2Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function closed(server: Http1Server | Http2Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

/** Over HTTP/2: streams are reset with one of several codes, sessions are destroyed or told to go away. */
async function http2Peer(random: () => number): Promise<Peer> {
  const sessions = new Set<ServerHttp2Session>();
  const streams = new Set<ServerHttp2Stream>();
  const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_ENHANCE_YOUR_CALM } = constants;
  const codes = [NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_ENHANCE_YOUR_CALM];
  const strike = (fate: Fate) => {
    if (fate === "reset") {
      for (const stream of streams) stream.close(codes[Math.floor(random() * codes.length)]);
    } else {
      for (const session of sessions) {
        if (random() < 0.5) session.goaway();
        session.destroy();
      }
    }
  };
  const served = { calls: 0, met: new Set<Fate>() };
  const server = createHttp2Server(connectNodeAdapter({ routes: routes(random, served, strike) }));
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => {}); // It was told to break.
  });
  server.on("stream", (stream) => {
    streams.add(stream);
    stream.on("close", () => streams.delete(stream));
    stream.on("error", () => {}); // It was told to break.
  });
  return {
    baseUrl: await listening(server),
    served,
    async close() {
      for (const session of sessions) session.destroy();
      await closed(server);
    },
  };
}

/** Over HTTP/1.1: sockets are closed politely in the middle of an answer, or not politely. */
async function http1Peer(random: () => number): Promise<Peer> {
  const sockets = new Set<Socket>();
  const strike = (fate: Fate) => {
    for (const socket of sockets) {
      if (fate === "reset") socket.end();
      else socket.destroy();
    }
  };
  const served = { calls: 0, met: new Set<Fate>() };
  const server = createHttp1Server(connectNodeAdapter({ routes: routes(random, served, strike) }));
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {}); // It was told to break.
  });
  return {
    baseUrl: await listening(server),
    served,
    async close() {
      for (const socket of sockets) socket.destroy();
      await closed(server);
    },
  };
}

/** Sends over fetch what a transport has to send; Node wants to be told that a body that streams goes first. */
const overFetch: UniversalClientFn = async ({ url, method, header: headers, body, signal = null }) => {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const part of body ?? []) parts.push(new Uint8Array(part));
  const response = await fetch(url, { method, headers, body: new Blob(parts), signal });
  return universalClientResponseFromFetch(response);
};

/** A transport, and what lets go of its connections. */
interface Link {
  readonly transport: Transport;
  close(): void;
}

function overHttp2(create: (options: { baseUrl: string; sessionManager: Http2SessionManager }) => Transport) {
  return (baseUrl: string): Link => {
    const sessionManager = new Http2SessionManager(baseUrl);
    return { transport: create({ baseUrl, sessionManager }), close: () => sessionManager.abort() };
  };
}

const plain = {
  useBinaryFormat: true,
  interceptors: [],
  acceptCompression: [],
  sendCompression: null,
  compressMinBytes: Number.MAX_SAFE_INTEGER,
  readMaxBytes: 1 << 20,
  writeMaxBytes: 1 << 20,
};

function linked(transport: Transport): Link {
  return { transport, close: () => {} };
}

const links: readonly (readonly [
  protocol: string,
  serve: (random: () => number) => Promise<Peer>,
  link: (baseUrl: string) => Link,
])[] = [
  ["gRPC", http2Peer, overHttp2(createGrpcTransport)],
  ["gRPC-web over HTTP/2", http2Peer, overHttp2((options) => createGrpcWebTransport({ ...options, httpVersion: "2" }))],
  ["Connect over HTTP/2", http2Peer, overHttp2((options) => createConnectTransport({ ...options, httpVersion: "2" }))],
  [
    "Connect in JSON",
    http2Peer,
    overHttp2((options) => createConnectTransport({ ...options, httpVersion: "2", useBinaryFormat: false })),
  ],
  [
    "gRPC-web over HTTP/1.1",
    http1Peer,
    (baseUrl) => linked(createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })),
  ],
  ["Connect over HTTP/1.1", http1Peer, (baseUrl) => linked(createConnectTransport({ baseUrl, httpVersion: "1.1" }))],
  [
    "gRPC-web over fetch",
    http1Peer,
    (baseUrl) => linked(createGrpcWebOverFetch({ ...plain, baseUrl, httpClient: overFetch })),
  ],
  [
    "Connect over fetch",
    http1Peer,
    (baseUrl) => linked(createConnectOverFetch({ ...plain, baseUrl, httpClient: overFetch })),
  ],
];

for (const [protocol, serve, link] of links) {
  test(
    `a counter is followed over ${protocol} without a gap or a repeat, however its calls end`,
    { limitMs: 20_000 },
    async () => {
      const random = seeded(seed);
      const peer = await serve(random);
      const { transport, close } = link(peer.baseUrl);
      const client = createClient(Counter, transport);
      const heard: number[] = [];

      try {
        const stream = reconnect<Tick>(
          ({ signal, last, live }) => client.count({ after: last?.offset ?? 0 }, { signal, onHeader: live }),
          { backoff: () => 1 },
        );
        for await (const { offset } of stream) {
          if (heard.push(offset) >= 200 && peer.served.met.size === fates.length) break;
        }
      } finally {
        close();
        await peer.close();
      }

      assert.equal(heard, Array.from(heard, (_, n) => n + 1), `COPPICE_SEED=${seed}`);
      assert.ok(peer.served.calls > 15, `only ${peer.served.calls} calls`);
    },
  );
}

test.run();
