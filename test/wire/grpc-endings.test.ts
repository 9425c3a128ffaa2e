import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, AnySchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, encodeBinaryHeader } from "@connectrpc/connect";
import { isUnsent } from "../../src/streams/errors.ts";
import { NoteSchema } from "../fixtures/echo/gen/echo_pb.ts";
import { suite } from "../harness.ts";
import { head, ok } from "./frames.ts";
import type { Row, Serve } from "./grpc.ts";
import { everyKind, hear, heed, note, rows, told } from "./grpc.ts";

const test = suite("grpc endings");

type Fields = Readonly<Record<string, string>>;
interface Answer {
  /** Nothing at all when it is `undefined`. */
  readonly head: Fields | undefined;
  readonly notes?: readonly Uint8Array[];
  readonly trailers?: Fields;
  readonly reset?: number;
  readonly goaway?: number;
}

/** Writes the frames of one answer. */
function frames({ goaway, head, notes = [], reset, trailers }: Answer): () => Serve {
  const alone = notes.length === 0 && trailers === undefined && reset === undefined;
  return () => ({
    frames: (connection, id) => {
      if (head !== undefined) connection.headers(id, head, alone);
      for (const one of notes) connection.data(id, one);
      if (trailers !== undefined) connection.headers(id, trailers, true);
      if (reset !== undefined) connection.reset(id, reset);
      if (goaway !== undefined) connection.goaway(goaway, 0);
    },
  });
}

/** How a unary call and a server stream end. */
async function both({ client, log }: Parameters<Row["play"]>[0]): Promise<void> {
  await hear(log, client.unary({}));
  await heed(log, client.down({}));
}

/** The same word of both. */
const twice = (text: string): string[] => [text, text];
const no: Fields = { "grpc-status": "5", "grpc-message": "no" };
/** By their numbers. */
const names =
  "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
    .split(" ");

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
  ...statuses({
    204: "Unknown",
    400: "Internal",
    401: "Unauthenticated",
    403: "PermissionDenied",
    404: "Unimplemented",
    429: "Unavailable",
    500: "Unknown",
    502: "Unavailable",
    503: "Unavailable",
    504: "Unavailable",
  }),
  "another HTTP status with a gRPC one": {
    serve: frames({ head: { ...head, ":status": "502", "grpc-status": "8", "grpc-message": "full" } }),
    play: both,
    seen: twice("ResourceExhausted: full"),
    differs: "connect-node reads no further than HTTP's status",
  },
  ...types({
    "application/grpc": undefined,
    "application/grpc+proto": undefined,
    "application/grpc; charset=utf-8": "parameters are no other type; connect-node takes none",
    "application/grpc+json": "the request asked for no JSON, and its bytes do not decode; connect-node tries",
    "application/grpc-web+proto": undefined,
    "application/json": undefined,
    "text/html": undefined,
  }),
  "no content type": {
    serve: frames({ head: { ":status": "200" }, notes: [note("a")], trailers: ok }),
    play: both,
    seen: twice("Unknown: unsupported content type null"),
  },
  ...resets({
    1: "Internal",
    2: "Internal",
    3: "Internal",
    4: "Internal",
    5: "Internal",
    6: "Internal",
    7: "Unavailable",
    8: "Canceled",
    9: "Internal",
    10: "Internal",
    12: "PermissionDenied",
    13: "PermissionDenied",
    99: "Internal",
  }),
  "a reset without an error, before anything": {
    serve: frames({ head: undefined, reset: 0 }),
    play: both,
    seen: twice("Unavailable: The stream closed without a response"),
    differs: "connect-node waits for ever",
  },
  "a reset without an error behind the answer": {
    serve: frames({ head, notes: [note("a")], trailers: ok, reset: 0 }),
    play: everyKind,
    seen: ["a", "a", "ended", "a", "a", "ended"],
  },
  "a request that the peer refuses was never sent": {
    serve: frames({ head: undefined, reset: 7 }),
    play: unsent,
    seen: ["Unavailable: http/2 stream closed with error code REFUSED_STREAM (0x7)", "unsent"],
    differs: "connect-node does not tell",
  },
  "a request that the peer refuses behind headers may have been worked on": {
    serve: frames({ head, notes: [note("a")], reset: 7 }),
    play: unsent,
    seen: ["Unavailable: http/2 stream closed with error code REFUSED_STREAM (0x7)", "sent"],
    differs: "connect-node tells it in its runtime's words, as Internal",
  },
  "a request that crosses the peer's GOAWAY was never sent": {
    serve: frames({ head: undefined, goaway: 0 }),
    play: async ({ client, log }) => {
      const error = await client.unary({}).catch((reason: unknown) => reason);
      log.push(told(error).split(":")[0]!, isUnsent(error) ? "unsent" : "sent");
    },
    seen: ["Unavailable", "unsent"],
    differs: "connect-node does not tell",
  },
});

async function unsent({ client, log }: Parameters<Row["play"]>[0]): Promise<void> {
  const error = await client.unary({}).catch((reason: unknown) => reason);
  log.push(told(error), isUnsent(error) ? "unsent" : "sent");
}

function statuses(codes: Readonly<Record<number, string>>): Record<string, Row> {
  return Object.fromEntries(
    Object.entries(codes).map(([status, code]): [string, Row] => [`HTTP ${status} is ${code}`, {
      serve: () => ({
        handle: (stream) => {
          stream.respond({ ":status": Number(status), "content-type": "text/html" });
          stream.end(status === "204" ? undefined : "<html>");
        },
      }),
      play: both,
      seen: twice(`${code}: HTTP ${status}`),
    }]),
  );
}

function types(known: Readonly<Record<string, string | undefined>>): Record<string, Row> {
  return Object.fromEntries(
    Object.entries(known).map(([type, differs]): [string, Row] => {
      const good = /^application\/grpc(\+proto|;.*)?$/.test(type);
      return [`the content type ${type} is ${good ? "right" : "wrong"}`, {
        serve: frames({ head: { ...head, "content-type": type }, notes: [note("a")], trailers: ok }),
        play: both,
        seen: good ? ["a", "a", "ended"] : twice(`Unknown: unsupported content type ${type}`),
        ...(differs !== undefined && { differs }),
      }];
    }),
  );
}

function resets(codes: Readonly<Record<number, string>>): Record<string, Row> {
  return Object.fromEntries(
    Object.entries(codes).map(([code, means]): [string, Row] => {
      const name = names[Number(code)] ?? "unknown";
      const failure = `${means}: http/2 stream closed with error code ${name} (0x${Number(code).toString(16)})`;
      return [`a reset with ${name} behind a message is ${means}`, {
        serve: frames({ head, notes: [note("a")], reset: Number(code) }),
        play: ({ client, log }) => heed(log, client.down({})),
        seen: ["a", failure],
        differs: "connect-node tells it in its runtime's words, always as Internal, and Deno's without the message",
        ...(name === "CANCEL" && { on: ["deno"] }),
      }];
    }),
  );
}

test.run();
