import { durationText, named, priority, uuid } from "../src/ids.ts";
import { assert, suite } from "./harness.ts";
import { jwt, messageOf } from "./jwt.ts";

const test = suite("ids");

const id = "b1a6ac6a-5ec9-4d67-a5b4-5a7b1b0f9b1c";
const wanted = (value: unknown) => value as number; // What a caller without types may pass.

test("takes a UUID, and spells it as the engine does", () => {
  assert.is(uuid(id, "run id"), id);
  assert.is(uuid(id.toUpperCase(), "run id"), id);
});

for (
  const [value, shown] of [
    ["", '""'],
    [id.slice(1), `"${id.slice(1)}"`],
    [`${id}0`, `"${id}0"`],
    [` ${id}`, `" ${id}"`],
    [`${id}\n`, `"${id}\\n"`],
    [`{${id}}`, `"{${id}}"`],
    [id.replaceAll("-", ""), `"${id.replaceAll("-", "")}"`],
    [id.replace("b", "g"), `"${id.replace("b", "g")}"`],
    [undefined, "undefined"],
    [null, "null"],
    [7, "7"],
    [7n, "7n"],
    [true, "true"],
    [Symbol("x"), "Symbol(x)"],
    [[id], "an array"],
    [{ id }, "an object"],
    [Object.create(null), "an object"],
    [() => id, "a function"],
  ] as const
) {
  test(`refuses ${shown} as a UUID`, () => {
    assert.is(messageOf(() => uuid(value, "run id")), `run id must be a UUID, got ${shown}`);
    assert.throws(() => uuid(value, "run id"), (error: unknown) => error instanceof TypeError);
  });
}

test("shows no more of a bad value than a line holds, and never a token", () => {
  const token = jwt({ sub: "x".repeat(50) });

  assert.is(messageOf(() => uuid("x".repeat(500), "id")), `id must be a UUID, got "${"x".repeat(119)}…`);
  assert.is(messageOf(() => uuid(token, "id")), 'id must be a UUID, got "[token]"');
  assert.is(messageOf(() => uuid(token.slice(0, 40), "id")), 'id must be a UUID, got "[token]"');
  assert.is(messageOf(() => uuid(`Bearer ${token}`, "id")), 'id must be a UUID, got "Bearer [token]"');
});

test("takes the names that the engine takes", () => {
  for (const name of ["a", "A.b-c_9", "...", "0"]) assert.is(named(name, "task name"), name);
});

for (const name of ["", "my task", "a:b", "größe", "a\n", "a/b", "\u0000", 7, undefined, null, ["a"]]) {
  test(`refuses ${JSON.stringify(name)} as a name`, () => {
    const message = messageOf(() => named(name, "task name"));

    assert.match(message, /^task name must be made of letters, digits, "\.", "-" and "_", got \S/);
    assert.throws(() => named(name, "task name"), (error: unknown) => error instanceof TypeError);
  });
}

test("takes the three priorities, and refuses what is near them", () => {
  assert.equal([1, 2, 3].map(priority), [1, 2, 3]);
  for (
    const [value, shown] of [[0, "0"], [4, "4"], [1.5, "1.5"], [NaN, "NaN"], ["2", '"2"'], [undefined, "undefined"]]
  ) {
    assert.is(messageOf(() => priority(value)), `priority must be 1, 2 or 3, got ${String(shown)}`);
    assert.throws(() => priority(value), (error: unknown) => error instanceof RangeError);
  }
});

for (
  const [ms, text] of [
    [0, "0s"],
    [1, "1ms"],
    [999, "999ms"],
    [1000, "1s"],
    [1001, "1001ms"],
    [59_000, "59s"],
    [60_000, "1m"],
    [90_000, "90s"],
    [3_600_000, "1h"],
    [5_400_000, "90m"],
    [86_400_000, "24h"],
    [9_223_372_036_854, "9223372036854ms"],
  ] as const
) {
  test(`writes ${ms} ms as ${text}`, () => {
    assert.is(durationText(ms), text);
    assert.match(text, /^\d+(ms|s|m|h)$/);
  });
}

test("refuses durations that the engine could not read", () => {
  const rule = "timeoutMs must be whole milliseconds from 0 to 9223372036854, got";
  for (
    const [ms, shown] of [[-1, "-1"], [0.5, "0.5"], [NaN, "NaN"], [Infinity, "Infinity"], [1e21, "1e+21"]] as const
  ) {
    assert.is(messageOf(() => durationText(ms, "timeoutMs")), `${rule} ${shown}`);
    assert.throws(() => durationText(ms), (error: unknown) => error instanceof RangeError);
  }
  assert.is(messageOf(() => durationText(9_223_372_036_855, "timeoutMs")), `${rule} 9223372036855`);
  assert.is(messageOf(() => durationText(wanted("5s"), "timeoutMs")), `${rule} "5s"`);
  assert.is(messageOf(() => durationText(wanted(undefined))), `duration${rule.slice(9)} undefined`);
});

test.run();
