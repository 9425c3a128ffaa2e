import { create } from "@bufbuild/protobuf";
import type { Note } from "../fixtures/echo/gen/echo_pb.ts";
import { Code, ConnectError } from "@connectrpc/connect";
import { gzip } from "../../src/transport/gzip.ts";
import { encode, Input } from "../../src/transport/request.ts";
import { NoteSchema } from "../fixtures/echo/gen/echo_pb.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("request");

const plain = { binary: undefined, compressMinBytes: 100, compression: undefined, maxBytes: 200 };
const note = (length: number): Note => create(NoteSchema, { text: "x".repeat(length) });
const lost = new Error("lost");

test("a message goes as it is, or packed if it is large enough", async () => {
  const packing = { ...plain, compression: gzip };

  const [small, large] = [await encode(NoteSchema, note(97), packing), await encode(NoteSchema, note(98), packing)];
  const never = encode(NoteSchema, note(98), plain);

  assert.equal([small[0], small.length], [0, 104]);
  assert.equal([large[0], large.length < 100], [1, true]);
  assert.ok(never instanceof Uint8Array && never[0] === 0);
});

test("a message over the limit is refused by what it is unpacked", () => {
  const fits = encode(NoteSchema, note(197), plain);

  assert.ok(fits instanceof Uint8Array);
  for (const writing of [plain, { ...plain, compression: gzip }]) {
    assert.throws(
      () => encode(NoteSchema, note(198), writing),
      (error: unknown) => error instanceof ConnectError && error.code === Code.ResourceExhausted,
    );
  }
});

test("a message that does not encode is Connect's error", () => {
  const wrong = note(1);
  Object.assign(wrong, { $typeName: "another" });

  assert.throws(() => encode(NoteSchema, wrong, plain), /serialize binary: /);
});

/** An iterator that says what it is told. */
function told(log: unknown[], parts: readonly string[] = ["next", "return", "throw"]): AsyncIterable<{ text: string }> {
  const done = { done: true, value: undefined } as const;
  const all = {
    next: () => Promise.resolve({ done: false, value: { text: "a" } }),
    return: async () => {
      log.push("return");
      return await Promise.resolve(done);
    },
    throw: async (thrown: unknown) => {
      log.push(thrown);
      return await Promise.resolve(done);
    },
  };
  const iterator = Object.fromEntries(Object.entries(all).filter(([name]) => parts.includes(name)));
  return { [Symbol.asyncIterator]: () => iterator as unknown as AsyncIterator<{ text: string }> }; // It has a `next`.
}

test("an input yields whole messages, to its end", async () => {
  const input = new Input(
    NoteSchema,
    (async function* () {
      yield { text: "a" };
    })(),
  );
  const seen = [];

  for await (const { $typeName, text } of input) seen.push($typeName, text);

  assert.equal(seen, ["coppice.test.echo.Note", "a"]);
});

test("a loop that is left returns the caller's iterator, if that can", async () => {
  const log: unknown[] = [];
  for (const parts of [["next", "return"], ["next"]]) {
    for await (const _ of new Input(NoteSchema, told(log, parts))) break;
  }

  assert.equal(log, ["return"]);
});

test("a release tells the caller's iterator, begun or not, why and that it was all", async () => {
  const log: unknown[] = [];
  const begun = new Input(NoteSchema, told(log));
  await begun[Symbol.asyncIterator]().next();

  await begun.release(lost);
  await new Input(NoteSchema, told(log)).release(undefined);

  assert.equal(log, [lost, "return", "return"]);
});

test("a release bears an iterator that cannot, or that throws", async () => {
  await new Input(NoteSchema, told([], ["next"])).release(lost);
  await new Input(NoteSchema, {
    [Symbol.asyncIterator]: () => {
      throw lost;
    },
  }).release(lost);
  const own = (async function* () {
    yield { text: "a" };
  })();
  await new Input(NoteSchema, own).release(lost);

  assert.equal(await own.next(), { done: true, value: undefined });
});

test("gzip gives back what it was given, as plain bytes, and no more than it may", async () => {
  const bytes = new Uint8Array(1000);
  const packed = await gzip.compress(bytes);

  const back = await gzip.decompress(packed, 1000);
  const tooLarge = await rejects(gzip.decompress(packed, 999), ConnectError);
  const wrong = await rejects(gzip.decompress(Uint8Array.of(1), 1000), ConnectError);

  assert.equal([back.constructor, packed.constructor, back.length], [Uint8Array, Uint8Array, 1000]);
  assert.equal([tooLarge.code, wrong.code], [Code.ResourceExhausted, Code.Internal]);
});

test.run();
