import type { AddressInfo, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { isCaller, isUnsent } from "../../src/streams/errors.ts";
import { judge, originOf } from "../../src/streams/verdict.ts";
import type { Address, TlsMaterial } from "../../src/transport/channel.ts";
import { assert, rejects, suite } from "../harness.ts";
import type { Caller, RawServer, RawServerOptions } from "./server.ts";
import { action, answer, beat, caller, listen, never, pem, rawServer, until } from "./server.ts";

const test = suite("tls");

const servers: RawServer[] = [];
const callers: Caller[] = [];

async function serve(tls: RawServerOptions["tls"]): Promise<RawServer> {
  const server = await rawServer((stream, headers) => {
    answer(stream, [headers[":path"]?.endsWith("Heartbeat") === true ? beat : action("a")], 0);
  }, tls === undefined ? {} : { tls });
  servers.push(server);
  return server;
}

function open(server: RawServer, tls: TlsMaterial | (() => Promise<TlsMaterial>), at: Partial<Address> = {}): Caller {
  const one = caller(server.hostPort, {
    address: () => Promise.resolve({ host: "127.0.0.1", port: server.port, ...at }),
    connectTimeoutMs: 1000,
    tls: typeof tls === "function" ? tls : () => Promise.resolve(tls),
  });
  callers.push(one);
  return one;
}

const ca = pem("ca.crt");
const client = { cert: pem("client.crt"), key: pem("client.key") };

/** How a dial fails, and what it means before and after a stream was ever live. */
async function failure(caller: Caller): Promise<{ error: ConnectError; code: unknown; verdicts: string[] }> {
  const error = await rejects(caller.channel.ready(never, 1000), ConnectError);
  const cause = error.cause as { readonly code?: unknown } | undefined;
  const verdicts = [false, true].map((wasLive) =>
    judge({ alone: false, error, heard: false, origin: originOf(error), sent: false, wasLive }, () => "end")
  );
  assert.ok(isUnsent(error));
  assert.is(error.code, Code.Unavailable);
  return { error, code: cause?.code, verdicts };
}

test.after.each(async () => {
  await Promise.all(callers.splice(0).map(({ channel }) => channel.close()));
  await Promise.all(servers.splice(0).map((server) => server.kill()));
});

test("trusts a server whose CA it was given, by IP address and by name", async () => {
  const server = await serve({ as: "server" });
  const byAddress = open(server, { ca });
  const byName = open(server, { ca }, { host: "localhost" });

  await byAddress.client.heartbeat({ workerId: "w" });
  await byName.client.heartbeat({ workerId: "w" });
  const { error, heard } = await listen(byAddress.client);

  assert.equal(heard, ["a"]);
  assert.is(error, undefined);
  assert.equal(server.calls.slice(0, 2), [
    `/Dispatcher/Heartbeat @ 127.0.0.1:${server.port}`,
    `/Dispatcher/Heartbeat @ localhost:${server.port}`,
  ]);
});

test("checks and asks for the server name it was given, the address's before the material's", async () => {
  const server = await serve({ as: "server" });
  const elsewhere = await serve({ as: "elsewhere" });
  const named = open(server, { ca, serverName: "engine.internal" });
  const other = open(elsewhere, { ca, serverName: "engine.internal" }, { serverName: "elsewhere.invalid" });

  await named.client.heartbeat({ workerId: "w" });
  await other.client.heartbeat({ workerId: "w" });

  assert.is(server.calls[0], "/Dispatcher/Heartbeat @ engine.internal");
  assert.is(elsewhere.calls[0], "/Dispatcher/Heartbeat @ elsewhere.invalid");
});

test("shows its certificate to a server that asks for one", async () => {
  const server = await serve({ as: "server", mutual: true });
  const { client: calls } = open(server, { ca, ...client, minVersion: "TLSv1.3" });

  await calls.heartbeat({ workerId: "w" });

  assert.is(server.calls.length, 1);
});

test("does not get past a server that asks for a certificate it has not", async () => {
  const server = await serve({ as: "server", mutual: true });
  const nobody = open(server, { ca });

  const { code, verdicts } = await failure(nobody);

  assert.is(server.calls.length, 0);
  assert.match(String(code), /^ERR_SSL_TLSV1.*_ALERT_CERTIFICATE_REQUIRED$/);
  assert.equal(verdicts, ["fatal", "transient"]);
});

test("a CA that did not sign is fatal, unless the server was once trusted", async () => {
  const server = await serve({ as: "server" });

  const foreign = await failure(open(server, { ca: pem("foreign-ca.crt") }));
  const none = await failure(open(server, {}));

  for (const { code, verdicts } of [foreign, none]) {
    assert.match(String(code), /^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT_LOCALLY)$/);
    assert.equal(verdicts, ["fatal", "transient"]);
  }
});

