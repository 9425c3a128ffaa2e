import { Code, ConnectError } from "@connectrpc/connect";
import * as fc from "fast-check";
import { reconnect } from "../../src/streams/reconnect.ts";
import { heeded, pushback, retryAfter } from "../../src/streams/pushback.ts";
import { StreamError } from "../../src/streams/errors.ts";
import type { Origin } from "../../src/streams/verdict.ts";
import { judge, originOf } from "../../src/streams/verdict.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { assert, suite } from "../harness.ts";
import { ended, holds } from "./cases.ts";
import { anything, bytes, code, text } from "./wrong.ts";

const test = suite("fuzz verdict");

const latin = text.map((one) => one.replaceAll(/[^\x20-\x7e]/g, "").trim());
const header = fc.tuple(
  fc.constantFrom("grpc-status", "content-type", "retry-after", "grpc-retry-pushback-ms", "grpc-message", "x"),
  fc.oneof(
    latin,
    fc.constantFrom("application/connect+proto", "99999999999999", "-1", "Fri, 99 Foo 2026", "0", "1.5"),
    fc.date({ noInvalidDate: true, max: new Date("2100-01-01") }).map((date) => date.toUTCString()),
  ),
);
const words = fc.constantFrom(
  "missing status",
  "incomplete envelope",
  "HTTP 503",
  "http/2 stream closed with error code CANCEL (0x8)",
  "protocol error: x",
  "sentinel completed early",
);
const plain: fc.Arbitrary<unknown> = fc.oneof(
  anything,
  text.map((message) => new Error(message)),
  words.map((message) => new TypeError(message)),
  fc.tuple(text, anything).map(([message, code]) => Object.assign(new Error(message), { code })),
  fc.constantFrom("ECONNRESET", "CERT_HAS_EXPIRED", "ERR_TLS_X").map((code) => Object.assign(new Error("x"), { code })),
  anything.map((cause) => new Error("x", { cause })),
  fc.integer({ min: 1, max: 200 }).map((depth) => {
    let error = new Error("deepest");
    for (let left = depth; left > 0; left--) error = new Error("outer", { cause: error });
    return error;
  }),
  fc.constant(null).map(() => {
    const error = new Error("its own cause");
    error.cause = error;
    return error;
  }),
);
const detail = fc.record({
  type: fc.constantFrom("google.rpc.RetryInfo", "google.rpc.Status", ""),
  value: fc.oneof(
    bytes,
    fc.constantFrom(...[[10, 2, 8, 5], [10, 255, 255, 255, 255, 15], [10]].map((one) => Uint8Array.from(one))),
  ),
});
const connect = fc.record({
  message: fc.oneof(text, words),
  code: fc.oneof(code, fc.integer(), fc.constant(NaN)),
  headers: fc.array(header, { maxLength: 3 }),
  cause: fc.oneof(fc.constant(undefined), plain),
  details: fc.array(detail, { maxLength: 2 }),
}).map(({ cause, code, details, headers, message }) => {
  const error = new ConnectError(message, Code.Unknown, headers, undefined, cause);
  return Object.assign(error, { code, details });
});
const error = fc.oneof({ weight: 3, arbitrary: connect }, plain);

const origins: readonly Origin[] = ["engine", "wire", "local", "caller"];
const verdicts = ["transient", "suspect", "end", "fatal", "bug"];

test("every error has an origin and a verdict", { limitMs: 20_000 }, () => {
  const flags = fc.record({ alone: fc.boolean(), heard: fc.boolean(), sent: fc.boolean(), wasLive: fc.boolean() });
  return holds(2000, fc.tuple(error, flags), ([thrown, rest]) => {
    const origin = originOf(thrown);

    const verdict = judge({ ...rest, error: thrown, origin }, () => "end");

    assert.ok(origins.includes(origin));
    assert.ok(verdicts.includes(verdict));
  });
});

test("whatever a peer asks for, a wait is a number from 0 to a minute", { limitMs: 20_000 }, () => {
  const failures = fc.integer({ min: 1, max: 2 ** 31 });
  return holds(500, fc.tuple(error, latin, failures, fc.double({ noNaN: true })), ([thrown, asked, failed, now]) => {
    for (const askedMs of [pushback(thrown, now), retryAfter(asked, now)]) {
      if (askedMs === undefined) continue;
      const delayMs = heeded(askedMs, failed);
      assert.ok(delayMs >= 0 && delayMs <= 60_000, `${askedMs} became ${delayMs}`);
    }
  });
});

test("a stream that throws anything comes back, or ends with what was thrown", { limitMs: 20_000 }, () => {
  return holds(700, fc.array(error, { minLength: 1, maxLength: 12 }), async (errors) => {
    const clock = new VirtualClock();
    const left = [...errors];
    const open = () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => left.length > 0 ? Promise.reject(left.shift()) : Promise.resolve({ done: false, value: "back" }),
      }),
    });

    const { error: thrown, ...rest } = await ended(clock.drive(reconnect(open, { clock, random: () => 1 }).next()));

    if ("value" in rest) return assert.equal(rest.value, { done: false, value: "back" });
    const last = errors[errors.length - left.length - 1];
    const own = last instanceof ConnectError ? last.cause : last;
    const isOwn = Object.is(thrown, last) || Object.is(thrown, own) ||
      ((last ?? undefined) === undefined && thrown instanceof TypeError);
    assert.ok(isOwn || (thrown instanceof StreamError && thrown.cause === last), fc.stringify(thrown));
    assert.is(clock.asleep, 0);
  });
});

test("a status of the engine's is never taken for the caller's mistake", () => {
  const said = fc.tuple(
    fc.oneof(text, words),
    code,
    fc.oneof(plain, fc.constant(undefined)),
  );
  return holds(300, said, ([message, code, cause]) => {
    const made = new ConnectError(message, code, { "grpc-status": String(code) }, undefined, cause);

    assert.is(originOf(made), "engine", Code[code]);
  });
});

test.run();
