import { Environment } from "../../src/config/environment.ts";
import { ConfigError } from "../../src/errors.ts";
import { loadTls, resolveTls } from "../../src/config/tls.ts";
import type { TlsOptions } from "../../src/config/tls.ts";
import { assert, rejects, suite } from "../harness.ts";
import { messageOf } from "../jwt.ts";

const test = suite("tls");

const ca = "-----BEGIN CERTIFICATE-----\nCA\n-----END CERTIFICATE-----\n";
const cert = "-----BEGIN CERTIFICATE-----\nOURS\n-----END CERTIFICATE-----\n";
const key = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
const missing = "/nowhere/at/all.pem";
const here = new URL("./tls.test.ts", import.meta.url).pathname;

/** Variables of TLS under their short names. */
function env(values: Record<string, string> = {}): Environment {
  return new Environment(
    Object.fromEntries(Object.entries(values).map(([name, value]) => [`HATCHET_CLIENT_TLS_${name}`, value])),
  );
}

/** Options that a caller without types may pass. */
function untyped(options: unknown): TlsOptions {
  return options as TlsOptions; // So that wrong types can be tried.
}

async function load(options: TlsOptions | undefined, values: Record<string, string> = {}) {
  return await loadTls({ tls: resolveTls(options, env(values)) });
}

test("encrypts unless told otherwise, with TLS 1.3 and the runtime's own authorities", async () => {
  assert.equal(await load(undefined), {
    ca: undefined,
    cert: undefined,
    key: undefined,
    serverName: undefined,
    minVersion: "TLSv1.3",
  });
});

test("does without when told to, by an option or by a variable", () => {
  assert.is(resolveTls(false, env()), undefined);
  assert.is(resolveTls({ strategy: "none" }, env({ STRATEGY: "mtls" })), undefined);
  assert.is(resolveTls(undefined, env({ STRATEGY: "none" })), undefined);
  assert.is(resolveTls({}, env({ STRATEGY: "NONE" })), undefined);
  assert.is(resolveTls(false, env({ STRATEGY: "nonsense" })), undefined);
});

test("never falls back to plaintext because of a variable when options say how to encrypt", () => {
  for (const options of [{ ca }, { serverName: "x" }, { minVersion: "1.2" }, { caFile: "x" }] as const) {
    assert.is.not(resolveTls(options, env({ STRATEGY: "none" })), undefined);
  }
});

test("reads everything from variables", async () => {
  const values = {
    STRATEGY: "mtls",
    ROOT_CA: ca,
    CERT: cert.replaceAll("\n", "\\n"),
    KEY: key,
    SERVER_NAME: "engine.internal",
    MIN_VERSION: "1.2",
  };

  const material = await load(undefined, values);

  assert.equal(material, {
    ca: ca.trim(),
    cert,
    key: key.trim(),
    serverName: "engine.internal",
    minVersion: "TLSv1.2",
  });
});

test("takes options before variables", async () => {
  const values = { STRATEGY: "tls", ROOT_CA_FILE: missing, CERT: "x", KEY: "x", SERVER_NAME: "x", MIN_VERSION: "1.2" };

  const material = await load({ ca, cert, key, serverName: "engine", minVersion: "1.3" }, values);

  assert.equal(material, { ca, cert, key, serverName: "engine", minVersion: "TLSv1.3" });
});

test("takes contents before a path, and bytes as well as a text", async () => {
  const bytes = new TextEncoder().encode(ca);

  assert.is((await load({ ca: bytes, caFile: missing })).ca, ca);
  assert.is((await load(undefined, { ROOT_CA: ca, ROOT_CA_FILE: missing })).ca, ca.trim());
});

test("takes a certificate among the options for the wish to show it", async () => {
  assert.is((await load({ cert, key })).key, key);
});

test("shows no certificate without being told to", async () => {
  const material = await load({ strategy: "tls", cert, key }, { CERT_FILE: missing });

  assert.equal([material.cert, material.key], [undefined, undefined]);
});

test("refuses to show half of a certificate", () => {
  const problem = "is missing: mutual TLS needs our own certificate and its key";

  assert.is(messageOf(() => resolveTls({ cert }, env())), `tls.keyFile (HATCHET_CLIENT_TLS_KEY_FILE) ${problem}`);
  assert.is(messageOf(() => resolveTls({ key }, env())), `tls.certFile (HATCHET_CLIENT_TLS_CERT_FILE) ${problem}`);
  assert.is(
    messageOf(() => resolveTls(undefined, env({ STRATEGY: "mtls", KEY_FILE: "x" }))),
    `tls.certFile (HATCHET_CLIENT_TLS_CERT_FILE) ${problem}`,
  );
  assert.throws(() => resolveTls({ cert }, env()), (error: unknown) => error instanceof ConfigError);
});

