import { assert, rejects, suite } from "../harness.ts";
import type { TransportOptions } from "../../src/transport/mod.ts";
import { createTransport, StreamError } from "../../src/transport/mod.ts";
import { Echo } from "../fixtures/echo/gen/echo_pb.ts";

const test = suite("createTransport");

test("refuses what makes no sense, at once", () => {
  const wrong: [TransportOptions, typeof TypeError | typeof RangeError, RegExp][] = [
    [{ baseUrl: "ftp://host" }, TypeError, /baseUrl must begin with http:\/\/ or https:\/\/, got ftp:\/\/host/],
    [{ baseUrl: "http://host", tls: {} }, TypeError, /tls makes no sense with http:\/\/host/],
    [{ baseUrl: "host" }, TypeError, /URL/i],
    [{ baseUrl: "http://host", pingIntervalMs: 0 }, RangeError, /pingIntervalMs/],
  ];

  for (const [options, type, text] of wrong) {
    assert.throws(
      () => createTransport(options),
      (error: unknown) => error instanceof type && text.test(error.message),
    );
  }
});

test("opens nothing by itself, and is closed for good, by either name", async () => {
  const [one, two] = [
    createTransport({ baseUrl: "https://[::1]:1/path/" }),
    createTransport({ baseUrl: new URL("http://a") }),
  ];
  const before = one.connection;

  await one.close();
  await two[Symbol.asyncDispose]();

  assert.is(before, undefined);
  for (const transport of [one, two]) {
    const errors = [
      await rejects(transport.unary(Echo.method.unary, undefined, undefined, undefined, {})),
      await rejects(transport.stream(Echo.method.both, undefined, undefined, undefined, (async function* () {})())),
      await rejects(transport.ready(new AbortController().signal, 100)),
    ];
    for (const error of errors) assert.ok(error instanceof StreamError && error.code === "closed");
  }
});

test.run();
