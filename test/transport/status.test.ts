import { Code } from "@connectrpc/connect";
import type { Fields } from "../../src/transport/status.ts";
import { failureOf, refusal, resetOf, toHeaders } from "../../src/transport/status.ts";
import { assert, suite } from "../harness.ts";

const test = suite("transport status");

/** No literal fits the type: numbers are for `:status` alone, and it is one of all names. */
function fields(of: Readonly<Record<string, string | string[] | number | undefined>>): Fields {
  return of as Fields;
}

const grpc = fields({ ":status": 200, "content-type": "application/grpc" });

test("OK is no failure, nothing is one, and the peer's code is the code whatever goes with it", () => {
  const odd = { "grpc-message": "%zz", "grpc-status": "5", "grpc-status-details-bin": "!" };
  const failure = failureOf(fields({ ...odd, "x-trail": "t" }), fields({ ...grpc, "x-head": "h" }));

  assert.is(failureOf({ "grpc-status": "0" }, grpc), undefined);
  assert.is(failureOf({}, grpc)?.rawMessage, "protocol error: missing status");
  assert.equal([failure?.code, failure?.rawMessage, failure?.details], [Code.NotFound, "%zz", []]);
  assert.equal(["x-head", "x-trail", "grpc-status"].map((name) => failure?.metadata.get(name)), ["h", "t", "5"]);
});

test("details are taken from among the fields that nobody asked for", () => {
  const any = [10, 3, ...new TextEncoder().encode("a/b"), 18, 1, 7];
  const bytes = Uint8Array.from([8, 5, 18, 1, 120, 26, any.length, ...any]);
  const details = failureOf(
    { "grpc-status": "5", "grpc-status-details-bin": Buffer.from(bytes).toString("base64") },
    grpc,
  )
    ?.details;

  assert.equal(details, [{ type: "b", value: Uint8Array.of(7) }]);
});

test("headers that are gRPC's are taken, all others are refused in Connect's words", () => {
  const types = ["application/grpc", "Application/GRPC+proto", "application/grpc ; x=y"];

  for (const type of types) assert.is(refusal(fields({ ...grpc, "content-type": type })), undefined);
  assert.is(refusal(fields({ ...grpc, "content-type": "application/grpc-web" }))?.code, Code.Unknown);
  assert.is(refusal(fields({ ":status": 200 }))?.rawMessage, "unsupported content type null");
  assert.is(refusal(fields({}))?.rawMessage, "HTTP 0");
  assert.is(refusal(fields({ ":status": 502 }))?.code, Code.Unavailable);
  assert.is(refusal(fields({ ":status": 502, "grpc-status": "5" }))?.code, Code.NotFound);
  assert.is(refusal(fields({ ":status": 502, "grpc-status": "0" }))?.code, Code.Unavailable);
});

test("a reset without an error says nothing, every other one its name", () => {
  const cause = new Error("told");
  const known = resetOf(8, cause);

  assert.is(resetOf(0, cause), undefined);
  assert.equal([known?.code, known?.cause], [Code.Canceled, cause]);
  assert.is(resetOf(2 ** 31, undefined)?.rawMessage, "http/2 stream closed with error code unknown (0x80000000)");
});

test("fields become headers; those of HTTP/2, those without a value and those that fit none are left out", () => {
  const headers = toHeaders(fields({
    ":status": 200,
    "set-cookie": ["a", "b"],
    "x-none": undefined,
    "x-wrong": "a\nb",
    "x-y": "z",
  }));

  assert.equal([...headers].map(([name, value]) => `${name}=${value}`).sort(), [
    "set-cookie=a",
    "set-cookie=b",
    "x-y=z",
  ]);
});

test.run();
