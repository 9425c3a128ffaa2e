import { ConfigError } from "../src/errors.ts";
import type { RestSource } from "../src/rest.ts";
import { Rest, RestError } from "../src/rest.ts";
import { StreamError } from "../src/streams/errors.ts";
import { VirtualClock } from "../src/testing/clock.ts";
import { resolveConfig } from "../src/config.ts";
import { assert, rejects, suite } from "./harness.ts";
import { jwt } from "./jwt.ts";
import { watched } from "./watched.ts";

const test = suite("rest");

/** What a server does with one request. */
type Answer = (url: string, init: RequestInit) => Response | Promise<Response>;

interface Asked {
  readonly at: number;
  readonly url: string;
  readonly method: string | undefined;
  readonly authorization: string | null;
}

/** A server that answers in turn, the last answer again and again. */
function serve(answers: readonly Answer[], more: Partial<RestSource> = {}) {
  const clock = new VirtualClock();
  const asked: Asked[] = [];
  const life = new AbortController();
  const rest = new Rest({
    serverUrl: "https://engine.example/base",
    authorization: () => Promise.resolve("Bearer secret"),
    signal: life.signal,
    clock,
    random: () => 1,
    attempts: 5,
    fetch: async (url, init) => {
      const authorization = new Headers(init.headers).get("authorization");
      const answer = answers[Math.min(asked.length, answers.length - 1)]!;
      asked.push({ at: clock.now(), url, method: init.method, authorization });
      return await answer(url, init);
    },
    ...more,
  });
  return { asked, clock, life, rest, times: () => asked.map(({ at }) => at) };
}

const ok: Answer = () => Response.json({ fine: true });
const lost: Answer = () => Promise.reject(new TypeError("fetch failed"));

function status(code: number, headers: Record<string, string> = {}): Answer {
  return () => new Response("busy", { status: code, headers });
}

/** Answers only by failing when the request is aborted. */
const silence: Answer = (_url, { signal }) =>
  new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));

test("E1: reads again after 502, 503 and 504, and the last body is readable", async () => {
  const { clock, rest, times } = serve([status(502), status(503), ok]);

  const value = await clock.drive(rest.get("/api/v1/meta"));

  assert.equal(value, { fine: true });
  assert.equal(times(), [0, 250, 750]);
  assert.is(clock.asleep, 0);
});

test("E1: a gateway that never comes back is what the read throws, with what it said", async () => {
  const { clock, rest, times } = serve([status(504)]);

  const error = await rejects(clock.drive(rest.get("/api/v1/meta")), RestError);

  assert.is(error.status, 504);
  assert.is(error.message, "The server answered 504 to /api/v1/meta: busy");
  assert.equal(times(), [0, 250, 750, 1750, 3750]);
});

test("E2: reads again after a connection that was lost, before its answer and in the middle of it", async () => {
  const half: Answer = () =>
    new Response(new ReadableStream({ start: (body) => body.error(new TypeError("terminated")) }));
  const { asked, clock, rest } = serve([lost, half, ok]);

  const value = await clock.drive(rest.get("runs"));

  assert.equal(value, { fine: true });
  assert.is(asked.length, 3);
});

for (const [name, request] of [["POST", { method: "POST" }], ["DELETE", { method: "DELETE" }]] as const) {
  test(`E3: never makes a ${name} again`, async () => {
    const { asked, clock, rest } = serve([status(503), ok]);

    const response = await clock.drive(rest.fetch("runs", request));

    assert.is(response.status, 503);
    assert.is(asked.length, 1);
  });
}

test("E3: never makes a request with a body again", async () => {
  const { asked, clock, rest } = serve([lost, ok]);

  await rejects(clock.drive(rest.fetch("runs", { method: "GET", body: "{}" })), /fetch failed/);

  assert.is(asked.length, 1);
});

