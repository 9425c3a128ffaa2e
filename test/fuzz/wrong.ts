import { Code } from "@connectrpc/connect";
import * as fc from "fast-check";
import { hush, token } from "./cases.ts";

/** Texts that break parsers: every kind of character, lone halves, controls, and more than anybody expects. */
export const text: fc.Arbitrary<string> = fc.oneof(
  fc.string(),
  fc.string({ unit: fc.nat(0x10ffff).map((point) => String.fromCodePoint(point)), maxLength: 8 }),
  fc.constantFrom(
    "",
    " ",
    "\0",
    "\r\nauthorization: Bearer x",
    "\ud800",
    "\udfff\ud800",
    "\u2028",
    "\ufeff{}",
    "__proto__",
    "constructor",
    "toString",
    "%",
    "%zz",
    "%ff%fe",
    "NaN",
    "-1",
    "1e999",
    "0x10",
    "null",
    "undefined",
    "[object Object]",
    "x".repeat(70_000),
  ),
);

/** JSON, nearly JSON, and what only looks like it. */
export const json: fc.Arbitrary<string> = fc.oneof(
  fc.json(),
  text,
  fc.json().map((whole) => whole.slice(0, -1)),
  fc.json().map((whole) => `${whole}}`),
  fc.constantFrom(
    `{"__proto__":{"polluted":1}}`,
    `{"constructor":{"prototype":{"polluted":1}}}`,
    `{"coppice:value":1}`,
    `{"coppice:value":{"coppice:value":null},"x":1}`,
    `{"message":{"message":1}}`,
    `{"message":""}`,
    `"\\u0000"`,
    "1e400",
    "-0",
    "[".repeat(50_000),
    `${"[".repeat(5000)}${"]".repeat(5000)}`,
    `${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`,
  ),
  fc.record({
    input: fc.json().map((one) => JSON.parse(one) as unknown),
    parents: fc.jsonValue(),
    triggers: fc.jsonValue(),
  }, { requiredKeys: [] }).map((payload) => JSON.stringify(payload)),
);

/** Bytes, and bytes of texts. */
export const bytes: fc.Arbitrary<Uint8Array<ArrayBuffer>> = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  json.map((one) => new TextEncoder().encode(one)),
);

/** The codes that there are. */
export const code: fc.Arbitrary<Code> = fc.constantFrom(
  ...Object.values(Code).filter((one): one is Code => typeof one === "number"),
);

/** Values of every type; none is what anybody asked for, but by accident. */
export const anything: fc.Arbitrary<unknown> = fc.oneof(
  fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true, withTypedArray: true }),
  text,
  fc.double(),
  fc.integer(),
  fc.constantFrom<unknown[]>(
    undefined,
    null,
    NaN,
    Infinity,
    -0,
    2 ** 53,
    1n,
    Symbol("x"),
    () => hush,
    new Date(NaN),
    new Proxy({}, {}),
    Object.create(null),
    new Error(token),
    Promise.resolve(1),
    [],
    {},
  ),
);

const hex = fc.string({ unit: fc.constantFrom(...Array.from("0123456789abcdefABCDEF")), minLength: 12, maxLength: 12 });

/** Ids that are none, and some that nearly are. */
export const wrongId: fc.Arbitrary<unknown> = fc.oneof(
  anything,
  fc.uuid().map((id) => ` ${id}`),
  fc.uuid().map((id) => `${id}\n`),
  fc.uuid().map((id) => `{${id}}`),
  fc.uuid().map((id) => id.replaceAll("-", "")),
  fc.uuid().map((id) => id.slice(1)),
  fc.uuid().map((id) => `${id}0`),
  fc.uuid().map((id) => [id]),
  fc.uuid().map((id) => ({ toString: () => id })),
  fc.uuid().map((id) => id.replace(/\d/, "g")),
  hex,
  fc.constant(token),
).filter((value) => typeof value !== "string" || !/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value));
