import { Code } from "@connectrpc/connect";
import { isCaller, isUnsent } from "../../src/streams/errors.ts";
import { originOf } from "../../src/streams/verdict.ts";
import { callers, DialError, unreachable } from "../../src/transport/failure.ts";
import { assert, suite } from "../harness.ts";

const test = suite("failure");

test("a dial that failed is the wire's, whatever it failed with, and nothing was sent", () => {
  for (const cause of [new DialError("ETIMEDOUT", "too late"), "too late"]) {
    const error = unreachable(cause);

    assert.equal([error.code, error.rawMessage, originOf(error)], [Code.Unavailable, "too late", "wire"]);
    assert.is(error.cause, cause);
    assert.is(isUnsent(error), true);
  }
});

test("what the caller's own function throws is the caller's as it is, and nothing was sent", () => {
  for (const thrown of [new TypeError("no address"), { no: "address" }]) {
    const error = callers(thrown);

    assert.is(error, thrown);
    assert.equal([isCaller(error), isUnsent(error)], [true, true]);
  }
});

test("what is no object and cannot be marked is thrown in an Error that says so", () => {
  for (const thrown of ["no address", 5, null, undefined, () => 5]) {
    const error = callers(thrown);

    assert.is(
      error instanceof Error && error.message,
      `Not an Error was thrown: ${typeof thrown === "string" ? thrown : typeof thrown}`,
    );
    assert.equal([isCaller(error), isUnsent(error)], [true, true]);
  }
});

test.run();
