import { brotliCompressSync, gzipSync } from "node:zlib";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { gzip } from "../../src/transport/gzip.ts";
import { suite } from "../harness.ts";
import type { Row, Serve } from "./grpc.ts";
import { bytesOf, hear, heed, note, open, rows, texts } from "./grpc.ts";
import { answer, envelope, until } from "./server.ts";

const test = suite("grpc limits");

/** Says how each message came. */
function packing(log: string[]): Serve {
  return {
    handle: (stream, headers) => {
      log.push(`${headers["grpc-encoding"]} ${headers["grpc-accept-encoding"]}`);
      stream.on("data", (chunk: Uint8Array) => log.push(chunk[0] === 1 ? "packed" : "plain"));
      stream.once("end", () => answer(stream, [note("a")], 0));
    },
  };
}

/** Answers with these, packed with what it names. */
function packed(encoding: string, ...messages: Uint8Array[]): () => Serve {
  return () => ({
    handle: (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-encoding": encoding }, {
        waitForTrailers: true,
      });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      for (const one of messages) stream.write(one);
      setTimeout(() => stream.end(), 20);
    },
  });
}

const zipped = (text: string): Uint8Array => envelope(gzipSync(bytesOf(text)), undefined, 1);
const both = async ({ client, log }: Parameters<Row["play"]>[0]) => {
  await hear(log, client.unary({}));
  await heed(log, client.down({}));
};
const large = "x".repeat(2000);

