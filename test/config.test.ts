import type { Config } from "../src/config.ts";
import { resolveConfig } from "../src/config.ts";
import type { Variables } from "../src/config/environment.ts";
import { ConfigError } from "../src/errors.ts";
import { isCaller, isUnsent } from "../src/streams/errors.ts";
import { systemClock } from "../src/streams/clock.ts";
import { VirtualClock } from "../src/testing/clock.ts";
import { assert, rejects, suite } from "./harness.ts";
import { jwt, messageOf } from "./jwt.ts";
import { watched } from "./watched.ts";

const test = suite("config");

const tenantId = "707d0855-80ab-4e1f-a156-f1c4546cbf52";
const otherTenant = "aaaaaaaa-0000-4000-8000-000000000001";
const token = jwt({ sub: tenantId, grpc_broadcast_address: "engine:7070", server_url: "https://hatchet.example" });
const bare = jwt({});

/** Variables under their short names. */
function env(values: Record<string, string>): Variables {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`HATCHET_CLIENT_${name}`, value]));
}

/** Options that a caller without types may pass. */
function resolve(options: Record<string, unknown>, values: Record<string, string> = {}): Config {
  return resolveConfig({ token, ...options }, env(values));
}

test("needs nothing but a token", async () => {
  const config = resolveConfig({}, env({ TOKEN: token }));

  assert.is(await config.token(), token);
  assert.equal(await config.address(), { host: "engine", port: 7070 });
  assert.is(config.serverUrl, "https://hatchet.example");
  assert.is(config.tenantId, tenantId);
  assert.is(config.namespace, "");
  assert.equal(config.tls, {
    ca: undefined,
    cert: undefined,
    key: undefined,
    serverName: undefined,
    minVersion: "TLSv1.3",
  });
  assert.equal(config.keepAlive, { intervalMs: 10_000, timeoutMs: 5000 });
  assert.equal(config.retry, {
    firstDelayMs: 2000,
    capMs: 10_000,
    slowCapMs: 60_000,
    connectTimeoutMs: 5000,
    baseMs: 1000,
    setupAttempts: 5,
    callAttempts: 5,
    restAttempts: 5,
    maxSuspects: 10,
  });
  assert.is(config.maxReceiveBytes, 4_194_304);
  assert.is(config.maxSendBytes, 4_194_304);
  assert.is(config.logLevel, "info");
  assert.equal(config.presetLabels, {});
  assert.is(config.clock, systemClock);
  assert.is(config.random, Math.random);
  assert.is(config.signal, undefined);
  assert.is(config.transport, undefined);
  assert.equal(config.interceptors, []);
});

test("takes an option before a variable, and a variable before what the token says", async () => {
  const values = env({
    TOKEN: bare,
    HOST_PORT: "variable:1",
    SERVER_URL: "http://variable",
    TENANT_ID: otherTenant,
    NAMESPACE: "variable",
  });
  const options = {
    token,
    hostPort: "option:2",
    serverUrl: "http://option",
    tenantId: tenantId.toUpperCase(),
    namespace: "option",
  };

  const fromEnv = resolveConfig({ token }, values);
  const fromOptions = resolveConfig(options, values);

  assert.is(await fromEnv.token(), token);
  assert.equal(await fromEnv.address(), { host: "variable", port: 1 });
  assert.is(fromEnv.serverUrl, "http://variable");
  assert.is(fromEnv.tenantId, otherTenant);
  assert.is(fromEnv.namespace, "variable_");
  assert.equal(await fromOptions.address(), { host: "option", port: 2 });
  assert.is(fromOptions.serverUrl, "http://option");
  assert.is(fromOptions.tenantId, tenantId);
  assert.is(fromOptions.namespace, "option_");
});

