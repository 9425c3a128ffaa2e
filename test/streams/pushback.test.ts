import { toBinary } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { pushback, retryAfter } from "../../src/streams/pushback.ts";
import { assert, suite } from "../harness.ts";

const test = suite("pushback");

const nowMs = Date.UTC(2026, 9, 1);

function asks(metadata: Record<string, string>): ConnectError {
  return new ConnectError("busy", Code.Unavailable, metadata);
}

/** A detail as it comes off the wire. */
function detail(type: string, value: Uint8Array): ConnectError {
  const error = new ConnectError("busy", Code.Unavailable);
  error.details.push({ type, value });
  return error;
}

/** google.rpc.RetryInfo, which holds a duration in its field 1. */
function retryInfo(seconds: bigint, nanos = 0): Uint8Array {
  const delay = toBinary(DurationSchema, { $typeName: "google.protobuf.Duration", seconds, nanos });
  return new Uint8Array([0x0a, delay.length, ...delay]);
}

test("gRPC's pushback is in milliseconds", () => {
  assert.is(pushback(asks({ "grpc-retry-pushback-ms": "1500" }), nowMs), 1500);
  assert.is(pushback(asks({ "grpc-retry-pushback-ms": "0" }), nowMs), 0);
});

test("a pushback that is no number of milliseconds is no advice", () => {
  for (const text of ["-1", "1.5", "soon", "", "1e3", "1234567890123"]) {
    assert.is(pushback(asks({ "grpc-retry-pushback-ms": text }), nowMs), undefined, text);
  }
});

test("a retry-after counts seconds, or names a date", () => {
  assert.is(pushback(asks({ "retry-after": "2" }), nowMs), 2000);
  assert.is(pushback(asks({ "retry-after": "Thu, 01 Oct 2026 00:00:02 GMT" }), nowMs), 2000);
  assert.is(pushback(asks({ "retry-after": "Thu, 01 Oct 2026 00:00:00 GMT" }), nowMs + 5000), 0);
});

test("a retry-after that makes no sense is no advice", () => {
  for (const text of ["-1", "1.5", "garbage", "2026-10-01", "soon enough", "", "12345678901"]) {
    assert.is(retryAfter(text, nowMs), undefined, text);
  }
  assert.is(retryAfter(null, nowMs), undefined);
});

test("RetryInfo among the details is read", () => {
  assert.is(pushback(detail("google.rpc.RetryInfo", retryInfo(2n, 500_000_000)), nowMs), 2500);
  assert.is(pushback(detail("google.rpc.RetryInfo", retryInfo(0n)), nowMs), 0);
});

test("a detail that is no RetryInfo, or does not decode, or asks for less than nothing, is no advice", () => {
  const bad = [
    detail("google.rpc.ErrorInfo", retryInfo(2n)),
    detail("google.rpc.RetryInfo", new Uint8Array()),
    detail("google.rpc.RetryInfo", new Uint8Array([0x0a, 0x7f])),
    detail("google.rpc.RetryInfo", new Uint8Array([0xff, 0xff, 0xff])),
    detail("google.rpc.RetryInfo", new Uint8Array([0x12, 0x00])),
    detail("google.rpc.RetryInfo", retryInfo(-2n)),
  ];

  assert.equal(bad.map((error) => pushback(error, nowMs)), bad.map(() => undefined));
});

test("a detail that does not decode does not hide one that does", () => {
  const error = detail("google.rpc.RetryInfo", new Uint8Array([0x0a, 0x7f]));
  error.details.push({ type: "google.rpc.RetryInfo", value: retryInfo(3n) });

  assert.is(pushback(error, nowMs), 3000);
});

test("gRPC's pushback goes before a retry-after, and that before RetryInfo", () => {
  const error = asks({ "grpc-retry-pushback-ms": "1", "retry-after": "2" });
  const other = asks({ "retry-after": "2" });
  for (const one of [error, other]) one.details.push({ type: "google.rpc.RetryInfo", value: retryInfo(3n) });

  assert.equal([pushback(error, nowMs), pushback(other, nowMs)], [1, 2000]);
});

test("what is no ConnectError asks for nothing", () => {
  const alike = Object.assign(new Error("busy"), { metadata: new Headers({ "retry-after": "2" }) });

  assert.equal([alike, undefined, "busy"].map((error) => pushback(error, nowMs)), [undefined, undefined, undefined]);
});

test.run();