for (
  const [what, options, values, message] of [
    ["a strategy", { strategy: "ssl" }, {}, 'tls.strategy must be one of tls, mtls, none, got "ssl"'],
    ["a version", { minVersion: 1.3 }, {}, "tls.minVersion must be one of 1.2, 1.3, got 1.3"],
    ["a name", { serverName: 7 }, {}, "tls.serverName must be a text that is not empty, got 7"],
    ["a blank name", { serverName: " " }, {}, 'tls.serverName must be a text that is not empty, got " "'],
    ["a path", { caFile: [] }, {}, "tls.caFile must be a text that is not empty, got an array"],
    ["a switch", true, {}, "tls must be false or an object, got true"],
    ["nothing", null, {}, "tls must be false or an object, got null"],
    [
      "a strategy in a variable",
      undefined,
      { STRATEGY: "ssl" },
      'HATCHET_CLIENT_TLS_STRATEGY must be one of tls, mtls, none, got "ssl"',
    ],
    [
      "a version in a variable",
      undefined,
      { MIN_VERSION: "1.1" },
      'HATCHET_CLIENT_TLS_MIN_VERSION must be one of 1.2, 1.3, got "1.1"',
    ],
  ] as const
) {
  test(`refuses what makes no sense as ${what}`, () => {
    const act = () => resolveTls(untyped(options), env(values));

    assert.is(messageOf(act), message);
    assert.throws(act, (error: unknown) => error instanceof ConfigError);
  });
}

test("refuses contents that are no PEM, and shows nothing of them", () => {
  const problem = "must be PEM, which has a line -----BEGIN …-----, and what is there has none";

  const messages = [
    messageOf(() => resolveTls({ cert, key: "hunter2" }, env())),
    messageOf(() => resolveTls(undefined, env({ STRATEGY: "mtls", CERT: cert, KEY: "hunter2" }))),
    messageOf(() => resolveTls({ ca: new Uint8Array([1, 2]) }, env())),
    messageOf(() => resolveTls({ ca: "" }, env())),
  ];

  assert.equal(messages, [
    `tls.key (HATCHET_CLIENT_TLS_KEY) ${problem}`,
    `tls.key (HATCHET_CLIENT_TLS_KEY) ${problem}`,
    `tls.ca (HATCHET_CLIENT_TLS_ROOT_CA) ${problem}`,
    `tls.ca (HATCHET_CLIENT_TLS_ROOT_CA) ${problem}`,
  ]);
  assert.is(
    messageOf(() => resolveTls(untyped({ cert, key: 7 }), env())),
    "tls.key (HATCHET_CLIENT_TLS_KEY) must be PEM, as a text or as bytes",
  );
});

test("reads no file before it is time", () => {
  assert.is(
    messageOf(() => resolveTls({ caFile: missing, certFile: missing, keyFile: missing }, env())),
    "nothing thrown",
  );
});

test("reads files when it is time", async () => {
  const path = new URL("../fixtures/tls/ca.crt", import.meta.url).pathname;

  const [option, variable] = [await load({ caFile: path }), await load(undefined, { ROOT_CA_FILE: ` ${path} ` })];

  assert.match(String(option.ca), /^-----BEGIN CERTIFICATE-----\n/);
  assert.is(variable.ca, option.ca);
});

for (
  const [name, options, variable] of [
    ["caFile", { caFile: missing }, "ROOT_CA_FILE"],
    ["certFile", { certFile: missing, key }, "CERT_FILE"],
    ["keyFile", { cert, keyFile: missing }, "KEY_FILE"],
  ] as const
) {
  test(`says of ${name} where it should be and what the system said`, async () => {
    const error = await rejects(load(options), ConfigError);

    assert.is(error.message, `tls.${name} (HATCHET_CLIENT_TLS_${variable}) cannot be read from "${missing}": ENOENT`);
    assert.equal([error.option, error.variable], [`tls.${name}`, `HATCHET_CLIENT_TLS_${variable}`]);
    assert.match(String(error.cause), /ENOENT/);
  });
}

test("says that a file holds no PEM, and nothing of what it holds", async () => {
  const error = await rejects(load({ caFile: here.replace("tls.test.ts", "policy.test.ts") }), ConfigError);

  const problem = "must be PEM, which has a line -----BEGIN …-----, and what is there in";
  assert.is(
    error.message,
    `tls.caFile (HATCHET_CLIENT_TLS_ROOT_CA_FILE) ${problem} "${
      here.replace("tls.test.ts", "policy.test.ts")
    }" has none`,
  );
});

test("says that a directory is no file", async () => {
  const directory = new URL(".", import.meta.url).pathname;

  const error = await rejects(load({ caFile: directory }), ConfigError);

  assert.is(error.message, `tls.caFile (HATCHET_CLIENT_TLS_ROOT_CA_FILE) cannot be read from "${directory}": EISDIR`);
});

test("has nothing to load for plaintext", async () => {
  const error = await rejects(load({ strategy: "none" }), TypeError);

  assert.is(error.message, "A plaintext connection needs no certificates");
});

test.run();
