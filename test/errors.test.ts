import { ConfigError, failureText, RunCancelledError, RunFailedError } from "../src/errors.ts";
import { assert, suite } from "./harness.ts";

const test = suite("errors");

const runId = "b1a6ac6a-5ec9-4d67-a5b4-5a7b1b0f9b1c";
const failure = (message: string, task = "report") => ({ task, taskId: "t1", message });

test("says which run failed, which task of it, and what that said", () => {
  const failures = [failure("disk full")];

  const error = new RunFailedError(runId, failures);

  assert.is(error.message, `Run ${runId} failed: task report: disk full`);
  assert.is(error.name, "RunFailedError");
  assert.is(error.runId, runId);
  assert.is(error.failures, failures);
  assert.match(error.stack ?? "", /disk full/);
});

test("speaks of the first failure with a text, and counts the others", () => {
  const two = new RunFailedError(runId, [failure("", "a"), failure("boom", "b")]);
  const three = new RunFailedError(runId, [failure("boom", "b"), failure("bang", "c"), failure("", "d")]);

  assert.is(two.message, `Run ${runId} failed: task b: boom (and 1 more task)`);
  assert.is(three.message, `Run ${runId} failed: task b: boom (and 2 more tasks)`);
});

test("says no more than it knows", () => {
  assert.is(new RunFailedError(runId, []).message, `Run ${runId} failed`);
  assert.is(new RunFailedError(runId, [failure("")]).message, `Run ${runId} failed`);
  assert.is(new RunCancelledError(runId, []).message, `Run ${runId} was cancelled`);
});

test("keeps a message on one line of bounded length, and the whole text beside it", () => {
  const text = `\nTypeError: ${"x".repeat(1000)}\r\n  at line 1`;

  const error = new RunFailedError(runId, [failure(text)]);

  assert.is(error.message, `Run ${runId} failed: task report: TypeError: ${"x".repeat(289)}…`);
  assert.is(error.failures[0]?.message, text);
});

test("says what a cancelled run's tasks had said before", () => {
  const error = new RunCancelledError(runId, [failure("too late")]);

  assert.is(error.message, `Run ${runId} was cancelled: task report: too late`);
  assert.is(error.name, "RunCancelledError");
  assert.is(error.runId, runId);
  assert.equal(error.failures, [failure("too late")]);
});

test("names the option and the variable of a bad setting, or the one that there is", () => {
  const both = new ConfigError({ option: "tenantId", variable: "HATCHET_CLIENT_TENANT_ID" }, "must be a UUID");
  const option = new ConfigError({ option: "logger" }, "must be false");
  const variable = new ConfigError({ variable: "HATCHET_CLIENT_NO_RETRY" }, "must be true or false");
  const neither = new ConfigError({}, "is broken");

  assert.is(both.message, "tenantId (HATCHET_CLIENT_TENANT_ID) must be a UUID");
  assert.is(both.name, "ConfigError");
  assert.equal([both.option, both.variable], ["tenantId", "HATCHET_CLIENT_TENANT_ID"]);
  assert.is(option.message, "logger must be false");
  assert.equal([option.option, option.variable], ["logger", undefined]);
  assert.is(variable.message, "HATCHET_CLIENT_NO_RETRY must be true or false");
  assert.is(neither.message, "The configuration is broken");
});

test("keeps the cause when there is one, and has none otherwise", () => {
  const cause = new Error("ENOENT");

  assert.is(new ConfigError({}, "x", { cause }).cause, cause);
  assert.is(new RunFailedError(runId, [], { cause }).cause, cause);
  assert.is(new RunCancelledError(runId, [], { cause }).cause, cause);
  assert.not("cause" in new ConfigError({}, "x"));
  assert.not("cause" in new RunFailedError(runId, []));
});

for (
  const [name, own, args] of [
    ["ConfigError", ConfigError, [{}, "x"]],
    ["RunFailedError", RunFailedError, [runId, []]],
    ["RunCancelledError", RunCancelledError, [runId, []]],
  ] as const
) {
  const make = (kind: typeof own = own): unknown => Reflect.construct(kind, args);

  test(`knows the ${name} of another installed copy, and nothing else`, () => {
    const foreign = Object.defineProperty(new Error("x"), Symbol.for(`coppice.${name}`), { value: true });
    const others = [ConfigError, RunFailedError, RunCancelledError].filter((other) => other !== own);

    assert.ok(make() instanceof own);
    assert.ok(make() instanceof Error);
    assert.ok(foreign instanceof own);
    for (const value of [new Error("x"), { name }, name, null, undefined, 7, () => {}]) {
      assert.not((value as unknown) instanceof own); // Whatever a catch clause may hold.
    }
    for (const other of others) assert.not(make() instanceof other);
  });

  test(`does not take every ${name} for a subclass of somebody's`, () => {
    const Narrower = class extends (own as typeof ConfigError) {}; // Which of them does not matter here.

    assert.not(make() instanceof Narrower);
    assert.ok(Reflect.construct(Narrower, args) instanceof Narrower);
    assert.ok(Reflect.construct(Narrower, args) instanceof own);
  });
}

for (
  const [what, payload, text] of [
    ["an object with a message", '{"message":"disk full","stack":"Error: disk full"}', "disk full"],
    ["a JSON string", '"disk full"', "disk full"],
    ["a JSON string with escapes", '"line 1\\nline \\u0032"', "line 1\nline 2"],
    ["plain text", "task timed out", "task timed out"],
    ["a traceback with JSON behind it", 'Error: x\n\n{"a":1}', 'Error: x\n\n{"a":1}'],
    ["an empty text", "", ""],
    ["a number", "42", "42"],
    ["null", "null", "null"],
    ["an array", '["message"]', '["message"]'],
    ["an object without a message", '{"error":"x"}', '{"error":"x"}'],
    ["an object whose message is none", '{"message":7}', '{"message":7}'],
    ["an object whose message is empty", '{"message":""}', '{"message":""}'],
    ["an empty JSON string", '""', '""'],
    ["a message that is only inherited", '{"__proto__":{"message":"x"}}', '{"__proto__":{"message":"x"}}'],
    ["broken JSON", '{"message":"x"', '{"message":"x"'],
  ] as const
) {
  test(`reads what a task said from ${what}`, () => {
    assert.is(failureText(payload), text);
  });
}

test("reads a text nested deeper than any stack as it is", () => {
  const payload = "[".repeat(200_000) + "]".repeat(200_000);

  const text = failureText(payload);

  assert.is(text, payload);
});

test.run();
