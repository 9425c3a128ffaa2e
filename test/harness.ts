/**
 * The suite every test file uses: uvu's, without its ways to pass by accident.
 *
 * A thrown non-Error, a rejection nobody handles, a test that never settles, a file that runs no test, a process
 * that leaves early or that something keeps alive afterwards: each of them fails, on Node, Deno and Bun alike.
 * The last line a file prints is `# tests 12 passed 12 failed 0 skipped 0`, for the runner to add up.
 */
import process from "node:process";
import { inspect } from "node:util";
import { suite as uvuSuite } from "uvu";
import * as assert from "uvu/assert";

export { assert };

type Body = () => unknown;

interface Hook {
  (hook: Body): void;
  each(hook: Body): void;
}

/** Adds a test to the suite; `limitMs` is real time, 2 s unless told. */
export interface Test {
  (title: string, body: Body): void;
  (title: string, options: { readonly limitMs?: number }, body: Body): void;
  /** Counts as skipped and says why. */
  skip(title: string, reason: string): void;
  before: Hook;
  after: Hook;
  /** Queues the suite; without it the file fails. */
  run(): void;
}

const hookLimitMs = 10_000;
const lingerMs = 3_000;
const count = { passed: 0, failed: 0, skipped: 0, outstanding: 0 };
let current = "";
let finished = false;

/** Opens a suite; its name stands before each title in reports. */
export function suite(name: string): Test {
  const inner = uvuSuite(name);
  const beforeEach: Body[] = [];
  const afterEach: Body[] = [];

  const test = (title: string, options: { readonly limitMs?: number } | Body, body?: Body): void => {
    const [limitMs, run] = typeof options === "function" ? [undefined, options] : [options.limitMs, body!];
    const whole = async () => {
      for (const hook of beforeEach) await hook();
      try {
        await run();
      } finally {
        for (const hook of afterEach) await hook();
      }
    };
    count.outstanding++;
    inner(title, async () => {
      current = `${name}: ${title}`;
      try {
        await within(limitMs ?? 2_000, whole);
        count.passed++;
      } catch (error) {
        fail(current, error);
        throw asError(error);
      } finally {
        current = "";
        if (--count.outstanding === 0) setTimeout(lingering, lingerMs).unref();
      }
    });
  };

  return Object.assign(test, {
    skip(title: string, reason: string): void {
      count.skipped++;
      console.log(`# skipped ${name}: ${title} (${reason})`);
    },
    before: hooks((hook) => inner.before(() => aside(`${name}: before`, hook)), beforeEach),
    after: hooks((hook) => inner.after(() => aside(`${name}: after`, hook)), afterEach),
    run: () => inner.run(),
  });
}

/** Waits for a rejection and returns what it was; `check` is a class, a pattern for the message or a predicate. */
export async function rejects<E = Error>(
  work: PromiseLike<unknown> | (() => unknown),
  check?: RegExp | (new (...args: never[]) => E) | ((reason: unknown) => boolean),
): Promise<E> {
  let reason: unknown;
  try {
    const value = await (typeof work === "function" ? work() : work);
    reason = new Error(`Expected a rejection, got ${inspect(value)}`);
  } catch (thrown) {
    if (fits(thrown, check)) return thrown as E; // What `check` accepted, or an Error.
    reason = new Error(`Rejected, but not as expected: ${inspect(thrown)}`, { cause: thrown });
  }
  throw reason;
}

function fits(thrown: unknown, check: unknown): boolean {
  if (typeof check !== "function") {
    return thrown instanceof Error && (!(check instanceof RegExp) || check.test(thrown.message));
  }
  const isErrorClass = check === Error || check.prototype instanceof Error;
  return isErrorClass ? thrown instanceof check : check(thrown) === true;
}

function hooks(once: (hook: Body) => void, each: Body[]): Hook {
  return Object.assign((hook: Body) => once(hook), { each: (hook: Body) => void each.push(hook) });
}

/** A hook's failure is kept here: uvu forgets what a `before` throws and calls the file passed. */
function aside(where: string, hook: Body): Promise<void> {
  return within(hookLimitMs, hook).catch((error) => fail(where, error));
}

async function within(limitMs: number, body: Body): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    if (limitMs !== Infinity) timer = setTimeout(() => reject(new Error(`not settled after ${limitMs} ms`)), limitMs);
  });
  try {
    // The body starts in a function of its own, so that a synchronous throw is a rejection too.
    await Promise.race([(async () => void (await body()))(), late]);
  } finally {
    clearTimeout(timer);
  }
}

function asError(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error(`threw something that is no Error: ${inspect(thrown)}`);
  // uvu splits the details of an error into lines, and stops the whole file at those of a ConnectError: a list.
  if (!("details" in thrown) || !Array.isArray(thrown.details)) return thrown;
  return Object.assign(new Error(thrown.message, { cause: thrown }), { stack: thrown.stack });
}

function fail(where: string, thrown: unknown): void {
  count.failed++;
  const error = asError(thrown);
  const compared = error instanceof assert.Assertion && error.operator !== "not" && "expects" in error
    ? ` expected ${brief(error.expects)}, got ${brief(error.actual)}`
    : "";
  const line = /[\w/.-]*\/(test\/[\w/.-]+\.ts:\d+)/.exec((error.stack ?? "").replaceAll(/.*harness\.ts.*/g, ""))?.[1];
  console.log(`\n# failed ${where}: ${oneLine(error.message)}${compared}${line ? ` at ${line}` : ""}`);
}

function brief(value: unknown): string {
  const text = inspect(value, { compact: true, breakLength: Infinity, depth: 4 });
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, " ").slice(0, 400);
}

function stray(kind: string, thrown: unknown): void {
  console.error(`\n${kind}${current && ` during "${current}"`}:`, thrown);
  fail(current || kind, new Error(`${kind}: ${oneLine(asError(thrown).message)}`, { cause: thrown }));
}

/** A process that something keeps alive is a leak: a timer, a socket or a server outlived its test. */
function lingering(): void {
  if (count.outstanding > 0) return;
  const held = process.getActiveResourcesInfo?.().join(", ") ?? "unknown";
  fail("after the last test", new Error(`the process is still alive ${lingerMs} ms later, held by: ${held}`));
  process.exit(1);
}

process.on("unhandledRejection", (reason) => stray("unhandled rejection", reason));
process.on("uncaughtException", (error) => stray("uncaught exception", error));
process.on("exit", () => {
  if (finished) return;
  finished = true;
  if (count.outstanding > 0) fail("at exit", new Error(`${count.outstanding} tests never finished`));
  else if (count.passed + count.failed + count.skipped === 0) fail("at exit", new Error("no test ran"));
  const ran = count.passed + count.failed + count.skipped;
  console.log(`# tests ${ran} passed ${count.passed} failed ${count.failed} skipped ${count.skipped}`);
  if (count.failed > 0) process.exitCode = 1;
});
