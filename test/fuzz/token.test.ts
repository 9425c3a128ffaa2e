import * as fc from "fast-check";
import { resolveConfig } from "../../src/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { claims } from "../../src/token.ts";
import { assert, suite } from "../harness.ts";
import { jwt } from "../jwt.ts";
import { assertQuiet, ended, holds, token } from "./cases.ts";
import { anything, json, text } from "./wrong.ts";

const test = suite("fuzz token");

/** A real token, mangled as copying and pasting mangles. */
const mangled = fc.tuple(fc.nat(token.length), fc.nat(40), fc.oneof(text, fc.constantFrom(".", "=", "\n", "Bearer ")))
  .map(([at, length, put]) => token.slice(0, at) + put + token.slice(at + length));
const wrapped = fc.constantFrom('"', "'", "Bearer ", "\n", " ", "HATCHET_CLIENT_TOKEN=").map((one) =>
  one + token + one
);
const tokens = fc.oneof(
  mangled,
  wrapped,
  text,
  json.map((middle) => jwt(undefined, middle)),
  fc.record({
    sub: anything,
    grpc_broadcast_address: fc.oneof(anything, text),
    server_url: fc.oneof(anything, text),
    exp: fc.oneof(fc.double(), fc.integer(), fc.jsonValue()),
  }).map((odd) => {
    try {
      return jwt(odd);
    } catch {
      return jwt({ exp: "never" }); // JSON cannot carry it.
    }
  }),
);

/** Whether so much of the token can be read that a finder could go on guessing. */
function shows(message: string, secret: string): boolean {
  const longest = 12;
  for (let at = 0; at + longest <= secret.length; at++) {
    const part = secret.slice(at, at + longest);
    if (/^[\w-]+$/.test(part) && message.includes(part) && !fixed.includes(part)) return true;
  }
  return false;
}

/** Texts of ours, which a mangled token may hold by accident. */
const fixed =
  "token (HATCHET_CLIENT_TOKEN) must be a Hatchet API token: three parts joined by dots, and this is not one";

test("a token is read, or refused without a word of it", { limitMs: 20_000 }, () => {
  return holds(1200, tokens, async (one) => {
    const { error, ...rest } = await ended(() => claims(one));

    if ("value" in rest) {
      const { expiresAt, hostPort, serverUrl, tenantId } = rest.value;
      for (const told of [hostPort, serverUrl, tenantId]) assert.ok(told === undefined || typeof told === "string");
      assert.ok(expiresAt === undefined || typeof expiresAt === "number");
      return;
    }
    assert.instance(error, ConfigError);
    assertQuiet(error);
    assert.not(shows(String(error), one), "it shows the token");
  });
});

test("a configuration takes a token, or refuses it without a word of it", { limitMs: 20_000 }, () => {
  const values = fc.tuple(fc.oneof(tokens, anything), fc.boolean(), fc.boolean());
  return holds(800, values, async ([given, fromEnvironment, isFunction]) => {
    const option = isFunction ? () => given as string : given as string;
    const variables = fromEnvironment && typeof given === "string" ? { HATCHET_CLIENT_TOKEN: given } : undefined;

    const { error, ...rest } = await ended(async () => {
      const config = resolveConfig(
        { hostPort: "a:1", ...(variables === undefined && { token: option }) },
        variables ?? {},
      );
      return await config.token();
    });

    if ("value" in rest) return assert.ok(/^[\w.-]+$/.test(rest.value), "it would not fit into a header");
    assert.instance(error, ConfigError);
    assertQuiet(error);
    if (typeof given === "string") assert.not(shows(String(error), given), "it shows the token");
  });
});

test("a token function that throws anything is heard, and nothing else of it", () => {
  return holds(200, anything, async (thrown) => {
    const config = resolveConfig({
      hostPort: "a:1",
      token: () => {
        throw thrown;
      },
    }, {});

    const { error } = await ended(config.token());

    const isObject = typeof thrown === "object" && thrown !== null;
    assert.ok(isObject ? error === thrown : error instanceof Error);
  });
});

test.run();