test("takes undefined for a key that is not there, and an empty variable for one that is not set", async () => {
  const keys = ["hostPort", "serverUrl", "tenantId", "namespace", "tls", "logger", "keepAlive", "retry", "signal"];
  const options = Object.fromEntries(keys.map((key) => [key, undefined]));
  const names = ["HOST_PORT", "SERVER_URL", "TENANT_ID", "NAMESPACE", "TLS_STRATEGY", "LOG_LEVEL", "NO_RETRY"];
  const values = Object.fromEntries(names.map((name) => [name, "  "]));

  const config = resolve(options, values);

  assert.equal(await config.address(), { host: "engine", port: 7070 });
  assert.is(config.tenantId, tenantId);
  assert.is(config.namespace, "");
  assert.is(config.logLevel, "info");
  assert.is(config.retry.restAttempts, 5);
});

test("takes the blanks off a token, as a file or a shell leaves them on", async () => {
  assert.is(await resolveConfig({}, env({ TOKEN: ` ${token}\n` })).token(), token);
  assert.is(await resolveConfig({ token: `${token}\r\n` }, {}).token(), token);
});

for (
  const [what, option, variable] of [
    ["no token", undefined, undefined],
    ["an empty option", "", undefined],
    ["an empty variable", undefined, " "],
  ] as const
) {
  test(`refuses ${what}`, () => {
    const values: Variables = variable === undefined ? {} : { HATCHET_CLIENT_TOKEN: variable };

    const message = messageOf(() => resolveConfig({ token: option }, values));

    assert.is(message, "token (HATCHET_CLIENT_TOKEN) is missing: pass the option, or set the variable");
  });
}

test("refuses a token that is none, at once, and shows nothing of it", () => {
  const rule = "must be a Hatchet API token: three parts joined by dots, and this is not one";

  assert.is(messageOf(() => resolve({ token: "secret" })), `token (HATCHET_CLIENT_TOKEN) ${rule}`);
  assert.is(messageOf(() => resolve({ token: 7 })), "token (HATCHET_CLIENT_TOKEN) must be a text, got number");
  assert.is(
    messageOf(() => resolve({ token: null }, {})),
    "token (HATCHET_CLIENT_TOKEN) is missing: pass the option, or set the variable",
  );
  assert.is(messageOf(() => resolveConfig({}, env({ TOKEN: "secret" }))), `token (HATCHET_CLIENT_TOKEN) ${rule}`);
});

for (
  const [exp, now, since] of [
    [100, 100_000, "0 seconds"],
    [100, 190_000, "90 seconds"],
    [0, 150_000, "2 minutes"],
    [0, 3 * 3_600_000, "3 hours"],
    [0, 40 * 86_400_000 - 1, "39 days"],
    [-8.64e18, 0, "100000000000000 days"],
  ] as const
) {
  test(`says at once that a token has run out ${since} ago`, () => {
    const clock = new VirtualClock(now);
    const spent = jwt({ exp, grpc_broadcast_address: "engine:7070" });

    const message = messageOf(() => resolveConfig({ token: spent, clock }, {}));

    assert.is(message, `token (HATCHET_CLIENT_TOKEN) has run out ${since} ago: the engine would refuse it`);
  });
}

test("takes a token that runs out in a moment", async () => {
  const clock = new VirtualClock(99_999);
  const late = jwt({ exp: 100, grpc_broadcast_address: "engine:7070" });

  const config = resolveConfig({ token: late, clock }, {});

  assert.is(await config.token(), late);
});

test("asks a function for the token each time, and takes what a promise brings", async () => {
  const tokens = [token, `${bare}\n`];
  const config = resolveConfig({ token: async () => tokens.shift() ?? "", hostPort: "h:1" }, {});

  assert.equal([await config.token(), await config.token()], [token, bare]);
  assert.is(config.tenantId, undefined);
  assert.is(config.serverUrl, undefined);
});

test("finds the address in the token of the moment when a function tells it", async () => {
  const addresses = ["a:1", "b:2"];
  const config = resolveConfig({ token: () => jwt({ grpc_broadcast_address: addresses.shift() }) }, {});

  assert.equal(await config.address(), { host: "a", port: 1 });
  assert.equal(await config.address(), { host: "b", port: 2 });
  const error = await rejects(config.address(), ConfigError);
  assert.is(
    error.message,
    "hostPort (HATCHET_CLIENT_HOST_PORT) is missing, and the token names no address: pass the option, or set the variable",
  );
  assert.ok(isCaller(error));
});

