import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { gzipSync } from "node:zlib";
import type { Client } from "../../src/client.ts";
import { createClient } from "../../src/client.ts";
import { RestError } from "../../src/rest.ts";
import { StreamError } from "../../src/streams/errors.ts";
import { assert, rejects, suite } from "../harness.ts";
import { pause, until } from "./server.ts";

const test = suite("rest on the wire");

/** What a server does about one request. */
type Answer = (response: ServerResponse, request: IncomingMessage) => void;

interface Server {
  readonly url: string;
  /** When each request came, in milliseconds. */
  readonly asked: number[];
  /** What each carried. */
  readonly authorizations: (string | undefined)[];
  /** Sockets that are open. */
  readonly sockets: Set<Socket>;
  close(): Promise<void>;
}

/** A real server on loopback that answers in turn, the last answer again and again. */
async function serve(...answers: readonly Answer[]): Promise<Server> {
  const asked: number[] = [];
  const authorizations: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)]!;
    asked.push(performance.now());
    authorizations.push(request.headers.authorization);
    answer(response, request);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}); // The client left, or we cut it.
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // What listens on TCP has no other.
  const close = async () => {
    clearTimeout(timer);
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const timer = setTimeout(() => void close(), 20_000);
  timer.unref();
  return { asked, authorizations, close, sockets, url: `http://127.0.0.1:${port}` };
}

/** One client on one server, both gone after it. */
async function against(
  answers: readonly Answer[],
  work: (client: Client, server: Server) => Promise<void>,
): Promise<void> {
  const server = await serve(...answers);
  const client = createClient({
    hostPort: "127.0.0.1:1",
    logger: false,
    random: () => 0.05,
    serverUrl: server.url,
    tls: false,
    token: "e30.e30.e30",
  });
  try {
    await work(client, server);
  } finally {
    await client.close();
    await server.close();
  }
}

const fine: Answer = (response) => void response.end('{"fine":true}');
const silence: Answer = () => {};

function status(code: number, headers: Readonly<Record<string, string>> = {}): Answer {
  return (response) => void response.writeHead(code, headers).end("busy");
}

/** Headers and the beginning of a body; what happens then is up to `next`. */
function begin(next: (response: ServerResponse) => void, headers: Readonly<Record<string, string>> = {}): Answer {
  return (response) => {
    response.writeHead(200, headers);
    response.write('{"fine":', () => next(response));
  };
}

test("reads JSON, and says who asks", async () => {
  await against([fine], async ({ rest }, { authorizations }) => {
    assert.equal(await rest.get("/api/v1/meta"), { fine: true });
    assert.equal(authorizations, ["Bearer e30.e30.e30"]);
  });
});

for (
  const [what, cut] of [
    ["reset before its answer", (response) => response.socket?.resetAndDestroy()],
    ["closed before its answer", (response) => response.socket?.end()],
    ["reset in the middle of a body of known length", begin((one) => one.socket?.resetAndDestroy(), length(100))],
    ["closed in the middle of a body of known length", begin((one) => one.socket?.end(), length(100))],
    ["reset between the pieces of a body", begin((one) => one.socket?.resetAndDestroy())],
    ["closed between the pieces of a body", begin((one) => one.socket?.end())],
  ] satisfies readonly (readonly [string, Answer])[]
) {
  test(`E2: reads again after a connection that was ${what}`, async () => {
    await against([cut, cut, fine], async ({ rest }, { asked }) => {
      assert.equal(await rest.get("/runs"), { fine: true });
      assert.is(asked.length, 3);
    });
  });
}

test("E2: reads again after a kept connection that the server has closed meanwhile", async () => {
  await against([fine], async ({ rest }, { asked, sockets }) => {
    for (let turn = 1; turn <= 3; turn++) {
      assert.equal(await rest.get("/runs"), { fine: true });
      for (const socket of sockets) socket.destroy();
      assert.is(asked.length, turn);
    }
  });
});

test("E3: what is no read is made once, whatever happens to its connection", async () => {
  const cut = begin((response) => response.socket?.resetAndDestroy());
  await against([cut, fine], async ({ rest }, { asked }) => {
    await rejects(rest.fetch("/runs", { body: "{}", method: "POST" }), () => true);
    await pause(50);

    assert.is(asked.length, 1);
  });
});

