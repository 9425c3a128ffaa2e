import { fromBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, decodeBinaryHeader } from "@connectrpc/connect";
import { codeFromHttpStatus } from "@connectrpc/connect/protocol-grpc";
import type { IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { constants } from "node:http2";

/** Headers or trailers as node:http2 gives them. */
export type Fields = IncomingHttpHeaders & IncomingHttpStatusHeader;

/** What is wrong with the headers of a response, if they are no gRPC ones. */
export function refusal(fields: Fields): ConnectError | undefined {
  const status = fields[":status"] ?? 0;
  // A proxy that speaks gRPC's language has more to say than HTTP's: nginx answers 204 with a status of gRPC's.
  const told = status !== 200 && "grpc-status" in fields ? failureOf(fields, fields) : undefined;
  if (told !== undefined) return told;
  if (status !== 200) return new ConnectError(`HTTP ${status}`, codeFromHttpStatus(status), toHeaders(fields));
  const type = fields["content-type"];
  if (type !== undefined && /^application\/grpc(\+proto)?\s*($|;)/i.test(type)) return undefined;
  return new ConnectError(`unsupported content type ${type ?? null}`, Code.Unknown);
}

/**
 * The peer's own status as an error, or `undefined` for OK. Details and a message that do not decode as they should cost
 * themselves, never the code: it alone says what to do.
 */
export function failureOf(status: Fields, headers: Fields): ConnectError | undefined {
  const said = status["grpc-status"];
  if (said === "0") return undefined;
  if (said === undefined) return unspoken();
  const metadata = toHeaders(status);
  if (status !== headers) { for (const [name, value] of toHeaders(headers)) metadata.append(name, value); }
  const code = codes.get(String(said));
  if (code === undefined) return new ConnectError(`invalid grpc-status: ${String(said)}`, Code.Internal, metadata);
  const error = new ConnectError(decoded(String(status["grpc-message"] ?? "")), code, metadata);
  error.details = detailsIn(status["grpc-status-details-bin"]);
  return error;
}

/** A peer that ended without a word on how. */
export function unspoken(): ConnectError {
  return new ConnectError("protocol error: missing status", Code.Internal);
}

/** By the number that a status has on the wire. */
const codes: ReadonlyMap<string, Code> = new Map(
  Object.values(Code).filter((code) => typeof code === "number").map((code) => [String(code), code]),
);

/** What a reset without a status means, as gRPC maps it; `undefined` for a reset that says nothing. */
export function resetOf(code: number, cause: unknown): ConnectError | undefined {
  if (code === constants.NGHTTP2_NO_ERROR) return undefined;
  const name = resetNames[code] ?? "unknown";
  const text = `http/2 stream closed with error code ${name} (0x${code.toString(16)})`;
  return new ConnectError(text, resetCodes[name] ?? Code.Internal, undefined, undefined, cause);
}

const resetNames: readonly string[] = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];

/** Every other one is Internal. */
const resetCodes: Readonly<Record<string, Code>> = {
  REFUSED_STREAM: Code.Unavailable,
  CANCEL: Code.Canceled,
  ENHANCE_YOUR_CALM: Code.ResourceExhausted,
  INADEQUATE_SECURITY: Code.PermissionDenied,
  HTTP_1_1_REQUIRED: Code.PermissionDenied,
};

/** For whoever reads them; a field that no `Headers` would take is left out. */
export function toHeaders(fields: Fields, into: Headers = new Headers()): Headers {
  for (const [name, value] of Object.entries(fields)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const one of [value].flat()) {
      try {
        into.append(name, one);
      } catch {
        // A peer may send what no `Headers` holds; the call has nothing to do with it.
      }
    }
  }
  return into;
}

/** gRPC percent-encodes; what is not encoded as it should be is read as it stands. */
function decoded(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

/** google.rpc.Status in the trailer: its third field are the details, the others say what the trailers say. */
function detailsIn(field: string | readonly string[] | undefined): ConnectError["details"] {
  const details: ConnectError["details"] = [];
  if (typeof field !== "string") return details;
  try {
    const reader = new BinaryReader(decodeBinaryHeader(field));
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      if (number !== 3) {
        reader.skip(wireType, number);
        continue;
      }
      const { typeUrl, value } = fromBinary(AnySchema, reader.bytes());
      details.push({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value });
    }
  } catch {
    // Details are for whoever wants to know more; what cannot be read is not there.
  }
  return details;
}
