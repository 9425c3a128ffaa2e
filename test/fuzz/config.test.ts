import * as fc from "fast-check";
import { channelOf } from "../../src/channel.ts";
import type { ClientOptions } from "../../src/config.ts";
import { loadTls, resolveConfig } from "../../src/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { assert, suite } from "../harness.ts";
import { assertQuiet, ended, holds, hush, token } from "./cases.ts";
import { anything, json, text } from "./wrong.ts";

const test = suite("fuzz config");

const number = fc.oneof(anything, fc.double(), fc.integer());
const pem = fc.oneof(anything, text, fc.constant(hush), fc.constant(`-----BEGIN PRIVATE KEY-----\n${hush}`));
const address = fc.oneof(
  text,
  anything,
  fc.constantFrom(
    "a:b",
    "a:0",
    "a:65536",
    "::1:7070",
    "[::1]",
    "[::g]:1",
    "http://a:1",
    "a:1/",
    "u:p@a:1",
    ":1",
    "a:",
    " ",
  ),
  fc.tuple(text, fc.integer()).map(([host, port]) => `${host}:${port}`),
);
const url = fc.oneof(anything, text, fc.webUrl(), fc.constantFrom("ftp://a", "http://", "//a", "javascript:1"));

/** Every option but those that are code of the caller's: what is wrong with these shows when they are called. */
const options = fc.record({
  token: fc.oneof({ weight: 6, arbitrary: fc.constant(token) }, anything),
  hostPort: address,
  serverUrl: url,
  tenantId: fc.oneof(anything, text),
  namespace: fc.oneof(anything, text),
  tls: fc.oneof(
    anything,
    fc.record({
      strategy: fc.oneof(anything, fc.constantFrom("tls", "mtls", "none")),
      ca: pem,
      cert: pem,
      key: pem,
      caFile: fc.oneof(anything, text),
      certFile: fc.oneof(anything, text),
      keyFile: fc.oneof(anything, text),
      serverName: fc.oneof(anything, text),
      minVersion: fc.oneof(anything, fc.constantFrom("1.2", "1.3")),
    }, { requiredKeys: [] }),
  ),
  logger: fc.oneof(fc.constant(false), anything),
  keepAlive: fc.oneof(anything, fc.record({ intervalMs: number, timeoutMs: number }, { requiredKeys: [] })),
  retry: fc.oneof(
    anything,
    fc.dictionary(
      fc.constantFrom(
        "firstDelayMs",
        "capMs",
        "slowCapMs",
        "connectTimeoutMs",
        "baseMs",
        "setupAttempts",
        "callAttempts",
      ),
      number,
    ),
  ),
}, { requiredKeys: [] });

const variable = fc.oneof(
  text,
  json,
  fc.constantFrom("true", "yes", "0", "-1", "1.5", "9".repeat(30), "none", "TLS", "debug", "0x1", "/", "host:7070"),
);
const names = [
  "HOST_PORT",
  "SERVER_URL",
  "API_URL",
  "TENANT_ID",
  "NAMESPACE",
  "LOG_LEVEL",
  "NO_GRPC_RETRY",
  "NO_RETRY",
  "GRPC_MAX_RECV_MESSAGE_LENGTH",
  "GRPC_MAX_SEND_MESSAGE_LENGTH",
  "TLS_STRATEGY",
  "TLS_MIN_VERSION",
  "TLS_SERVER_NAME",
  "TLS_ROOT_CA",
  "TLS_ROOT_CA_FILE",
  "TLS_CERT",
  "TLS_CERT_FILE",
  "TLS_KEY",
  "TLS_KEY_FILE",
  "WORKER_PRESET_LABELS",
  "AUTOSCALING_TARGET",
] as const;
const variables = fc.dictionary(fc.constantFrom(...names), variable, { maxKeys: 4 }).map((values) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`HATCHET_CLIENT_${name}`, value]))
);

/** The setting at fault must be named, and its value bounded and never a secret. */
function assertClear(error: unknown): void {
  const isClear = error instanceof ConfigError || error instanceof RangeError || error instanceof TypeError;
  assert.ok(isClear, `threw ${fc.stringify(error)}`);
  const { message } = error as Error;
  assert.match(
    message,
    /^(HATCHET_CLIENT_|(token|hostPort|serverUrl|tenantId|namespace|tls|logger|keepAlive|retry)\b)/,
  );
  assert.ok(message.length < 600, `${message.length} characters`);
  assert.not.match(message, /[\r\n]/);
  assertQuiet(error);
}

/** Makes of a configuration what a client makes of it. */
async function use(given: unknown, values: Record<string, string>): Promise<unknown> {
  const config = resolveConfig(given as ClientOptions, values); // Wrong on purpose.
  assert.ok(config.maxReceiveBytes > 0 && config.maxSendBytes > 0);
  for (const value of Object.values(config.retry)) assert.ok(value > 0);
  assert.match(config.namespace, /^[a-z0-9_.-]*$/);
  const channel = channelOf(config, () => Promise.resolve(""));
  await channel.close();
  const { host, port } = await config.address();
  assert.ok(host !== "" && port > 0 && port < 65_536);
  return config.tls && await loadTls(config);
}

test("options of every kind make a configuration, or an error that names one", { limitMs: 20_000 }, () => {
  return holds(1000, options, async (given) => {
    const { error } = await ended(() => use({ token, ...given }, {}));

    if (error !== undefined) assertClear(error);
  });
});

test("variables of every kind make a configuration, or an error that names one", { limitMs: 20_000 }, () => {
  return holds(800, variables, async (values) => {
    const { error } = await ended(() => use({}, { HATCHET_CLIENT_TOKEN: token, ...values }));

    if (error === undefined) return;
    assertClear(error);
    assert.match((error as Error).message, /HATCHET_CLIENT_/);
  });
});

test("options of every kind win over variables of every kind", { limitMs: 20_000 }, () => {
  return holds(200, fc.tuple(options, variables), async ([given, values]) => {
    const { error } = await ended(() => use({ token, ...given }, values));

    if (error !== undefined) assertClear(error);
  });
});

test.run();
