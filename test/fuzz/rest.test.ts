import * as fc from "fast-check";
import { Rest, RestError } from "../../src/rest.ts";
import { VirtualClock } from "../../src/testing/clock.ts";
import { assert, suite } from "../harness.ts";
import { assertQuiet, ended, holds, token } from "./cases.ts";
import { anything, bytes, json, text } from "./wrong.ts";

const test = suite("fuzz rest");
const attempts = 5;
/** What a body may do that comes in pieces. */
type Flow = "whole" | "lost" | "endless" | "slow";

/** What a server does with one try. */
interface Plan {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly reason: string;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly flow: Flow;
  /** What `fetch` rejects with instead. */
  readonly failure?: { readonly error: unknown };
  readonly delayMs: number;
}

const latin = text.map((one) => one.replaceAll(/[^\x20-\x7e]/g, "").trim().slice(0, 200));
const wait = fc.oneof(
  latin,
  fc.integer().map(String),
  fc.double().map(String),
  fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
  fc.constantFrom("0", "5", "5.5", "-1", "1e3", "Infinity", "NaN", "99999999999999999999", "1,2", "Fri, 99 Foo 2026"),
);
const status = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(200, 429, 502, 503, 504) },
  fc.integer({ min: 200, max: 599 }).filter((one) => one !== 204 && one !== 205 && one !== 304),
  fc.constantFrom(0, 199, 600, 999), // A real `fetch` gives these, though no Response can be made of them.
);
const telltale = new TextEncoder().encode(`no: authorization: Bearer ${token}`);
const plan: fc.Arbitrary<Plan> = fc.record({
  status,
  headers: fc.record({ "retry-after": wait, "content-length": latin, "content-type": latin }, { requiredKeys: [] }),
  reason: fc.oneof(latin, fc.constantFrom("\ufffd", "O\u0000K", "")),
  body: fc.oneof(bytes, json.map((one) => new TextEncoder().encode(one)), fc.constant(telltale)),
  flow: fc.constantFrom<Flow[]>("whole", "whole", "whole", "lost", "slow"),
  failure: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, fc.record({ error: anything })),
  delayMs: fc.constantFrom(0, 0, 0, 29_000, 60_000),
}).map(({ failure, ...rest }) => (failure === undefined ? rest : { ...rest, failure }));

/** A server that does these in turn, the last again and again, and what it saw of its callers. */
function serve(plans: readonly Plan[]) {
  const clock = new VirtualClock();
  const life = new AbortController();
  const seen = { asked: [] as number[], urls: [] as string[], open: 0 };
  const rest = new Rest({
    serverUrl: "https://engine.example/base",
    authorization: () => Promise.resolve(`Bearer ${token}`),
    signal: life.signal,
    clock,
    random: () => 1,
    attempts,
    fetch: async (url, { signal }) => {
      const one = plans[Math.min(seen.asked.length, plans.length - 1)]!;
      seen.asked.push(clock.now());
      seen.urls.push(url);
      await clock.sleep(one.delayMs, signal ?? undefined);
      if (one.failure !== undefined) throw one.failure.error;
      return answer(one, clock, signal ?? undefined, (by) => seen.open += by);
    },
  });
  return { clock, rest, seen };
}

function answer(
  { body, flow, headers, reason, status }: Plan,
  clock: VirtualClock,
  signal: AbortSignal | undefined,
  opened: (by: number) => void,
): Response {
  opened(1);
  let step = 0;
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: async (to) => {
      if (flow === "slow") await clock.sleep(1000, signal);
      if (flow === "endless") return to.enqueue(new Uint8Array(2 ** 20));
      if (step++ === 0 && body.length > 0) return to.enqueue(body);
      opened(-1);
      if (flow === "lost") to.error(new TypeError("terminated"));
      else to.close();
    },
  });
  const response = new Response(stream, { headers });
  Object.defineProperties(response, { status: { value: status }, statusText: { value: reason } });
  return Object.defineProperty(response, "ok", { value: status >= 200 && status <= 299 });
}