test("E4: each try has the same URL, query and authorization", async () => {
  const { asked, clock, rest } = serve([status(502), ok]);

  await clock.drive(rest.get("/api/v1/runs?since=1&only=a%20b"));

  const [first, second] = asked.map(({ authorization, method, url }) => ({ authorization, method, url }));
  assert.equal(second, first);
  assert.equal(first, {
    authorization: "Bearer secret",
    method: "GET",
    url: "https://engine.example/base/api/v1/runs?since=1&only=a%20b",
  });
});

test("E5: a caller that has left before asks nobody", async () => {
  const { asked, clock, rest } = serve([ok]);
  const reason = new Error("left");

  await rejects(clock.drive(rest.get("runs", { signal: AbortSignal.abort(reason) })), (error) => error === reason);

  assert.is(asked.length, 0);
});

test("E5: a caller that leaves during a wait gets its own reason, and nobody is asked again", async () => {
  const { asked, clock, rest } = serve([status(503)]);
  const caller = new AbortController();

  const reading = rest.get("runs", { signal: caller.signal });
  await clock.pass(100);
  caller.abort(new Error("left"));

  await rejects(reading, /left/);
  assert.is(asked.length, 1);
  assert.is(clock.asleep, 0);
});

test("E6, B2: 429 with a retry-after of 2 waits exactly 2 s", async () => {
  const { clock, rest, times } = serve([status(429, { "retry-after": "2" }), ok]);

  await clock.drive(rest.get("runs"));

  assert.equal(times(), [0, 2000]);
});

test("B3: a retry-after that is a date waits until then", async () => {
  const { clock, rest, times } = serve([status(429, { "retry-after": "Thu, 01 Jan 1970 00:00:02 GMT" }), ok]);

  await clock.drive(rest.get("runs"));

  assert.equal(times(), [0, 2000]);
});

test("B4: a retry-after that is past waits not at all", async () => {
  const { clock, rest, times } = serve([status(429, { "retry-after": "Mon, 01 Jan 1968 00:00:00 GMT" }), ok]);

  await clock.drive(rest.get("runs"));

  assert.equal(times(), [0, 0]);
});

for (const header of ["soon", "10", "-1", "2.5", ""]) {
  test(`E7, B5: a retry-after of ${JSON.stringify(header)} is no advice: the usual wait, and another try`, async () => {
    const { clock, rest, times } = serve([status(429, { "retry-after": header }), ok]);

    const value = await clock.drive(rest.get("runs"));

    assert.equal(value, { fine: true });
    assert.equal(times(), [0, 250]);
  });
}

test("headers that never come are a lost try after 30 s", async () => {
  const { clock, rest, times } = serve([silence, ok]);

  await clock.drive(rest.get("runs"));

  assert.equal(times(), [0, 30_250]);
  assert.is(clock.asleep, 0);
});

test("E8: the caller's own time holds instead of the one for headers, tries and all", async () => {
  const { clock, rest } = serve([silence]);

  const error = await rejects(clock.drive(rest.get("runs", { timeoutMs: 45_000 })), () => true);

  assert.is(error.name, "TimeoutError");
  assert.is(clock.now(), 45_000);
  assert.is(clock.asleep, 0);
});

test("a read that is done within the caller's time leaves nothing behind", async () => {
  const [caller, client] = [watched(), watched()];
  const { clock, rest } = serve([ok], { signal: client.signal });

  await clock.drive(rest.get("runs", { signal: caller.signal, timeoutMs: 45_000 }));

  assert.equal([clock.asleep, caller.listening(), client.listening()], [0, 0, 0]);
});

test("E9: a body may come long after the headers", async () => {
  const late: Answer = (_url, { signal }) =>
    new Response(
      new ReadableStream({
        start: async (body) => {
          await clock.sleep(120_000, signal ?? undefined);
          body.enqueue(new TextEncoder().encode('{"late":true}'));
          body.close();
        },
      }),
    );
  const { clock, rest, times } = serve([late]);

  const value = await clock.drive(rest.get("runs"));

  assert.equal(value, { late: true });
  assert.equal(times(), [0]);
});

