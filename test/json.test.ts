import { decode, encodeInput, encodeOutput, ordered, unwrap } from "../src/json.ts";
import { assert, suite } from "./harness.ts";
import { messageOf } from "./jwt.ts";

const test = suite("json");

const circle: Record<string, unknown> = { name: "circle" };
circle["deep"] = { list: [0, { circle }] };

for (
  const [what, value, text] of [
    ["an object", { total: 7 }, '{"total":7}'],
    ["an empty object", {}, "{}"],
    ["nothing", undefined, "{}"],
    ["null", null, '{"coppice:value":null}'],
    ["a text", "", '{"coppice:value":""}'],
    ["a number", 0, '{"coppice:value":0}'],
    ["a boolean", false, '{"coppice:value":false}'],
    ["an array", [1, [2]], '{"coppice:value":[1,[2]]}'],
    ["a text that looks like an object", '{"a":1}', '{"coppice:value":"{\\"a\\":1}"}'],
    ["an object that looks like a wrapped value", { "coppice:value": 1 }, '{"coppice:value":{"coppice:value":1}}'],
    ["one that holds such an object", { a: { "coppice:value": 1 } }, '{"a":{"coppice:value":1}}'],
    ["one with our key and others", { a: 1, "coppice:value": 2 }, '{"a":1,"coppice:value":2}'],
    ["a key of an object's own machinery", JSON.parse('{"__proto__":{"a":1}}'), '{"__proto__":{"a":1}}'],
  ] as const
) {
  test(`carries ${what} as an object, and gives it back as it was`, () => {
    const sent = encodeOutput(value);

    assert.is(sent, text);
    assert.is(encodeInput(value), text);
    assert.equal(decode(sent), value === undefined ? {} : value);
  });
}

test("carries an object without a prototype like any other", () => {
  const value = Object.assign(Object.create(null), { a: 1 });

  assert.is(encodeOutput(value), '{"a":1}');
});

test("carries an object whose first of several keys is ours and gives it back as it was", () => {
  const value = { "coppice:value": 2, a: 1 };

  const sent = encodeOutput(value);

  assert.equal(decode(sent), value);
});

test("leaves to toJSON() what it is for, at the top and below", () => {
  const date = new Date(0);

  assert.is(encodeOutput({ at: date }), '{"at":"1970-01-01T00:00:00.000Z"}');
  assert.is(encodeOutput(date), '{"coppice:value":"1970-01-01T00:00:00.000Z"}');
  assert.is(encodeOutput({ toJSON: () => ({ a: 1 }) }), '{"a":1}');
  assert.is(encodeOutput({ toJSON: () => undefined }), "{}");
});

test("leaves out what is undefined, and writes what is no number as null, as JSON does", () => {
  const text = encodeOutput({ a: undefined, b: [undefined], c: NaN, d: -0, e: Infinity });

  assert.is(text, '{"b":[null],"c":null,"d":0,"e":null}');
});

test("writes one object twice when it is there twice, for that is no circle", () => {
  const shared = { a: 1 };

  const text = encodeOutput({ x: shared, y: [shared, shared], z: { shared } });

  assert.is(text, '{"x":{"a":1},"y":[{"a":1},{"a":1}],"z":{"shared":{"a":1}}}');
});

