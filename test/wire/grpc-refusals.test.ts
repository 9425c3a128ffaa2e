import { isUnsent } from "../../src/streams/errors.ts";
import { suite } from "../harness.ts";
import { head, ok } from "./frames.ts";
import { both, frames, twice } from "./grpc-answers.ts";
import type { Row } from "./grpc.ts";
import { everyKind, heed, note, rows, told } from "./grpc.ts";

const test = suite("grpc refusals");

/** By their numbers. */
const names =
  "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
    .split(" ");

rows(test, {
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
