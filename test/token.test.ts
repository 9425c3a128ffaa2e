import { ConfigError } from "../src/errors.ts";
import { claims, expiresAt } from "../src/token.ts";
import { assert, suite } from "./harness.ts";
import { base64url, jwt, messageOf } from "./jwt.ts";

const test = suite("token");

const refusal =
  "token (HATCHET_CLIENT_TOKEN) must be a Hatchet API token: three parts joined by dots, and this is not one";

test("reads what a token of the engine's says", () => {
  const token = jwt({
    sub: "707d0855-80ab-4e1f-a156-f1c4546cbf52",
    grpc_broadcast_address: "localhost:7077",
    server_url: "http://localhost:8888",
    iss: "http://localhost:8888",
    exp: 1_800_000_000,
  });

  const read = claims(token);

  assert.equal(read, {
    tenantId: "707d0855-80ab-4e1f-a156-f1c4546cbf52",
    hostPort: "localhost:7077",
    serverUrl: "http://localhost:8888",
    expiresAt: 1_800_000_000_000,
  });
});

test("reads characters that base64url writes in its own way, and those beyond ASCII", () => {
  const token = jwt({ sub: "\u00fb\u00ff\u{1f333}~~~???>>>" });

  const read = claims(token);

  assert.match(token, /[-_]/);
  assert.equal(read, { tenantId: "\u00fb\u00ff\u{1f333}~~~???>>>" });
});

test("reads texts of every length, whatever padding base64 would want", () => {
  for (let length = 1; length < 12; length++) {
    const tenantId = "x".repeat(length);

    const read = claims(jwt({ sub: tenantId }));

    assert.equal(read, { tenantId });
  }
});

test("leaves out what a token says in another form than it should", () => {
  const token = jwt({ sub: 7, grpc_broadcast_address: "", server_url: null, exp: "1800000000", extra: [1] });

  const read = claims(token);

  assert.equal(read, {});
});

test("tells when a token runs out in milliseconds, if it says so", () => {
  assert.is(expiresAt(jwt({ exp: 1.5 })), 1500);
  assert.is(expiresAt(jwt({})), undefined);
});

test("is not led astray by claims with the names of an object's own machinery", () => {
  const token = jwt(undefined, '{"__proto__":{"sub":"evil"},"constructor":1}');

  const read = claims(token);

  assert.equal(read, {});
});

for (
  const [what, token] of Object.entries({
    "an empty text": "",
    "one part": "hunter2hunter2",
    "two parts": jwt({}).split(".").slice(0, 2).join("."),
    "four parts": `${jwt({})}.hunter2`,
    "an empty part": "hunter2..hunter2",
    "an empty end": "hunter2.e30.",
    "a middle that is no base64url": "hunter2.h*nter2.hunter2",
    "a middle of an impossible length": "hunter2.hunte.hunter2",
    "padding": "hunter2.e30=.hunter2",
    "base64 of the other kind": `hunter2.${btoa("{}??>>").replaceAll("=", "")}+/.hunter2`,
    "a middle that is no JSON": `hunter2.${base64url("hunter2")}.hunter2`,
    "a middle that is an array": `hunter2.${base64url("[1]")}.hunter2`,
    "a middle that is null": `hunter2.${base64url("null")}.hunter2`,
    "a middle that is no UTF-8": `hunter2.${
      btoa('{"sub":"\xffhunter2"}').replaceAll("=", "").replaceAll("/", "_")
    }.hunter2`,
    "a line break inside": jwt({}).replace(".", ".\n"),
    "a line break at the end": `${jwt({})}\n`,
    "quotes around it": `"${jwt({})}"`,
    "letters beyond ASCII": `${jwt({})}\u00e9`,
  })
) {
  test(`refuses ${what}, and shows nothing of it`, () => {
    const error = thrownBy(() => claims(token));

    assert.is(error.message, refusal);
    assert.ok(error instanceof ConfigError);
    assert.is(error.option, "token");
    assert.is(error.variable, "HATCHET_CLIENT_TOKEN");
    assert.is(error.cause, undefined);
    assert.not.match(error.message, /hunter2/);
  });
}

test("says the same to whoever asks when no token runs out", () => {
  assert.is(messageOf(() => expiresAt("hunter2")), refusal);
});

function thrownBy(act: () => unknown): Error {
  try {
    act();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing thrown");
}

test.run();