test("E6: 429 with a retry-after of 1 waits a second, and one of an hour is no advice", { limitMs: 5000 }, async () => {
  await against(
    [status(429, { "retry-after": "1" }), status(503, { "retry-after": "3600" }), fine],
    async ({ rest }, { asked }) => {
      await rest.get("/runs");

      const [first = 0, second = 0, third = 0] = asked;
      assert.ok(second - first >= 990 && second - first < 1900, `${second - first} ms`);
      assert.ok(third - second < 900, `${third - second} ms`);
    },
  );
});

test("E8: a body that comes too slowly ends at the caller's time, and its connection with it", async () => {
  await against([begin(() => {})], async ({ rest }, { asked, sockets }) => {
    const startedMs = performance.now();

    const error = await rejects(rest.get("/runs", { timeoutMs: 120 }), () => true);

    const tookMs = performance.now() - startedMs;
    assert.is(error.name, "TimeoutError");
    assert.ok(tookMs >= 115 && tookMs < 1000, `${tookMs} ms`);
    assert.is(asked.length, 1);
    await until(() => sockets.size === 0);
  });
});

test("E9: a body may come long after its headers", async () => {
  const slow = begin((response) => void setTimeout(() => response.end("true}"), 200));
  await against([slow], async ({ rest }, { asked }) => {
    assert.equal(await rest.get("/runs"), { fine: true });
    assert.is(asked.length, 1);
  });
});

for (
  const [when, answer] of [
    ["nothing has come", silence],
    ["a body comes", begin(() => {})],
    ["it waits to ask again", status(503, { "retry-after": "5" })],
  ] satisfies readonly (readonly [string, Answer])[]
) {
  test(`E5: a caller that leaves while ${when} gets its own reason, and nobody is asked again`, async () => {
    await against([answer], async ({ rest }, { asked, sockets }) => {
      const caller = new AbortController();
      const left = new Error("left");
      const reading = rest.get("/runs", { signal: caller.signal });
      await until(() => asked.length === 1);
      await pause(50);

      caller.abort(left);

      await rejects(reading, (error) => error === left);
      if (answer !== silence) await pause(30);
      else await until(() => sockets.size === 0);
      assert.is(asked.length, 1);
    });
  });
}

test("a client that closes ends a read that is under way", async () => {
  await against([begin(() => {})], async (client, { asked, sockets }) => {
    const reading = client.rest.get("/runs");
    await until(() => asked.length === 1);

    void client.close();

    await rejects(reading, (error) => error instanceof StreamError && error.code === "closed");
    await until(() => sockets.size === 0);
  });
});

test("a status that HTTP does not have, and a word with it that no Response takes, are told and not asked again", async () => {
  const odd = (code: number): Answer => (response) => {
    response.socket?.end(`HTTP/1.1 ${code} O\xffd\r\nContent-Length: 2\r\n\r\n{}`, "latin1");
  };
  await against([odd(999), odd(200)], async ({ rest }, { asked }) => {
    const error = await rejects(rest.get("/runs"), RestError);

    assert.is(error.message, "The server answered 999 to /runs");
    assert.is(asked.length, 1);
    assert.equal(await rest.get("/runs"), {});
  });
});

test("a small answer that would unpack to 64 MiB is given up before it does", { limitMs: 8000 }, async () => {
  const bomb = gzipSync(new Uint8Array(2 ** 26), { level: 1 });
  await against(
    [(response) => void response.writeHead(200, { "content-encoding": "gzip" }).end(bomb)],
    async (client) => {
      const error = await rejects(client.rest.get("/runs"), RestError);

      assert.match(error.message, "more than 32 MiB");
    },
  );
});

test("a redirect is followed, and takes the token to no other server", async () => {
  const other = await serve(fine);
  const away: Answer = (response) => void response.writeHead(307, { location: `${other.url}/x` }).end();
  try {
    await against([away], async ({ rest }) => {
      assert.equal(await rest.get("/runs"), { fine: true });
      assert.equal(other.authorizations, [undefined]);
    });
  } finally {
    await other.close();
  }
});

test("redirects in a circle end", async () => {
  await against(
    [(response) => void response.writeHead(302, { location: "/runs" }).end()],
    async ({ rest }, { asked }) => {
      await rejects(rest.fetch("/runs", { timeoutMs: 1500 }), () => true);

      assert.ok(asked.length <= 5 * 128, `${asked.length} requests`); // Bun follows 127 of them.
    },
  );
});

function length(bytes: number): Readonly<Record<string, string>> {
  return { "content-length": String(bytes) };
}

test.run();