test("asks a function for the address each time", async () => {
  const addresses = ["a:1", "b:2", "c"];
  const config = resolve({ hostPort: () => addresses.shift() }, { HOST_PORT: "variable:1" });

  assert.equal(await config.address(), { host: "a", port: 1 });
  assert.equal(await config.address(), { host: "b", port: 2 });
  const error = await rejects(config.address(), ConfigError);
  assert.is(
    error.message,
    'hostPort (HATCHET_CLIENT_HOST_PORT) must be host:port, got "c": the port is missing, 7070 by default',
  );
  assert.ok(isCaller(error));
});

test("marks what a function of the caller's throws as theirs, and passes it on as it is", async () => {
  const thrown = new Error("vault is sealed");
  const fail = () => {
    throw thrown;
  };
  const config = resolve({ token: fail, hostPort: () => Promise.reject(thrown) });

  for (const ask of [config.token, config.address]) {
    const caught = await rejects(ask());
    assert.is(caught, thrown);
    assert.ok(isCaller(caught));
    assert.ok(isUnsent(caught));
  }
});

test("makes an Error of what is none, and of an answer that is no token one that shows nothing of it", async () => {
  const thrower = resolve({
    token: () => {
      throw "sealed"; // oxlint-disable-line typescript/only-throw-error -- what a caller may do
    },
  });
  const liar = resolve({ token: () => 7 });
  const secret = resolve({ token: () => "secret" });

  const thrown = await rejects(thrower.token());
  const wrongType = await rejects(liar.token(), ConfigError);
  const noToken = await rejects(secret.token(), ConfigError);

  assert.is(thrown.message, "Not an Error was thrown: sealed");
  assert.is(wrongType.message, "token (HATCHET_CLIENT_TOKEN) must be a text, got number");
  assert.not.match(noToken.message, /secret/);
  for (const error of [thrown, wrongType, noToken]) assert.ok(isCaller(error));
});

test("waits for no function once the signal has aborted, and leaves nothing on it", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  let asked = 0;
  const config = resolve({ token: () => (asked++, new Promise(() => {})) });

  const waiting = config.token(controller.signal);
  controller.abort(reason);

  assert.is(await rejects(waiting), reason);
  assert.is(await rejects(config.token(controller.signal)), reason);
  assert.is(asked, 1);
});

test("leaves nothing on a signal once a function has answered or failed", async () => {
  const { listening, signal } = watched();
  const config = resolve({ token: () => token, hostPort: () => "" });

  await config.token(signal);
  await rejects(config.address(signal));
  await Promise.resolve();

  assert.is(listening(), 0);
});

test("refuses at once to go without an address, unless a function may still tell one", () => {
  const message = messageOf(() => resolve({ token: bare }));

  assert.is(
    message,
    "hostPort (HATCHET_CLIENT_HOST_PORT) is missing, and the token names no address: pass the option, or set the variable",
  );
  assert.is(messageOf(() => resolve({ token: () => bare })), "nothing thrown");
  assert.is(messageOf(() => resolve({ token: bare, hostPort: () => "h:1" })), "nothing thrown");
});

test("needs no address when the caller brings a transport", async () => {
  const config = resolve({ token: bare, transport: { unary: () => {}, stream: () => {} } });

  const error = await rejects(config.address(), ConfigError);

  assert.match(error.message, /^hostPort \(HATCHET_CLIENT_HOST_PORT\) is missing/);
});

test("refuses a bad address at once, wherever it comes from", () => {
  const message = (value: string, why: string) =>
    `hostPort (HATCHET_CLIENT_HOST_PORT) must be host:port, got "${value}": ${why}`;
  const scheme = "it has a scheme in front, which does not belong there";

  assert.is(messageOf(() => resolve({ hostPort: "http://h:1" })), message("http://h:1", scheme));
  assert.is(messageOf(() => resolve({}, { HOST_PORT: "h:0" })), message("h:0", "a port is from 1 to 65535"));
  assert.is(
    messageOf(() => resolve({ token: jwt({ grpc_broadcast_address: "h:" }) })),
    message("h:", "the port is missing, 7070 by default"),
  );
});

