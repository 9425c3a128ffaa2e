import { task } from "../../src/mod.ts";
import type { Context } from "../../src/mod.ts";
import { assert, rejects, suite } from "../harness.ts";
import { Stage } from "./client.ts";

const test = suite("effects");

/** Runs one task to its end, and hands back the engine that saw it. */
async function during(body: (context: Context) => Promise<unknown>, retries = 0): Promise<Stage> {
  const stage = await Stage.open();
  const client = stage.client();
  const one = task({ name: "one", retries, run: (_: unknown, context) => body(context) });
  await stage.worker(client, one);
  await client.runs.run(one, {});
  return stage;
}

test("pieces of a stream go out in the order in which they were put, with rising indices and times", async () => {
  const stage = await during(async ({ putStream }) => {
    await Promise.all(["a", "b", "c"].map((text) => putStream(text)));
  });

  const { chunks } = stage.engine.seen;
  assert.equal(chunks.map(({ text }) => text), ["a", "b", "c"]);
  assert.equal(chunks.map(({ index }) => index), [0n, 1n, 2n]);
  await stage.close();
});

test("a long piece is cut where no character is torn, into pieces that the engine passes on quickly", async () => {
  const text = "ä€😀x".repeat(1500);

  const stage = await during(({ putStream }) => putStream(text));

  const { chunks } = stage.engine.seen;
  assert.is(chunks.map((chunk) => chunk.text).join(""), text);
  assert.ok(chunks.every((chunk) => new TextEncoder().encode(chunk.text).length <= 4000));
  await stage.close();
});

test("a later attempt puts without indices: they would be taken for what was there before", async () => {
  const stage = await during(async ({ attempt, putStream }) => {
    await putStream(`try ${attempt}`);
    if (attempt === 0) throw new Error("once more");
  }, 1);

  assert.equal(stage.engine.seen.chunks.map(({ index, text }) => [text, index]), [["try 0", 0n], ["try 1", undefined]]);
  await stage.close();
});

test("a task logs, asks for more time, and gives its slot back", async () => {
  let deadline: Date | undefined;

  const stage = await during(async ({ log, refreshTimeout, releaseSlot }) => {
    await log("half way", "WARN");
    deadline = await refreshTimeout(90_000);
    await releaseSlot();
  });

  assert.equal(stage.engine.seen.logs.map(({ level, message }) => [level, message]), [["WARN", "half way"]]);
  assert.ok(deadline !== undefined && deadline.getTime() > Date.now() + 60_000);
  assert.is(stage.engine.seen.count("ReleaseSlot"), 1);
  await stage.close();
});

test("an event triggers the tasks that wait for its key", async () => {
  const stage = await Stage.open();
  const client = stage.client();
  const seen: unknown[] = [];
  const ran = Promise.withResolvers<void>();
  const onOrder = task({
    name: "on-order",
    onEvents: ["order:new"],
    run: (input: unknown) => {
      seen.push(input);
      ran.resolve();
    },
  });
  await stage.worker(client, onOrder);

  const { id, key } = await client.events.push("order:new", { order: 7 }, { metadata: { shop: "a" }, priority: 3 });
  await ran.promise;

  assert.equal([key, typeof id, seen], ["order:new", "string", [{ order: 7 }]]);
  await stage.close();
});

test("many events go in as few calls as the engine takes them in, and come back in their order", async () => {
  const stage = await Stage.open();
  const client = stage.client();
  const many = Array.from({ length: 1200 }, (_, n) => ({ key: `k${n}`, payload: { n } }));
  const large = Array.from({ length: 5 }, (_, n) => ({ key: `l${n}`, payload: { text: "x".repeat(2 ** 20) } }));

  const pushed = await client.events.pushAll(many);
  const before = stage.engine.seen.count("BulkPush");
  const heavy = await client.events.pushAll(large);

  assert.equal(pushed.map(({ key }) => key), many.map(({ key }) => key));
  assert.equal([before, heavy.length, stage.engine.seen.count("BulkPush")], [3, 5, 5]);
  await stage.close();
});

test("an event without a key, or of no priority, is refused before any I/O", async () => {
  const stage = await Stage.open();
  const client = stage.client();

  const keyless = await rejects(client.events.push(""), TypeError);
  const urgent = await rejects(client.events.pushAll([{ key: "a", priority: 9 }]), RangeError);

  assert.match(keyless.message, "key must be a text that is not empty");
  assert.match(urgent.message, "priority must be 1, 2 or 3");
  assert.is(stage.engine.seen.calls().length, 0);
  await stage.close();
});

test.run();
