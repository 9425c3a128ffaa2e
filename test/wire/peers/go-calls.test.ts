import { Code, ConnectError } from "@connectrpc/connect";
import { DurationSchema, StringValueSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "../../../src/mod.ts";
import { pushback } from "../../../src/streams/pushback.ts";
import { assert, rejects } from "../../harness.ts";
import { jwt } from "../../jwt.ts";
import { until } from "../server.ts";
import { buildPeer } from "./build.ts";
import type { Child } from "./child.ts";
import { heard, start } from "./child.ts";
import { course, failed, reach, suiteUnless } from "./peers.ts";
import { Peer } from "./service.ts";

const { lack, program = "" } = { program: undefined, ...await buildPeer() };
const test = suiteUnless("calls to grpc-go", lack);

const token = jwt({ sub: "b4bd7b63-b5e1-4b8a-8fbb-0d3a4b0e6f6d" });
const unicode = 'Grüße, 世界! 🌍 100% of \t"this"\nand\r\nthat % 20 %zz %41';

let server: Child;
let port: number;
let open: ReturnType<typeof reach<typeof Peer>>;
test.before(async () => {
  server = start(program, ["-max-bytes", "100000"]);
  port = Number(await heard(server, /^listening (\d+)/));
});
test.after(() => server.end());
test.before.each(() => {
  open = reach(Peer, port);
});
test.after.each(() => open.channel.close());

test("words of any kind and length come back, with headers and trailers", async () => {
  const texts = ["", "a", unicode, "€".repeat(30_000)];
  const trailers: string[] = [];
  const headers: (string | null)[] = [];

  const echoed = await Promise.all(texts.map((value) =>
    open.client.echo({ value }, {
      headers: { authorization: "Bearer of news" },
      onHeader: (all) => headers.push(all.get("echo-bin")),
      onTrailer: (all) => trailers.push(all.get("authorized") ?? ""),
    })
  ));

  assert.equal(echoed.map(({ value }) => value), texts);
  assert.equal(trailers, texts.map(() => "Bearer of news"));
  const told = headers.map((value) =>
    new TextDecoder().decode(Uint8Array.from(atob(value ?? ""), (c) => c.charCodeAt(0)))
  );
  assert.equal(told.toSorted(), [...texts.slice(0, 3), ""].toSorted());
});

test("a client of ours calls a service that is not the engine's, with its credentials", async () => {
  const client = createClient({ hostPort: `127.0.0.1:${port}`, token, tls: false, logger: false });
  let authorized: string | null = null;

  const { value } = await client.rpc(Peer).echo({ value: unicode }, {
    onTrailer: (trailers) => authorized = trailers.get("authorized"),
  });
  await client.close();

  assert.is(value, unicode);
  assert.is(authorized, `Bearer ${token}`);
});

test("a stream brings every message whole and in order, however small the windows are", async () => {
  const narrow = reach(Peer, port, { windowBytes: 20_000 });
  const sizes = [[2000, 0], [2000, 10], [40, 70_000]] as const;

  const told = await Promise.all(
    sizes.map(([value, size]) => course(narrow.client.tell({ value }, { headers: { size: `${size}` } }))),
  );
  await narrow.channel.close();

  for (const [index, { heard, error }] of told.entries()) {
    const [count, size] = sizes[index] ?? [0, 0];
    assert.is(error, undefined);
    assert.is(heard.length, count);
    const isWhole = heard.every(({ value }, number) => value.length === size && value.every((b) => b === number % 256));
    assert.ok(isWhole, `${count} messages of ${size} bytes`);
  }
});

test("a stream of requests is summed up, and one of both ways answers each message as it comes", async () => {
  const numbers = Array.from({ length: 1000 }, (_, value) => ({ value }));
  let answered: (value: string) => void = () => {};
  async function* talk() {
    for (const value of ["first", unicode, "", "last"]) {
      const answer = new Promise<string>((resolve) => answered = resolve);
      yield { value };
      assert.is(await answer, value);
    }
  }

  const { value } = await open.client.add((async function* () {
    yield* numbers;
  })());
  const chatted: string[] = [];
  for await (const answer of open.client.chat(talk())) {
    chatted.push(answer.value);
    answered(answer.value);
  }

  assert.is(value, 499_500);
  assert.equal(chatted, ["first", unicode, "", "last"]);
});

test("a failure arrives with its code, its message in any script and its details, before and behind a message", async () => {
  const codes = Array.from({ length: 16 }, (_, index) => index + 1);

  const errors = await Promise.all(codes.map(async (code) => {
    const headers = { code: `${code}` };
    const early = await rejects(open.client.fail({ value: unicode }, { headers }), ConnectError);
    const late = await course(open.client.failLate({ value: unicode }, { headers }));
    assert.equal(late.heard.map(({ value }) => value), ["first"]);
    return [code, early, late.error as ConnectError] as const;
  }));

  for (const [code, ...both] of errors) {
    for (const error of both) {
      assert.equal([...failed(error), error.rawMessage], [code, "engine", unicode]);
      assert.equal(error.findDetails(StringValueSchema).map(({ value }) => value), [unicode]);
      assert.equal(error.findDetails(DurationSchema).map(({ nanos }) => nanos), [500_000_000]);
    }
  }
});

test("a method that is not there is the server's own Unimplemented", async () => {
  const error = await rejects(open.client.nowhere({}), ConnectError);

  assert.equal(failed(error), [Code.Unimplemented, "engine"]);
  assert.match(error.rawMessage, /unknown method Nowhere/);
  assert.is(pushback(error, 0), undefined);
});

test("a deadline passes on both sides, and is the same to the caller whoever noticed it first", async () => {
  const headers = { "wait-ms": "5000" };
  const begun = performance.now();

  const error = await rejects(open.client.echo({ value: "slow" }, { headers, timeoutMs: 150 }), ConnectError);
  const tookMs = performance.now() - begun;
  const limitMs = Number(await heard(server, /^limited (\d+)/));
  await heard(server, /^left Echo/);

  assert.is(error.code, Code.DeadlineExceeded);
  assert.ok(limitMs > 50 && limitMs <= 150, `a deadline of ${limitMs} ms`);
  assert.ok(tookMs >= 140 && tookMs < 1000, `took ${tookMs} ms`);
});

test("a caller that leaves, or breaks out of a loop, is gone at the server at once", async () => {
  const leaving = new AbortController();
  const reason = new Error("left");
  const headers = { "wait-ms": "5000", linger: "1", size: "1" };
  const call = open.client.echo({ value: "leaves" }, { headers, signal: leaving.signal });
  await heard(server, /^Echo leaves/);

  leaving.abort(reason);
  const error = await rejects(call, ConnectError);
  for await (const _ of open.client.tell({ value: 1 }, { headers, signal: AbortSignal.timeout(200) })) break;
  await until(() => server.said.includes("left Echo context canceled"));
  await until(() => server.said.includes("left Tell context canceled"));

  assert.is(error.code, Code.Canceled);
  assert.is(error.cause, reason);
});

test("replies that grpc-go compressed are read, one and many", async () => {
  const encodings: (string | null)[] = [];
  const onHeader = (headers: Headers) => void encodings.push(headers.get("grpc-encoding"));
  const value = unicode.repeat(500);

  const one = await open.client.echo({ value }, { headers: { gzip: "1" }, onHeader });
  const many = await course(open.client.tell({ value: 300 }, { headers: { gzip: "1", size: "5000" }, onHeader }));

  assert.is(one.value, value);
  assert.is(many.error, undefined);
  assert.ok(many.heard.every(({ value }, number) => value.length === 5000 && value[4999] === number % 256));
  assert.is(many.heard.length, 300);
  assert.equal(encodings, ["gzip", "gzip"]);
});

test("a message over a limit fails alone: over the server's by its word, over ours by our own", async () => {
  const strict = reach(Peer, port, { readMaxBytes: 5000, writeMaxBytes: 200_000 });

  const sent = await rejects(strict.client.echo({ value: "x".repeat(150_000) }), ConnectError);
  const received = await course(strict.client.tell({ value: 3 }, { headers: { size: "6000" } }));
  const squeezed = await course(strict.client.tell({ value: 3 }, { headers: { size: "6000", gzip: "1" } }));
  const { connection } = strict.channel;
  const { value } = await strict.client.echo({ value: "short" });

  assert.equal(failed(sent), [Code.ResourceExhausted, "engine"]);
  assert.match(sent.rawMessage, /message larger than max/);
  assert.equal(failed(received.error), [Code.ResourceExhausted, "local"]);
  assert.equal(failed(squeezed.error), [Code.ResourceExhausted, "local"]);
  assert.is(value, "short");
  assert.is(strict.channel.connection, connection);
  await strict.channel.close();
});

test.run();
