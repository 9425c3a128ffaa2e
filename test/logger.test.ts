import { Code, ConnectError } from "@connectrpc/connect";
import type { StreamReport } from "../src/board.ts";
import { guarded, logStatus, stderrLogger } from "../src/logger.ts";
import type { Logger, LogLevel } from "../src/logger.ts";
import { StreamError } from "../src/streams/errors.ts";
import type { StreamStatus } from "../src/streams/status.ts";
import { assert, suite } from "./harness.ts";
import { jwt } from "./jwt.ts";

const test = suite("logger");

const token = jwt({ sub: "x" });
const lost = new ConnectError("gone", Code.Unavailable);
const live: StreamStatus = { state: "live", sinceMs: 0, paused: false };

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

function recorder(): { readonly logger: Logger; readonly lines: Line[] } {
  const lines: Line[] = [];
  const line = (level: string) => (message: string, fields: Readonly<Record<string, unknown>>) => {
    lines.push({ level, message, fields });
  };
  return { lines, logger: { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") } };
}

function waiting(failures: number, ending: { readonly error: unknown } = { error: lost }): StreamStatus {
  return { state: "waiting", failures, delayMs: 1234.5678, ...ending };
}

/** Logs what one stream tells, and returns the lines. */
function logged(...statuses: readonly StreamStatus[]): Line[] {
  const { lines, logger } = recorder();
  const log = logStatus(logger);
  const stream = {};
  for (const status of statuses) log(report(status), stream);
  return lines;
}

function report(status: StreamStatus, id = "w1"): StreamReport {
  return { ...status, stream: "actions", id };
}

test("C7: logs the failures 1, 5 and 10 in a row, and not 2 or 4", () => {
  const failures = Array.from({ length: 12 }, (_, index) => waiting(index + 1));

  const lines = logged(...failures);

  assert.equal(lines.map(({ fields }) => fields["failures"]), [1, 5, 10]);
  assert.equal(lines.map(({ level }) => level), ["warn", "warn", "warn"]);
});

test("warns with the stream, its id, the failures, the wait and the code, and with nothing else", () => {
  const lines = logged(waiting(1));

  assert.equal(lines, [{
    level: "warn",
    message: "A stream was lost, and will be opened again",
    fields: { stream: "actions", id: "w1", failures: 1, delayMs: 1235, code: "Unavailable" },
  }]);
});

test("says nothing of a wait that is no failure", () => {
  assert.equal(logged(waiting(0, { error: undefined })), []);
});

test("tells when a stream that had failed is live again, and how often it had failed", () => {
  const lines = logged(waiting(1), waiting(2), { state: "connecting", attempt: 3 }, live);

  assert.equal(lines.slice(1), [{
    level: "info",
    message: "A stream is live again",
    fields: { stream: "actions", id: "w1", failures: 2 },
  }]);
});

test("says nothing of a stream that is live for the first time, or still", () => {
  const paused: StreamStatus = { state: "live", sinceMs: 0, paused: true };

  assert.equal(logged({ state: "connecting", attempt: 1 }, live, paused, live), []);
  assert.is(logged(waiting(1), live, paused, live).length, 2);
});

test("knows a stream by itself, not by an id that changes, and never takes one for another", () => {
  const { lines, logger } = recorder();
  const log = logStatus(logger);
  const [one, other] = [{}, {}];

  log(report(waiting(1), "old"), one);
  log(report(live, "old"), other);
  log(report(live, "new"), one);

  assert.equal(lines.map(({ fields }) => fields["id"]), ["old", "new"]);
});

test("logs an end with an error, and no other end", () => {
  const refused = new StreamError("refused", "The engine refused the stream", { cause: lost });

  assert.equal(logged({ state: "ended" }, { state: "ended", error: undefined }), []);
  assert.equal(logged(waiting(1), { state: "ended", error: refused }).at(-1), {
    level: "error",
    message: "A stream has ended",
    fields: { stream: "actions", id: "w1", code: "refused" },
  });
});

for (
  const [what, error, code] of [
    ["one of ours", new StreamError("stalled", "x"), "stalled"],
    ["gRPC's", lost, "Unavailable"],
    ["the system's", Object.assign(new Error("x"), { code: "ECONNREFUSED" }), "ECONNREFUSED"],
    ["none", new Error("x"), undefined],
    ["a code that is a number", Object.assign(new Error("x"), { code: 14 }), undefined],
    ["a code that could be a secret", Object.assign(new Error("x"), { code: token }), undefined],
    ["a code that is a sentence", Object.assign(new Error("x"), { code: "See here" }), undefined],
    ["nothing", undefined, undefined],
    ["null", null, undefined],
    ["a text", token, undefined],
  ] as const
) {
  test(`finds the code in ${what}, and logs nothing else of an error`, () => {
    const [line] = logged(waiting(1, { error }));

    const rest = { stream: "actions", id: "w1", failures: 1, delayMs: 1235 };
    assert.equal(line?.fields, code === undefined ? rest : { ...rest, code });
    assert.not.ok(JSON.stringify(line).includes("eyJ"));
  });
}

test("writes one line each to stderr, with words bare and the rest in JSON", () => {
  const logger = stderrLogger("debug");

  const written = captured(() => {
    logger.debug("a", { n: 1, word: "actions", id: "w-1:x" });
    logger.info("b", { text: "two words", empty: "", line: "a\nb", u: undefined, big: 7n });
    logger.warn("c", { error: new Error("x y"), object: { a: 1 }, nothing: null });
    logger.error("d", {});
  });

  assert.equal(written, {
    stdout: [],
    stderr: [
      "coppice debug: a n=1 word=actions id=w-1:x",
      'coppice info: b text="two words" empty="" line="a\\nb" u=undefined big=7',
      'coppice warn: c error="x y" object={"a":1} nothing=null',
      "coppice error: d",
    ],
  });
});

test("writes what JSON cannot carry without failing", () => {
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;

  const written = captured(() => stderrLogger("info").warn("x", { circle, odd: { toJSON: () => undefined } }));

  assert.equal(written.stderr, ["coppice warn: x circle={…} odd={}"]);
});

test("never lets a token out", () => {
  const logger = stderrLogger("info");

  const { stderr } = captured(() => {
    logger.warn(`token ${token}`, { token, nested: { header: `Bearer ${token}` }, part: token.slice(0, 30) });
  });

  assert.equal(stderr, [
    'coppice warn: token [token] token=[token] nested={"header":"Bearer [token]"} part=[token]',
  ]);
});

for (
  const [level, heard] of [
    ["debug", ["debug", "info", "warn", "error"]],
    ["info", ["info", "warn", "error"]],
    ["warn", ["warn", "error"]],
    ["error", ["error"]],
    ["off", []],
  ] as const
) {
  test(`writes from ${level} on`, () => {
    const logger = stderrLogger(level satisfies LogLevel);

    const { stderr } = captured(() => {
      for (const own of ["debug", "info", "warn", "error"] as const) logger[own]("x", {});
    });

    assert.equal(stderr, heard.map((own) => `coppice ${own}: x`));
  });
}

test("keeps a logger's trouble away from whoever logs, now or later", async () => {
  const broken = guarded({
    debug: () => {
      throw new Error("disk full");
    },
    // oxlint-disable-next-line typescript/no-misused-promises -- what a logger may do
    info: () => Promise.reject(new Error("disk full")),
    // oxlint-disable-next-line typescript/no-misused-promises -- what a logger may do
    warn: () => Promise.resolve(),
    error: () => {
      throw null; // oxlint-disable-line typescript/only-throw-error -- what a logger may do
    },
  });

  for (const own of ["debug", "info", "warn", "error"] as const) assert.is(broken[own]("x", {}), undefined);

  await new Promise((resolve) => setImmediate(resolve)); // An unhandled rejection would fail the file.
});

test("hands a logger texts and numbers, and no object that may hold anything", () => {
  const { lines, logger } = recorder();
  const cause = new Error(token);
  const refused = new ConnectError(`no: Bearer ${token}`, Code.InvalidArgument, { "x-told": token }, undefined, cause);

  guarded(logger).error(`of ${token}`, {
    big: 7n,
    error: refused,
    fails: true,
    id: `x ${token}`,
    n: 1,
    nothing: null,
    object: { token },
    long: new Error("x".repeat(2000)),
    u: undefined,
  });

  assert.equal(lines, [{
    level: "error",
    message: "of [token]",
    fields: {
      big: 7n,
      error: "[invalid_argument] no: Bearer [token]",
      fails: true,
      id: "x [token]",
      n: 1,
      nothing: null,
      object: "an object",
      long: `${"x".repeat(1000)}…`,
      u: undefined,
    },
  }]);
});

test("calls a logger's methods on the logger itself", () => {
  class Counting implements Logger {
    readonly #lines: string[] = [];
    get lines(): readonly string[] {
      return this.#lines;
    }
    debug(message: string): void {
      this.#lines.push(message);
    }
    info(message: string): void {
      this.debug(message);
    }
    warn(message: string): void {
      this.debug(message);
    }
    error(message: string): void {
      this.debug(message);
    }
  }
  const counting = new Counting();

  guarded(counting).warn("hello", {});

  assert.equal(counting.lines, ["hello"]);
});

/** What the console is told meanwhile, by where each of its methods writes on Node, Deno and Bun alike. */
function captured(act: () => void): { readonly stdout: string[]; readonly stderr: string[] } {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const { debug, error, info, log, warn } = console;
  const out = (text: unknown) => void stdout.push(String(text));
  const err = (text: unknown) => void stderr.push(String(text));
  Object.assign(console, { debug: out, error: err, info: out, log: out, warn: err });
  try {
    act();
  } finally {
    Object.assign(console, { debug, error, info, log, warn });
  }
  return { stdout, stderr };
}

test.run();
