import { toConditions, toMatches } from "../../src/listeners/durable-conditions.ts";
import type { DurableCondition } from "../../src/listeners/durable-conditions.ts";
import { assert, suite } from "../harness.ts";

const test = suite("durable conditions");
const uuids = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

test("rule R40: every condition has a base and a group of its own, which is a UUID", () => {
  const wire = toConditions([{ sleepMs: 1000 }, { event: "paid" }, { event: "paid", key: "again" }], "");

  const bases = [...wire.sleepConditions, ...wire.userEventConditions].map(({ base }) => base);
  assert.equal(bases.map((base) => base?.readableDataKey), ["sleep:1s", "paid", "again"]);
  for (const base of bases) assert.match(base?.orGroupId ?? "", uuids);
  assert.is(new Set(bases.map((base) => base?.orGroupId)).size, 3);
});

test("alternatives share a group", () => {
  const wire = toConditions([{ anyOf: [{ sleepMs: 90_000 }, { event: "paid" }] }, { event: "sent" }], "");

  const [sleep] = wire.sleepConditions;
  const [paid, sentOff] = wire.userEventConditions;
  assert.is(sleep?.sleepFor, "90s");
  assert.is(sleep?.base?.orGroupId, paid?.base?.orGroupId);
  assert.is.not(sentOff?.base?.orGroupId, paid?.base?.orGroupId);
});

test("one condition needs no list; an event's key has the namespace, its match's key has not", () => {
  const since = new Date(1_700_000_000_123);

  const wire = toConditions({ event: "paid", expression: "input.amount > 0", scope: "eu", since }, "prod_");

  const [paid] = wire.userEventConditions;
  assert.equal([paid?.userEventKey, paid?.base?.readableDataKey], ["prod_paid", "paid"]);
  assert.equal([paid?.base?.expression, paid?.eventScope], ["input.amount > 0", "eu"]);
  assert.equal([paid?.considerEventsSince?.seconds, paid?.considerEventsSince?.nanos], [1_700_000_000n, 123_000_000]);
});

for (
  const [name, conditions, message] of [
    ["no condition at all", [], /conditions must not be empty/],
    ["no alternative at all", [{ anyOf: [] }], /anyOf must be a list/],
    ["a condition that is none", [{}], /must have sleepMs, event or anyOf, got an object/],
    ["a condition that is two", [{ sleepMs: 1, event: "paid" }], /must have sleepMs, event or anyOf/],
    ["nothing", [null], /must have sleepMs, event or anyOf, got null/],
    ["half a millisecond", { sleepMs: 0.5 }, /sleepMs must be whole milliseconds/],
    ["an event without a key", { event: "" }, /event must be a text/],
    ["a match without a key", { event: "paid", key: "" }, /key must be a text/],
    ["a look back without a scope", { event: "paid", since: new Date(0) }, /since needs a scope/],
    ["a date that is none", { event: "paid", scope: "eu", since: new Date(NaN) }, /since must be a date/],
  ] as const
) {
  test(`${name} is refused`, () => {
    assert.throws(() => toConditions(conditions as unknown as DurableCondition[], ""), message);
  });
}

test("matches without a list, or none at all, are read all the same", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);

  assert.equal(toMatches(bytes(`{"CREATE":{"a":[{"b":1}],"c":{"d":2}}}`)), { a: [{ b: 1 }], c: [{ d: 2 }] });
  assert.equal([bytes("{}"), bytes("null"), bytes("7"), new Uint8Array()].map(toMatches), [{}, {}, {}, {}]);
  assert.throws(() => toMatches(bytes("{")), /no JSON/);
});

test.run();