for (
  const [what, value, message] of [
    [
      "a big integer",
      { sums: [{ total: 10n ** 20n }] },
      "sums[0].total is 100000000000000000000n, which JSON cannot carry",
    ],
    ["a function", { items: [1, () => 1] }, "items[1] is a function, which JSON cannot carry"],
    ["a symbol", { "my key": Symbol("x") }, '["my key"] is Symbol(x), which JSON cannot carry'],
    ["a circle", circle, "deep.list[1].circle holds itself, which JSON cannot carry"],
    ["a Map", { index: new Map([[1, 2]]) }, "index is a Map or a Set, of which JSON would carry nothing"],
    ["a Set", { index: new Set([1]) }, "index is a Map or a Set, of which JSON would carry nothing"],
    ["a null character", { a: { b: "x\0y" } }, "a.b has a null character in it, which the engine refuses"],
    [
      "a null character in a key",
      { "a\0": 1 },
      '["a\\u0000"] has a null character in its key, which the engine refuses',
    ],
    ["a nameless key", { "": { "": 1n } }, '[""][""] is 1n, which JSON cannot carry'],
    ["what comes after a deep branch", { a: { b: { c: [1] } }, d: 1n }, "d is 1n, which JSON cannot carry"],
    ["a key in another script", { "größe": 1n }, "größe is 1n, which JSON cannot carry"],
  ] as const
) {
  test(`refuses ${what}, and says where it is`, () => {
    const dot = message.startsWith("[") ? "" : ".";

    assert.is(messageOf(() => encodeOutput(value)), `output${dot}${message}`);
    assert.is(messageOf(() => encodeInput(value)), `input${dot}${message}`);
    assert.throws(() => encodeOutput(value), (error: unknown) => error instanceof TypeError);
  });
}

test("refuses what cannot be carried at the top, by the name of the whole", () => {
  assert.is(messageOf(() => encodeOutput(() => 1)), "output is a function, which JSON cannot carry");
  assert.is(messageOf(() => encodeInput(1n)), "input is 1n, which JSON cannot carry");
  assert.is(messageOf(() => encodeInput(Symbol("s"))), "input is Symbol(s), which JSON cannot carry");
  assert.is(messageOf(() => encodeOutput("\0")), "output has a null character in it, which the engine refuses");
  assert.is(messageOf(() => encodeOutput(new Map())), "output is a Map or a Set, of which JSON would carry nothing");
});

test("finds a null character that only toJSON() brings to light", () => {
  const act = () => encodeOutput({ a: { toJSON: () => "\0" } });

  assert.is(messageOf(act), "output.a has a null character in it, which the engine refuses");
});

test("carries a text that merely spells a null character, and never spells it in JSON", () => {
  for (const value of ["\\u0000", "\\\\u0000", "x\\\\\\u0000\\", "\\\\u0000\\u0000", "\\u00000"]) {
    const text = encodeOutput({ value });

    assert.not.ok(text.includes("\\u0000"), text);
    assert.equal(decode(text), { value });
  }
});

test("passes on what a toJSON() of the caller's throws", () => {
  const thrown = new RangeError("not now");
  const value = {
    toJSON() {
      throw thrown;
    },
  };

  assert.throws(() => encodeOutput(value), (error: unknown) => error === thrown);
});

test("refuses to read what is no JSON, with the reason as its cause", () => {
  for (const text of ["", "{", "undefined", "{'a':1}"]) {
    let caught: unknown;
    try {
      decode(text);
    } catch (error) {
      caught = error;
    }

    assert.ok(caught instanceof SyntaxError);
    assert.is(caught.message, "What should be an input or an output is no JSON");
    assert.ok(caught.cause instanceof SyntaxError);
  }
});

test("reads what other clients sent as it is", () => {
  assert.equal(decode("null"), null);
  assert.equal(decode('"x"'), "x");
  assert.equal(decode("[1]"), [1]);
  assert.equal(decode('{"value":1}'), { value: 1 });
});

test("unwraps once, and only an object of exactly our shape", () => {
  const inherited = Object.assign(Object.create({ "coppice:value": 1 }), { own: 2 });

  assert.is(unwrap({ "coppice:value": 1 }), 1);
  assert.equal(unwrap({ "coppice:value": { "coppice:value": 1 } }), { "coppice:value": 1 });
  assert.equal(unwrap({ "coppice:value": 1, other: 2 }), { "coppice:value": 1, other: 2 });
  assert.is(unwrap(inherited), inherited);
  for (const value of [null, undefined, 7, "coppice:value", true]) assert.is(unwrap(value), value);
});

test("says of a value that is nested too deeply to be put in order that it is", () => {
  const deep = decode(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);

  assert.throws(() => ordered(deep), (error: unknown) => {
    return error instanceof SyntaxError && error.message.endsWith("nested too deeply");
  });
});

test.run();