test("a certificate for another name is fatal, unless the server was once trusted", async () => {
  const server = await serve({ as: "elsewhere" });

  const { code, verdicts } = await failure(open(server, { ca }, { host: "localhost" }));

  assert.is(code, "ERR_TLS_CERT_ALTNAME_INVALID");
  assert.equal(verdicts, ["fatal", "transient"]);
});

test("TLS to a plaintext port is fatal, plaintext to a TLS port is the wire's", async () => {
  const plain = await serve(undefined);
  const secure = await serve({ as: "server" });
  const tooSecure = open(plain, { ca });
  const notSecure = caller(secure.hostPort);
  callers.push(notSecure);

  const one = await failure(tooSecure);
  const other = await failure(notSecure);

  assert.is(one.code, "ERR_SSL_WRONG_VERSION_NUMBER");
  assert.equal(one.verdicts, ["fatal", "transient"]);
  assert.is(originOf(other.error), "wire");
});

test("a connection whose TLS breaks in the middle is closed, and the next call gets another", async () => {
  const server = await serve({ as: "server" });
  server.handle = (stream) => answer(stream, [action("a")]);
  const between: { readonly socket: Socket; ended: boolean }[] = [];
  const relay = createServer((socket) => {
    const one = { ended: false, socket };
    between.push(one);
    const onward = connect({ host: "127.0.0.1", port: server.port });
    for (const side of [socket, onward]) side.on("error", () => side.destroy());
    socket.once("end", () => one.ended = true);
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const { channel, client: calls } = open(server, { ca }, { port: (relay.address() as AddressInfo).port });
  const course = listen(calls);
  await until(() => server.open.size === 1);

  between[0]?.socket.write("no record of any TLS that there is");
  const { error } = await course;
  await until(() => channel.connection === undefined && between[0]?.ended === true);
  server.handle = (stream) => answer(stream, [beat], 0);
  await calls.heartbeat({ workerId: "w" });
  relay.close();
  await channel.close();

  assert.is(originOf(error), "wire");
  assert.is(between.length, 2);
});

test("reads its material at the first dial, once, and again only after that failed", async () => {
  const server = await serve({ as: "server" });
  const thrown = Object.assign(new Error("no such file"), { code: "ENOENT" });
  let asked = 0;
  const { channel, client: calls } = open(server, () => {
    asked++;
    return asked === 1 ? Promise.reject(thrown) : Promise.resolve({ ca });
  });
  const before = asked;

  const first = await rejects(channel.ready(never, 1000));
  await calls.heartbeat({ workerId: "w" });
  for (const session of server.sessions) session.destroy();
  await until(() => channel.connection === undefined);
  await calls.heartbeat({ workerId: "w" });

  assert.is(before, 0);
  assert.is(first, thrown);
  assert.ok(isCaller(first) && isUnsent(first));
  assert.is(asked, 2);
});

test("a certificate that is none, or whose key is another's, is the caller's mistake", async () => {
  const server = await serve({ as: "server", mutual: true });
  const nonsense = open(server, { ca, cert: "not a certificate", key: "not a key" });
  const mixed = open(server, { ca, cert: client.cert, key: pem("server.key") });

  const errors = [nonsense, mixed].map(({ channel }) => rejects(channel.ready(never, 1000)));

  for (const error of await Promise.all(errors)) assert.ok(isCaller(error) && isUnsent(error), String(error));
});

test.run();