for (
  const [given, url] of [
    ["http://localhost:8888", "http://localhost:8888"],
    ["https://hatchet.example/", "https://hatchet.example"],
    ["https://hatchet.example/base//", "https://hatchet.example/base"],
  ] as const
) {
  test(`reads the server's URL ${given}`, () => {
    assert.is(resolve({ serverUrl: given }).serverUrl, url);
    assert.is(resolve({}, { SERVER_URL: given, API_URL: "http://not-this" }).serverUrl, url);
    assert.is(resolve({}, { API_URL: given }).serverUrl, url);
  });
}

for (const bad of ["localhost:8888", "ftp://x", "hatchet.example", "http://", 7]) {
  test(`refuses ${bad} as the server's URL`, () => {
    const message = messageOf(() => resolve({ serverUrl: bad }));

    const shown = JSON.stringify(bad);
    assert.is(message, `serverUrl (HATCHET_CLIENT_SERVER_URL) must be a URL with http or https, got ${shown}`);
  });
}

test("refuses a tenant that is no UUID", () => {
  const rule = "tenantId (HATCHET_CLIENT_TENANT_ID) must be a UUID, got";

  assert.is(messageOf(() => resolve({ tenantId: "acme" })), `${rule} "acme"`);
  assert.is(messageOf(() => resolve({}, { TENANT_ID: "acme" })), `${rule} "acme"`);
  assert.throws(() => resolve({ tenantId: "acme" }), (error: unknown) => error instanceof ConfigError);
});

for (
  const [given, namespace] of [["", ""], ["Prod", "prod_"], ["PROD_", "prod_"], ["a.b-c", "a.b-c_"], [
    "_",
    "_",
  ]] as const
) {
  test(`reads the namespace "${given}" as "${namespace}"`, () => {
    assert.is(resolve({ namespace: given }).namespace, namespace);
    assert.is(resolve({}, { NAMESPACE: given }).namespace, namespace);
  });
}

test("refuses a namespace that no name could begin with", () => {
  const rule = 'namespace (HATCHET_CLIENT_NAMESPACE) must be made of letters, digits, ".", "-" and "_", got';

  assert.is(messageOf(() => resolve({ namespace: "my space" })), `${rule} "my space"`);
  assert.is(messageOf(() => resolve({ namespace: 7 })), `${rule} 7`);
  assert.is(messageOf(() => resolve({}, { NAMESPACE: "a:b" })), `${rule} "a:b"`);
});

test("reads the limits of messages, and refuses what is no limit", () => {
  const config = resolve({}, { GRPC_MAX_RECV_MESSAGE_LENGTH: "1000", GRPC_MAX_SEND_MESSAGE_LENGTH: " 2000 " });

  assert.equal([config.maxReceiveBytes, config.maxSendBytes], [1000, 2000]);
  for (const bad of ["0", "-1", "4MB", "1.5", "1e3", "99999999999999999999"]) {
    assert.is(
      messageOf(() => resolve({}, { GRPC_MAX_RECV_MESSAGE_LENGTH: bad })),
      `HATCHET_CLIENT_GRPC_MAX_RECV_MESSAGE_LENGTH must be a whole number above 0, got "${bad}"`,
    );
    assert.is(
      messageOf(() => resolve({}, { GRPC_MAX_SEND_MESSAGE_LENGTH: bad })),
      `HATCHET_CLIENT_GRPC_MAX_SEND_MESSAGE_LENGTH must be a whole number above 0, got "${bad}"`,
    );
  }
});

test("reads in either case whether calls and reads are tried again", () => {
  for (const yes of ["true", "TRUE", "1", "t"]) {
    assert.is(resolve({}, { NO_GRPC_RETRY: yes }).retry.callAttempts, 1);
    assert.is(resolve({}, { NO_RETRY: yes }).retry.restAttempts, 1);
  }
  for (const no of ["false", "False", "0", "f"]) {
    assert.is(resolve({}, { NO_GRPC_RETRY: no }).retry.callAttempts, 5);
    assert.is(resolve({}, { NO_RETRY: no }).retry.restAttempts, 5);
  }
  assert.is(
    messageOf(() => resolve({}, { NO_RETRY: "yes" })),
    'HATCHET_CLIENT_NO_RETRY must be true or false, got "yes"',
  );
  assert.is(
    messageOf(() => resolve({}, { NO_GRPC_RETRY: "2" })),
    'HATCHET_CLIENT_NO_GRPC_RETRY must be true or false, got "2"',
  );
});