test("whatever a server answers, a read gets it or a clear error, in so many tries and no more", {
  limitMs: 30_000,
}, async () => {
  await holds(700, fc.array(plan, { minLength: 1, maxLength: 6 }), async (plans) => {
    const { clock, rest, seen } = serve(plans);

    const { error, ...got } = await ended(clock.drive(rest.get("/api/v1/runs")));

    assert.is(clock.asleep, 0);
    const { asked } = seen;
    assert.ok(asked.length <= attempts, `${asked.length} tries`);
    // Headers in 30 s, a slow body in 2 s, and a wait of 5 s at the most.
    asked.slice(1).forEach((at, index) => assert.ok(at - asked[index]! <= 37_000, `${at - asked[index]!} ms between`));
    const last = plans[Math.min(asked.length, plans.length) - 1]!;
    if ("value" in got) return assert.equal(got.value, JSON.parse(new TextDecoder().decode(last.body)));
    if (last.failure !== undefined && Object.is(error, last.failure.error)) return; // Whatever it was.
    const isLate = last.delayMs === 60_000 && error instanceof DOMException && error.name === "TimeoutError";
    const isLost = last.flow === "lost" && error instanceof TypeError;
    assert.ok(
      isLate || isLost || error instanceof RestError || error instanceof SyntaxError,
      String(error),
    );
    assertQuiet(error);
    assert.ok((error as Error).message.length < 600);
    if (error instanceof RestError) assert.is(error.status, last.status);
  });
});

test("a body without end is given up, and never asked for again", { limitMs: 20_000 }, async () => {
  const endless: Plan = { status: 200, headers: {}, reason: "", body: new Uint8Array(), flow: "endless", delayMs: 0 };
  const { clock, rest, seen } = serve([endless]);

  const { error } = await ended(clock.drive(rest.get("/api/v1/runs")));

  assert.ok(error instanceof RestError);
  assert.is(error.message, "The server answered 200 to /api/v1/runs: more than 32 MiB");
  assert.is(seen.asked.length, 1);
});

test("whatever the path is, the token goes to the server or nowhere", { limitMs: 20_000 }, async () => {
  const fine: Plan = { status: 200, headers: {}, reason: "", body: telltale, flow: "whole", delayMs: 0 };
  const start = fc.constantFrom(
    "",
    "/",
    "//",
    "\\\\",
    "/\\",
    "../",
    "..\\",
    "%2e%2e/",
    "https:",
    "file:",
    "\t//",
    "@",
    ":",
  );
  const paths = fc.oneof(
    anything,
    fc.tuple(start, fc.oneof(text, fc.webUrl(), fc.constantFrom("evil.example/x", "@evil.example", "base/../.."))).map(
      (parts) => parts.join(""),
    ),
    fc.webUrl(),
  );

  await holds(700, paths, async (path) => {
    const { clock, rest, seen } = serve([fine]);

    const { error } = await ended(clock.drive(rest.get(path as string)));

    for (const url of seen.urls) {
      assert.ok(url.startsWith("https://engine.example/base/"), url);
      assert.is(new URL(url).host, "engine.example");
    }
    assert.ok(error instanceof (seen.urls.length === 0 ? TypeError : SyntaxError), String(error));
    if (!(typeof path === "string" && path.includes(token))) assertQuiet(error);
  });
});

test("a time that is none is refused before anybody is asked", async () => {
  const fine: Plan = { status: 200, headers: {}, reason: "", body: telltale, flow: "whole", delayMs: 0 };
  const wrong = anything.filter((one) => one !== undefined && !(typeof one === "number" && one >= 0));

  await holds(200, wrong, async (timeoutMs) => {
    const { clock, rest, seen } = serve([fine]);

    const { error } = await ended(clock.drive(rest.get("/x", { timeoutMs: timeoutMs as number })));

    assert.ok(error instanceof RangeError && error.message.startsWith("timeoutMs must be"), String(error));
    assert.is(seen.asked.length, 0);
    assertQuiet(error);
  });
});

test.run();
