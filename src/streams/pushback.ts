import { fromBinary } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";

/** The longest that a peer's word keeps a stream away, in milliseconds. */
const longestMs = 60_000;

/**
 * How long a stream heeds what the peer asked for, in milliseconds: to the letter after a first failure, then never less
 * than a floor that grows to 4 s, or a peer that always says "at once" would be asked without end.
 */
export function heeded(askedMs: number, failures: number): number {
  return Math.min(longestMs, Math.max(askedMs, Math.min(4000, 250 * (2 ** (failures - 1) - 1))));
}

/**
 * How long the peer asks us to stay away, in milliseconds: gRPC's `grpc-retry-pushback-ms`, HTTP's `retry-after`, or
 * google.rpc.RetryInfo among the error's details; `undefined` when it says nothing that makes sense.
 */
export function pushback(error: unknown, nowMs: number): number | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const { metadata } = error;
  const asked = metadata.get("grpc-retry-pushback-ms");
  if (asked !== null && /^\d{1,12}$/.test(asked)) return Number(asked);
  return retryAfter(metadata.get("retry-after"), nowMs) ?? retryInfo(error);
}

/** A `retry-after` header in milliseconds: whole seconds or an HTTP date, a past one being 0. */
export function retryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  if (!/^[A-Za-z]{3,9},? /.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/** google.rpc.RetryInfo holds one field, the delay. */
function retryInfo(error: ConnectError): number | undefined {
  for (const detail of error.details) {
    if (!("type" in detail) || detail.type !== "google.rpc.RetryInfo") continue;
    try {
      const reader = new BinaryReader(detail.value);
      if (reader.len === 0 || reader.uint32() !== 0x0a) continue;
      const { seconds, nanos } = fromBinary(DurationSchema, reader.bytes());
      const delayMs = Number(seconds) * 1000 + nanos / 1e6;
      if (delayMs >= 0) return delayMs;
    } catch {
      // A detail that does not decode is no advice.
    }
  }
  return undefined;
}