rows(test, {
  "takes gzip, and sends nothing packed, unless told": {
    serve: packing,
    play: ({ client, log }) => hear(log, client.unary({ text: large })),
    seen: ["undefined gzip", "plain", "a"],
    differs: "connect-node takes brotli too",
  },
  "packs what is large enough": {
    serve: packing,
    options: () => ({ acceptCompression: [gzip], compressMinBytes: 1000, sendCompression: gzip }),
    play: async ({ client, log }) => {
      await hear(log, client.unary({ text: large }));
      await hear(log, client.unary({ text: "small" }));
    },
    seen: ["gzip gzip", "packed", "a", "gzip gzip", "plain", "a"],
  },
  "takes what it is told to, in this order": {
    serve: packing,
    options: () => ({ acceptCompression: [compressionBrotli, compressionGzip] }),
    play: ({ client, log }) => hear(log, client.unary({})),
    seen: ["undefined br,gzip", "plain", "a"],
  },
  "reads what is packed, beside what is not": {
    serve: packed("gzip", zipped("a"), note("b"), zipped("c")),
    play: ({ client, log }) => heed(log, client.down({})),
    seen: ["a", "b", "c", "ended"],
  },
  "reads what is packed by another, if it was told to": {
    serve: packed("br", envelope(brotliCompressSync(bytesOf("a")), undefined, 1)),
    options: () => ({ acceptCompression: [compressionBrotli] }),
    play: both,
    seen: ["a", "a", "ended"],
  },
  "goes both ways with a server that packs too": {
    serve: () => ({
      routes: {
        unary: ({ text }) => ({ text }),
        async *both(notes) {
          for await (const { text } of notes) yield { text };
        },
      },
    }),
    options: () => ({ compressMinBytes: 1, sendCompression: gzip }),
    async play({ client, log }) {
      await hear(log, client.unary({ text: large }));
      await heed(log, client.both(texts("a", large)));
    },
    seen: [large, "a", large, "ended"],
  },
  "an encoding that nobody accepts": {
    serve: packed("zstd", note("a")),
    play: both,
    seen: Array(2).fill('Internal: unsupported response encoding "zstd"'),
  },
  "an encoding where none is accepted": {
    serve: packed("gzip", zipped("a")),
    options: () => ({ acceptCompression: [] }),
    play: both,
    seen: Array(2).fill('Internal: unsupported response encoding "gzip"'),
  },
  "identity is no encoding": {
    serve: packed("identity", note("a")),
    play: both,
    seen: ["a", "a", "ended"],
  },
  "packed without an encoding": {
    serve: () => ({ handle: (stream) => answer(stream, [note("a"), zipped("b")], 0) }),
    play: ({ client, log }) => heed(log, client.down({})),
    seen: ["a", "Internal: protocol error: a compressed message without an encoding"],
    differs: "connect-node says it in other words",
  },
  "packed, and no gzip": {
    serve: packed("gzip", envelope(Uint8Array.of(1, 2, 3), undefined, 1)),
    async play({ client, log }) {
      await both({ client, log } as Parameters<Row["play"]>[0]);
      log.splice(0, log.length, ...log.map((line) => line.replace(/:.*/, "")));
    },
    seen: ["Internal", "Internal"],
    differs: "connect-node blames the caller: InvalidArgument",
  },
  "flags that are none": {
    serve: () => ({ handle: (stream) => answer(stream, [note("a"), note("b", 2)], 0) }),
    play: ({ client, log }) => heed(log, client.down({})),
    seen: ["a", "Internal: protocol error: a message with flags 2"],
    differs: "connect-node reads what gRPC keeps for later as if it said nothing",
  },
  "a message as large as may be, and one byte more": {
    serve: () => ({ handle: (stream, headers) => answer(stream, [note("x".repeat(headers["x-more"] ? 98 : 97))], 0) }),
    options: () => ({ readMaxBytes: 99 }),
    async play({ client, log }) {
      await hear(log, client.unary({}));
      await heed(log, client.down({}));
      await hear(log, client.unary({}, { headers: { "x-more": "1" } }));
      await heed(log, client.down({}, { headers: { "x-more": "1" } }));
    },
    seen: [
      "x".repeat(97),
      "x".repeat(97),
      "ended",
      ...Array(2).fill("ResourceExhausted: message size 100 is larger than configured readMaxBytes 99"),
    ],
  },
  "a packed message as large as may be, and one byte more": {
    serve: (log) => ({
      handle: (stream, headers) => {
        const serve = packed("gzip", zipped("x".repeat(headers["x-more"] ? 98 : 97)))();
        if ("handle" in serve) serve.handle(stream, headers);
        else log.push("no handler");
      },
    }),
    options: () => ({ readMaxBytes: 99 }),
    async play({ client, log }) {
      await hear(log, client.unary({}));
      await hear(log, client.unary({}, { headers: { "x-more": "1" } }));
      log.push(log.pop()!.replace(/:.*/, ""));
    },
    seen: ["x".repeat(97), "ResourceExhausted"],
  },
  "a bomb": {
    serve: packed("gzip", envelope(gzipSync(new Uint8Array(2 ** 23), { level: 1 }), undefined, 1)),
    options: () => ({ readMaxBytes: 2 ** 20 }),
    async play({ client, log }) {
      await both({ client, log } as Parameters<Row["play"]>[0]);
      log.splice(0, log.length, ...log.map((line) => line.replace(/:.*/, "")));
    },
    seen: ["ResourceExhausted", "ResourceExhausted"],
  },
  "a message that is too large to be sent is not": {
    serve: (log) => ({
      handle: (stream) => {
        stream.on("data", () => log.push("sent"));
        stream.once("end", () => answer(stream, [note("a")], 0));
      },
    }),
    options: () => ({ writeMaxBytes: 99 }),
    async play({ client, log }) {
      await hear(log, client.unary({ text: "x".repeat(97) }));
      await everyKindOf(large, { client, log });
    },
    seen: [
      "sent",
      "a",
      ...Array(4).fill("ResourceExhausted: message size 2003 is larger than configured writeMaxBytes 99"),
    ],
  },
  "a message that is too large behind one that is not lets go of the request": {
    serve: () => ({ handle: (stream) => answer(stream, []) }),
    options: () => ({ writeMaxBytes: 99 }),
    async play({ client, log, raw }) {
      await heed(log, client.both(open(log, "a", large)));
      await until(() => log.includes("request return()") && raw?.open.size === 0);
      log.sort();
    },
    seen: [
      "ResourceExhausted: message size 2003 is larger than configured writeMaxBytes 99",
      "request return()",
      "request throw(ResourceExhausted: message size 2003 is larger than configured writeMaxBytes 99)",
    ],
  },
});

async function everyKindOf(text: string, { client, log }: Pick<Parameters<Row["play"]>[0], "client" | "log">) {
  await hear(log, client.unary({ text }));
  await heed(log, client.down({ text }));
  await hear(log, client.up(texts(text)));
  await heed(log, client.both(texts(text)));
}

test.run();
