import { create, toBinary } from "@bufbuild/protobuf";
import type { Compression } from "@connectrpc/connect/protocol";
import { Messages } from "../../src/transport/messages.ts";
import type { Note } from "../fixtures/echo/gen/echo_pb.ts";
import { NoteSchema } from "../fixtures/echo/gen/echo_pb.ts";
import { assert, rejects, suite } from "../harness.ts";

const test = suite("messages");

/** A queue, and what it told its call; what breaks ends it, as a call does. */
function queue(): { messages: Messages<typeof NoteSchema>; told: unknown[] } {
  const told: unknown[] = [];
  const messages: Messages<typeof NoteSchema> = new Messages(
    { binary: undefined, maxBytes: 1_000_000, output: NoteSchema },
    {
      broken: (error) => {
        told.push("broken");
        messages.end(error);
        messages.drop(error);
      },
      drained: (failure) => told.push(["drained", failure]),
      paused: (paused) => told.push(paused ? "paused" : "resumed"),
    },
  );
  return { messages, told };
}

const bytes = (text: string): Uint8Array => toBinary(NoteSchema, create(NoteSchema, { text }));
const garbage = Uint8Array.of(0x0a, 9);
const lost = new Error("lost");
const left = new Error("left");

function said({ done, value }: IteratorResult<Note, undefined>): string {
  return done === true ? "done" : value.text;
}

/** A compression that takes until it is told. */
function slow(): { compression: Compression; finish: () => void } {
  let finish = () => {};
  const finished = new Promise<void>((resolve) => finish = resolve);
  const same = (all: Uint8Array) => finished.then(() => new Uint8Array(all));
  return { compression: { compress: same, decompress: same, name: "slow" }, finish };
}

test("what comes before anybody asks waits, and is read in order", async () => {
  const { messages, told } = queue();
  for (const text of ["a", "b"]) messages.deliver(bytes(text), false);
  messages.end();
  const before = [...told];

  const reads = [await messages.next(), await messages.next(), await messages.next()];

  assert.equal(reads.map(said), ["a", "b", "done"]);
  assert.equal([before, told], [[], [["drained", undefined]]]);
});

test("who asks before anything is here is given it as it comes, in order", async () => {
  const { messages } = queue();
  const asked = [messages.next(), messages.next(), messages.next(), messages.next()];

  messages.deliver(bytes("a"), false);
  messages.deliver(bytes("b"), false);
  messages.end();

  assert.equal((await Promise.all(asked)).map(said), ["a", "b", "done", "done"]);
});

test("a poll gives what is here, and nothing else", () => {
  const { messages } = queue();
  const none = messages.poll();
  messages.deliver(bytes("a"), false);
  messages.deliver(bytes("b"), true);

  const polled = [messages.poll()?.value.text, messages.poll()];

  assert.equal([none, ...polled], [undefined, "a", undefined]);
});

test("the last poll drains it", () => {
  const { messages, told } = queue();
  messages.deliver(bytes("a"), false);
  messages.end(lost);

  messages.poll();

  assert.equal(told, [["drained", lost]]);
});

test("a failure comes behind what waits, and again each time", async () => {
  const { messages, told } = queue();
  messages.deliver(bytes("a"), false);
  messages.end(lost);

  const first = await messages.next();
  const errors = [await rejects(messages.next()), await rejects(messages.next())];

  assert.equal([said(first), ...errors], ["a", lost, lost]);
  assert.equal(told, [["drained", lost]]);
});

test("a failure reaches all who ask already", async () => {
  const { messages } = queue();
  const asked = [rejects(messages.next()), rejects(messages.next())];

  messages.end(lost);

  assert.equal(await Promise.all(asked), [lost, lost]);
});

test("an abort comes before what waits, polled or not", async () => {
  const { messages, told } = queue();
  for (const text of ["a", "b"]) messages.deliver(bytes(text), false);

  messages.drop(left);

  assert.is(messages.poll(), undefined);
  assert.is(await rejects(messages.next()), left);
  assert.equal(told, [["drained", left]]);
});

test("an abort behind the end, with something to be read, is heard; behind all of it, it is not", async () => {
  const { messages, told } = queue();
  const over = queue();
  messages.deliver(bytes("a"), false);
  for (const one of [messages, over.messages]) one.end();

  for (const one of [messages, over.messages]) one.drop(left);

  assert.is(await rejects(messages.next()), left);
  assert.is(said(await over.messages.next()), "done");
  assert.equal([told, over.told], [[["drained", left]], [["drained", undefined]]]);
});

test("an abort while a message is unpacked comes before it", async () => {
  const { messages, told } = queue();
  const { compression, finish } = slow();
  messages.compression = compression;
  messages.deliver(bytes("a"), true);
  const reading = rejects(messages.next());

  messages.drop(left);
  finish();

  assert.is(await reading, left);
  assert.equal(told.at(-1), ["drained", left]);
});

test("nothing is drained while a message is unpacked, and one that does not decode fails what ended well", async () => {
  const { messages, told } = queue();
  const { compression, finish } = slow();
  messages.compression = compression;
  const reading = rejects(messages.next(), /parse binary/);
  messages.deliver(garbage, true);
  messages.end();
  const before = [...told];

  finish();
  const error = await reading;

  assert.equal(before, []);
  assert.is(await rejects(messages.next()), error);
  assert.equal(told, ["broken", ["drained", error]]);
});

test("what does not decode breaks it, whether it waited or was waited for, polled or not", async () => {
  const [waits, asked, polled] = [queue(), queue(), queue()];
  for (const { messages } of [waits, polled]) {
    messages.deliver(garbage, false);
    messages.deliver(bytes("b"), false);
  }
  const asking = rejects(asked.messages.next(), /parse binary/);

  asked.messages.deliver(garbage, false);
  const none = polled.messages.poll();
  const errors = [await rejects(waits.messages.next()), await asking, await rejects(polled.messages.next())];

  assert.is(none, undefined);
  for (const error of errors) assert.match(error.message, /parse binary/);
  for (const { told } of [waits, asked, polled]) assert.is(told[0], "broken");
});

test("what is packed without an encoding breaks it", async () => {
  const { messages, told } = queue();
  messages.deliver(bytes("a"), true);

  await rejects(messages.next(), /without an encoding/);

  assert.is(told[0], "broken");
});

test("reading pauses when 256 KiB wait, and goes on when half of them are read", async () => {
  const { messages, told } = queue();
  const large = bytes("x".repeat(1024 - 64 - 3)); // 1024 as it is counted.

  for (let n = 0; n < 256; n++) messages.deliver(large, false);
  const full = [...told];
  for (let n = 0; n < 3; n++) messages.deliver(large, false);
  const over = [...told];
  for (let n = 0; n < 130; n++) await messages.next();
  const half = [...told];
  await messages.next();

  assert.equal([full, over, half, told], [[], ["paused"], ["paused"], ["paused", "resumed"]]);
});

test("a flood of empty messages pauses it too", () => {
  const { messages, told } = queue();

  for (let n = 0; n < 4097; n++) messages.deliver(new Uint8Array(), false);

  assert.equal(told, ["paused"]);
});

test("what comes behind the end is nobody's", async () => {
  const { messages } = queue();
  messages.end();
  messages.end(lost);

  messages.deliver(bytes("a"), false);

  assert.is(said(await messages.next()), "done");
});

test.run();