test("E10: 404 is an answer, once", async () => {
  const { asked, clock, rest } = serve([status(404)]);

  const error = await rejects(clock.drive(rest.get("runs")), RestError);

  assert.is(error.status, 404);
  assert.is(asked.length, 1);
});

for (const attempts of [1, 5]) {
  test(`E11: ${attempts} tries are accepted`, async () => {
    const { asked, clock, rest } = serve([status(503)], { attempts });
    const { retry } = resolveConfig({ token: () => "", tls: false, retry: { restAttempts: attempts } }, {});

    await rejects(clock.drive(rest.get("runs")), RestError);

    assert.is(retry.restAttempts, attempts);
    assert.is(asked.length, attempts);
  });
}

for (const attempts of [0, -1]) {
  test(`E11: ${attempts} tries are refused`, () => {
    assert.throws(
      () => resolveConfig({ token: () => "", tls: false, retry: { restAttempts: attempts } }, {}),
      /retry\.restAttempts must be above 0/,
    );
  });
}

for (const path of ["https://elsewhere.example/x", "//elsewhere.example/x", "../../other", "https:elsewhere"]) {
  test(`a path that leaves the server, as ${path}, never gets the token`, async () => {
    const { asked, clock, rest } = serve([ok]);

    const [settled] = await clock.drive(Promise.allSettled([rest.get(path)]));

    for (const { url } of asked) assert.ok(url.startsWith("https://engine.example/base/"), url);
    assert.ok(asked.length === 1 || (settled.status === "rejected" && settled.reason instanceof TypeError));
  });
}

test("what is no JSON is told as that, with the path", async () => {
  const { asked, clock, rest } = serve([() => new Response("<html>")]);

  const error = await rejects(clock.drive(rest.get("/api/v1/meta")), SyntaxError);

  assert.is(error.message, 'What the server answered to "/api/v1/meta" is no JSON');
  assert.is(asked.length, 1);
});

test("a server that tells the token back does not bring it into the error", async () => {
  const { clock, rest } = serve([() => new Response(`no: Bearer ${jwt({ secret: "hush" })}`, { status: 401 })]);

  const error = await rejects(clock.drive(rest.get("runs")), RestError);

  assert.is(error.message, "The server answered 401 to runs: no: Bearer [token]");
  assert.is(error.body, "no: Bearer [token]");
});

test("an answer of 32 MiB is taken, and one byte more is not, nor asked for again", async () => {
  const sized = (more: number): Answer => () => new Response(new Uint8Array(2 ** 25 + more));
  const { asked, clock, rest } = serve([sized(0), sized(1)]);

  const response = await clock.drive(rest.fetch("large"));
  const error = await rejects(clock.drive(rest.fetch("large")), RestError);

  assert.is((await response.arrayBuffer()).byteLength, 2 ** 25);
  assert.is(error.message, "The server answered 200 to large: more than 32 MiB");
  assert.is(asked.length, 2);
});

for (const timeoutMs of [NaN, -1]) {
  test(`a time of ${timeoutMs} ms is refused before anybody is asked`, async () => {
    const { asked, clock, rest } = serve([ok]);

    await rejects(clock.drive(rest.get("runs", { timeoutMs })), /^timeoutMs must be a number from 0, got /);

    assert.is(asked.length, 0);
  });
}

test("says which setting is missing when nobody knows the server", async () => {
  const { clock, rest } = serve([ok], { serverUrl: undefined });

  const error = await rejects(clock.drive(rest.get("runs")), ConfigError);

  assert.match(error.message, "serverUrl (HATCHET_CLIENT_SERVER_URL) is missing");
});

test("a client that closes ends what is under way", async () => {
  const { clock, life, rest } = serve([silence]);

  const reading = rest.get("runs");
  await clock.pass(10);
  life.abort(new StreamError("closed", "The client was closed"));

  await rejects(reading, (error) => error instanceof StreamError && error.code === "closed");
  assert.is(clock.asleep, 0);
});

test.run();
