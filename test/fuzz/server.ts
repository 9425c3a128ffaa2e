import { brotliCompressSync, gzipSync } from "node:zlib";
import * as fc from "fast-check";
import type { FrameConnection } from "../wire/frames.ts";
import { head as usual, ok } from "../wire/frames.ts";
import { action, beat, envelope } from "../wire/server.ts";
import { bytes, text } from "./wrong.ts";

/** What a server does about one call, all of it wrong or nearly all. */
export interface Plan {
  readonly head: Readonly<Record<string, string>> | undefined;
  readonly body: readonly Uint8Array[];
  readonly ending: Ending;
}

type Ending =
  | { readonly how: "trailers"; readonly fields: Readonly<Record<string, string>> }
  | { readonly how: "end" | "fin" | "rst" | "silence" }
  | { readonly how: "reset"; readonly code: number }
  | { readonly how: "goaway"; readonly code: number; readonly last: number }
  | {
    readonly how: "frame";
    readonly kind: number;
    readonly flags: number;
    readonly own: boolean;
    readonly payload: Uint8Array;
  }
  | { readonly how: "bytes"; readonly bytes: Uint8Array };

const latin = text.map((one) => one.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, "").slice(0, 4000));
const percent = fc.constantFrom("%", "%zz", "%ff%fe", "%E4%B8", "100%", "%00", "a%20b", "%0d%0aset-cookie: x", "%25");
const status = fc.constantFrom(
  ..."0 1 2 3 4 5 7 8 9 12 13 14 16 17 99 -1 00 01 1e1 0x1 NaN 4294967296 9999999999999999999999".split(" "),
  "",
  " 5",
  "5, 5",
);
const binary = fc.oneof(
  bytes.map((one) => Buffer.from(one).toString("base64")),
  latin,
  fc.constantFrom("CAUSAXg", "CAA", "CGM", "=", "CAU=", "CP///////////wE"),
);
const wait = fc.constantFrom("0", "5", "-1", "x", "1.5", "99999999999", "Fri, 31 Dec 2100 23:59:59 GMT");

/** Fields of a gRPC answer, with what does not belong there. */
const fields = fc.record({
  "grpc-status": status,
  "grpc-message": fc.oneof(percent, latin),
  "grpc-status-details-bin": binary,
  "grpc-encoding": fc.constantFrom("gzip", "br", "identity", "zstd", "", "gzip,br"),
  "retry-after": wait,
  "grpc-retry-pushback-ms": wait,
  "x-odd": latin,
  "x-odd-bin": binary,
}, { requiredKeys: [] });

const kinds = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom("application/grpc", "application/grpc+proto") },
  fc.constantFrom(
    "application/grpc+json",
    "application/grpc-web",
    "application/grpcx",
    "application/json",
    "text/html",
    "",
  ),
);
const http = fc.oneof({ weight: 8, arbitrary: fc.constant(200) }, fc.integer({ min: 200, max: 599 }));
const head = fc.tuple(http, kinds, fc.oneof(fields, fc.constant({}), fc.constant({}))).map(([code, kind, rest]) => ({
  ":status": String(code),
  "content-type": kind,
  ...rest,
}));

const length = fc.oneof(fc.nat(100), fc.constantFrom(0, 2 ** 22 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1));
const chunk = fc.oneof(
  fc.constant(action("a")),
  fc.tuple(bytes, length, fc.nat(255)).map(([message, announced, flags]) => envelope(message, announced, flags)),
  fc.tuple(bytes, fc.constantFrom(0, 1)).map(([message, flags]) => envelope(message, message.length, flags)),
  bytes.map((message) => envelope(gzipSync(message), undefined, 1)),
  bytes.map((message) => envelope(brotliCompressSync(message), undefined, 1)),
  bytes,
  fc.nat(7).map((cut) => action("b").subarray(0, cut)),
);

const code = fc.oneof(fc.nat(13), fc.constantFrom(14, 255, 2 ** 31, 2 ** 32 - 1));
const garbage = fc.uint8Array({ maxLength: 40 });
const ending: fc.Arbitrary<Ending> = fc.oneof(
  { weight: 8, arbitrary: fields.map((one): Ending => ({ how: "trailers", fields: one })) },
  { weight: 2, arbitrary: fc.constant<Ending>({ how: "end" }) },
  { weight: 3, arbitrary: code.map((one): Ending => ({ how: "reset", code: one })) },
  fc.tuple(code, fc.constantFrom(0, 1, 2 ** 31 - 1)).map(([one, last]): Ending => ({ how: "goaway", code: one, last })),
  fc.tuple(fc.nat(12), fc.nat(255), fc.boolean(), garbage).map(([kind, flags, own, payload]): Ending => ({
    how: "frame",
    kind,
    flags,
    own,
    payload,
  })),
  garbage.map((one): Ending => ({ how: "bytes", bytes: one })),
  fc.constantFrom<Ending>({ how: "fin" }, { how: "rst" }, { how: "silence" }),
);

/** What a server does; without a head its trailers are all it says. */
export const plan: fc.Arbitrary<Plan> = fc.record({
  head: fc.oneof({ weight: 9, arbitrary: head }, fc.constant(undefined)),
  body: fc.array(chunk, { maxLength: 4 }),
  ending,
});

/** Whether a client has to leave by itself. */
export function isSilent({ ending: { how } }: Plan): boolean {
  return how === "silence" || how === "frame" || how === "bytes";
}

/** Whether nothing that comes after it can be understood. */
export function isPoison({ ending: { how } }: Plan): boolean {
  return how === "frame" || how === "bytes";
}

/** What a beat is answered with. */
export const honest: Plan = { head: usual, body: [beat], ending: { how: "trailers", fields: ok } };

/** Does it to one call. */
export function act(connection: FrameConnection, id: number, { body, ending, head }: Plan): void {
  if (head !== undefined) {
    headers(connection, id, head, false);
    for (const one of body) connection.data(id, one);
  }
  switch (ending.how) {
    case "trailers":
      return headers(connection, id, head === undefined ? { ...usual, ...ending.fields } : ending.fields, true);
    case "end":
      return connection.data(id, new Uint8Array(), true);
    case "fin":
      return void connection.socket.end();
    case "rst":
      return void connection.socket.resetAndDestroy();
    case "reset":
      return connection.reset(id, ending.code);
    case "goaway":
      connection.goaway(ending.last, ending.code);
      return void connection.socket.end();
    case "frame":
      return connection.frame(ending.kind, ending.flags, ending.own ? id : 0, ending.payload);
    case "bytes":
      return void connection.socket.write(ending.bytes);
    case "silence":
  }
}

/** Literals of HPACK, of any length and with any bytes. */
function headers(
  connection: FrameConnection,
  id: number,
  fields: Readonly<Record<string, string>>,
  end: boolean,
): void {
  const block = Object.entries(fields).flatMap(([name, value]) => [0, ...literal(name), ...literal(value)]);
  connection.frame(1, 4 | (end ? 1 : 0), id, Uint8Array.from(block));
}

function literal(value: string): number[] {
  const bytes = Buffer.from(value, "latin1");
  return [...length7(bytes.length), ...bytes];
}

function length7(size: number): number[] {
  if (size < 127) return [size];
  const rest: number[] = [127];
  let left = size - 127;
  for (; left >= 128; left >>= 7) rest.push(128 | (left & 127));
  return [...rest, left];
}