test("reads the level of the log in either case, and refuses another", () => {
  assert.is(resolve({}, { LOG_LEVEL: "DEBUG" }).logLevel, "debug");
  assert.is(resolve({}, { LOG_LEVEL: "off" }).logLevel, "off");
  assert.is(
    messageOf(() => resolve({}, { LOG_LEVEL: "loud" })),
    'HATCHET_CLIENT_LOG_LEVEL must be one of debug, info, warn, error, off, got "loud"',
  );
});

test("reads labels for every worker", () => {
  const config = resolve({}, { WORKER_PRESET_LABELS: '{"model":"xl","memory":64}', AUTOSCALING_TARGET: "gpu" });

  assert.equal(config.presetLabels, { model: "xl", memory: 64, "hatchet-autoscaling-target": "gpu" });
});

for (const bad of ["gpu", "[]", "null", '{"a":null}', '{"a":1.5}', '{"a":2147483648}', '{"a":{}}', '{"a":true}', "7"]) {
  test(`refuses ${bad} as labels`, () => {
    const message = messageOf(() => resolve({}, { WORKER_PRESET_LABELS: bad }));

    const rule = "must be a JSON object whose values are texts or 32-bit whole numbers";
    assert.is(message, `HATCHET_CLIENT_WORKER_PRESET_LABELS ${rule}`);
  });
}

test("silences the log, takes the caller's logger, and refuses what is none", () => {
  const lines: string[] = [];
  const line = (message: string) => void lines.push(message);
  const logger = { debug: line, info: line, warn: line, error: line };

  resolve({ logger }).logger.warn("hello", {});
  resolve({ logger: false }).logger.error("nobody hears", {});

  assert.equal(lines, ["hello"]);
  const rule = "logger must be false, or have the methods debug, info, warn and error";
  for (const bad of [true, null, {}, { ...logger, warn: "x" }, "console"]) {
    assert.is(messageOf(() => resolve({ logger: bad })), rule);
  }
});

test("passes on what is the caller's own", () => {
  const clock = new VirtualClock();
  const random = () => 0.5;
  const { signal } = new AbortController();
  const interceptors = [(next: unknown) => next];

  const config = resolve({ clock, random, signal, interceptors });

  assert.is(config.clock, clock);
  assert.is(config.random, random);
  assert.is(config.signal, signal);
  assert.is(config.interceptors, interceptors);
});

test("counts variables that may not be read as not set", async () => {
  for (const name of ["NotCapable", "PermissionDenied"]) {
    const denied = forbidden(Object.assign(new Error("Requires env access"), { name }));

    const config = resolveConfig({ token }, denied);

    assert.is(await config.token(), token);
    assert.is(
      messageOf(() => resolveConfig({}, denied)),
      "token (HATCHET_CLIENT_TOKEN) is missing: pass the option, or set the variable",
    );
  }
});

test("passes on what else reading a variable throws", () => {
  const message = messageOf(() => resolveConfig({ token }, forbidden(new Error("broken"))));

  assert.is(message, "broken");
});

test("reads the process's own variables when it is given none", () => {
  const before = process.env["HATCHET_CLIENT_TENANT_ID"];
  process.env["HATCHET_CLIENT_TENANT_ID"] = otherTenant;
  try {
    const config = resolveConfig({ token });

    assert.is(config.tenantId, otherTenant);
  } finally {
    if (before === undefined) delete process.env["HATCHET_CLIENT_TENANT_ID"];
    else process.env["HATCHET_CLIENT_TENANT_ID"] = before;
  }
});

function forbidden(error: Error): Variables {
  return new Proxy({}, {
    get() {
      throw error;
    },
  });
}

test.run();
