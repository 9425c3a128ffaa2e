import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, AnySchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, encodeBinaryHeader } from "@connectrpc/connect";
import { NoteSchema } from "../fixtures/echo/gen/echo_pb.ts";
import { suite } from "../harness.ts";
import { head, ok } from "./frames.ts";
import type { Fields } from "./grpc-answers.ts";
import { both, frames, twice } from "./grpc-answers.ts";
import type { Row, Serve } from "./grpc.ts";
import { everyKind, hear, heed, note, rows, told } from "./grpc.ts";

const test = suite("grpc endings");

const no: Fields = { "grpc-status": "5", "grpc-message": "no" };

/** Trailers with a status that has details, as they are on the wire. */
function detailed(code: number, text: string, ...details: string[]): string {
  const any = details.map((one) => toBinary(AnySchema, anyPack(NoteSchema, create(NoteSchema, { text: one }))));
  const message = new TextEncoder().encode(text);
  return encodeBinaryHeader(
    Uint8Array.from([8, code, 18, message.length, ...message, ...any.flatMap((one) => [26, one.length, ...one])]),
  );
}

/** Ends with a status that has details; in the headers, or behind them. */
function detail(fields: Fields, alone: boolean): () => Serve {
  return () => ({
    handle: (stream) => {
      if (alone) return stream.respond({ ...head, ...fields }, { endStream: true });
      stream.respond(head, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers(fields));
      stream.end();
    },
  });
}

/** Logs what goes with an error. */
async function details({ client, log }: Parameters<Row["play"]>[0]): Promise<void> {
  const error = await client.unary({}).catch((reason: unknown) => reason);
  log.push(told(error));
  if (!(error instanceof ConnectError)) return;
  for (const { text } of error.findDetails(NoteSchema)) log.push(text);
}

rows(test, {
  "every status, in trailers, behind a message": {
    serve: () => {
      let code = 0;
      return {
        frames: (connection, id) => {
          connection.headers(id, { ...head, "x-head": "h" });
          connection.data(id, note("a"));
          connection.headers(id, { "grpc-status": String(++code), "grpc-message": "said", "x-trail": "t" }, true);
        },
      };
    },
    async play({ client, log }) {
      for (let calls = 0; calls < 17; calls++) {
        const error = await client.unary({}).catch((reason: unknown) => reason);
        const { metadata } = error instanceof ConnectError ? error : { metadata: new Headers() };
        log.push(`${told(error)} ${metadata.get("x-head")} ${metadata.get("x-trail")}`);
      }
    },
    seen: [
      ...Array.from({ length: 16 }, (_, at) => `${Code[at + 1]}: said h t`),
      "Internal: invalid grpc-status: 17 h t",
    ],
  },
  "a status in the headers, which are the whole answer": {
    serve: frames({ head: { ...head, "grpc-status": "5", "grpc-message": "no" } }),
    play: everyKind,
    seen: Array(4).fill("NotFound: no"),
  },
  "OK in the headers: a stream of nothing, and no answer to a unary call": {
    serve: frames({ head: { ...head, "grpc-status": "0" } }),
    play: both,
    seen: ["Unimplemented: protocol error: missing output message for unary method", "ended"],
    differs: "a missing message is Unimplemented to gRPC wherever the status stood; to connect-node Unknown in headers",
  },
  "an error in the headers and something behind it": {
    serve: frames({ head: { ...head, "grpc-status": "5", "grpc-message": "no" }, notes: [note("a")], trailers: ok }),
    play: ({ client, log }) => heed(log, client.down({})),
    seen: ["NotFound: no"],
  },
  "no message for a unary call": {
    serve: frames({ head, trailers: ok }),
    play: ({ client, log }) => hear(log, client.unary({})),
    seen: ["Unimplemented: protocol error: missing output message for unary method"],
  },
  "two messages for a unary call": {
    serve: frames({ head, notes: [note("a"), note("b")], trailers: ok }),
    play: ({ client, log }) => hear(log, client.unary({})),
    seen: ["Unimplemented: protocol error: received extra output message for unary method"],
  },
  "no status at all": {
    serve: () => ({
      frames: (connection, id) => {
        connection.headers(id, head);
        connection.data(id, note("a"), true);
      },
    }),
    play: both,
    seen: ["Internal: protocol error: missing status", "a", "Internal: protocol error: missing status"],
  },
  "trailers without a status": {
    serve: frames({ head, notes: [note("a")], trailers: { "x-trail": "t" } }),
    play: ({ client, log }) => heed(log, client.down({})),
    seen: ["a", "Internal: protocol error: missing status"],
  },
  "a message that is cut by an OK": {
    serve: frames({ head, notes: [note("a"), note("bcdef").subarray(0, 8)], trailers: ok }),
    play: ({ client, log }) => heed(log, client.down({})),
    seen: ["a", "InvalidArgument: protocol error: incomplete envelope"],
  },
  "a message that is cut by an error: the peer's word is the better one": {
    serve: frames({ head, notes: [note("a"), note("bcdef").subarray(0, 8)], trailers: { "grpc-status": "14" } }),
    play: ({ client, log }) => heed(log, client.down({})),
    seen: ["a", "Unavailable: "],
    differs:
      "connect-node tells of the message, which an engine that stops in the middle of one makes the caller's fault",
  },
  "a status that is no number": {
    serve: frames({ head, trailers: { "grpc-status": "x" } }),
    play: both,
    seen: twice("Internal: invalid grpc-status: x"),
  },
  "a status that is none of gRPC's in another way": {
    serve: frames({ head, trailers: { "grpc-status": "5x" } }),
    play: both,
    seen: twice("Internal: invalid grpc-status: 5x"),
    differs: "connect-node reads the number that it begins with",
  },
  "a message in percents": {
    serve: frames({ head, trailers: { "grpc-status": "5", "grpc-message": "a%20b %E4%B8%AD%F0%9F%8C%B3%0A" } }),
    play: both,
    seen: twice("NotFound: a b 中🌳\n"),
  },
  "a message whose percents are broken": {
    serve: frames({ head, trailers: { "grpc-status": "5", "grpc-message": "100% %zz %ff" } }),
    play: both,
    seen: twice("NotFound: 100% %zz %ff"),
    differs: "connect-node throws a URIError of its own, and the status is lost",
  },
  "details are found by their schema": {
    serve: detail({ ...no, "grpc-status-details-bin": detailed(5, "no", "x", "y") }, false),
    play: details,
    seen: ["NotFound: no", "x", "y"],
  },
  "details in headers that are the whole answer": {
    serve: detail({ ...no, "grpc-status-details-bin": detailed(5, "no", "x") }, true),
    play: details,
    seen: ["NotFound: no", "x"],
  },
  "details that contradict the status": {
    serve: detail({ ...no, "grpc-status-details-bin": detailed(14, "yes", "x") }, false),
    play: details,
    seen: ["NotFound: no", "x"],
    differs: "connect-node believes the details, which proxies that rewrite a status leave as they were",
  },
  "details that nobody can read": {
    serve: detail({ ...no, "grpc-status-details-bin": "CAUS" }, false),
    play: details,
    seen: ["NotFound: no"],
    differs: "connect-node throws what its decoder did, and the status is lost",
  },
});

test.run();
