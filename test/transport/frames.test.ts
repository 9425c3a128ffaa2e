import { Code, ConnectError } from "@connectrpc/connect";
import { seeded } from "../../src/testing/random.ts";
import { frame, FrameReader } from "../../src/transport/frames.ts";
import { assert, suite } from "../harness.ts";

const test = suite("frames");

/** What a reader makes of some chunks. */
function read(
  chunks: readonly Uint8Array[],
  maxBytes = 1000,
): { got: string[]; reader: FrameReader; views: Uint8Array[] } {
  const got: string[] = [];
  const views: Uint8Array[] = [];
  const reader = new FrameReader(maxBytes, (message, compressed) => {
    got.push(`${compressed ? "packed " : ""}${[...message].join()}`);
    views.push(message);
  });
  for (const chunk of chunks) reader.read(chunk);
  return { got, reader, views };
}

const joined = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));
const messages = [frame(Uint8Array.of(1, 2, 3), false), frame(new Uint8Array(), false), frame(Uint8Array.of(4), true)];
const whole = joined(...messages, frame(new Uint8Array(), true), frame(Uint8Array.of(5, 6), false));
const expected = ["1,2,3", "", "packed 4", "packed ", "5,6"];

test("a frame is a byte of flags, four of length, and the message", () => {
  assert.equal([...frame(Uint8Array.of(7, 8), true)], [1, 0, 0, 0, 2, 7, 8]);
  assert.equal([...frame(new Uint8Array(0x010203), false).subarray(0, 5)], [0, 0, 1, 2, 3]);
});

test("messages are whole wherever the wire cuts them, once or twice", () => {
  for (let one = 0; one <= whole.length; one++) {
    for (let two = one; two <= whole.length; two++) {
      const { got, reader } = read([whole.slice(0, one), whole.slice(one, two), whole.slice(two)]);

      assert.equal([got, reader.broken], [expected, false], `cut at ${one} and ${two}`);
    }
  }
});

test("messages are whole byte by byte, and in chunks of any length", () => {
  const random = seeded(1);
  for (let round = 0; round < 200; round++) {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < whole.length;) {
      const end = at + (round === 0 ? 1 : Math.floor(random() * 6));
      chunks.push(whole.slice(at, end));
      at = end;
    }

    assert.equal(read(chunks).got, expected, `round ${round}`);
  }
});

test("it is broken wherever a message has begun and not ended", () => {
  const ends = [0, 8, 13, 19, 24, 31];
  for (let end = 0; end <= whole.length; end++) {
    assert.is(read([whole.slice(0, end)]).reader.broken, !ends.includes(end), `after ${end} bytes`);
  }
});

test("a message inside a chunk is a view of it, one across chunks has bytes of its own", () => {
  const [inside] = read([whole]).views;
  const [across] = read([whole.slice(0, 6), whole.slice(6)]).views;

  assert.is(inside?.buffer, whole.buffer);
  assert.is(across?.buffer.byteLength, 3);
});

test("a message as large as may be is read, one byte more is refused from its length alone", () => {
  const large = frame(new Uint8Array(10), false);

  assert.is(read([large], 10).got.length, 1);
  for (const cut of [5, 4, 2]) {
    assert.throws(
      () => read([large.slice(0, cut), large.slice(cut, 5)], 9),
      (error: unknown) =>
        error instanceof ConnectError && error.code === Code.ResourceExhausted &&
        error.rawMessage === "message size 10 is larger than configured readMaxBytes 9",
    );
  }
});

test("four gigabytes are refused before anything is allocated for them", () => {
  const prefix = Uint8Array.of(0, 255, 255, 255, 255, 1);
  const large: number[] = [];
  const { Uint8Array: usual } = globalThis;
  const counting = new Proxy(usual, {
    construct: (target, args: [number], self: typeof usual) => {
      if (args[0] > 1000) large.push(args[0]);
      return Reflect.construct(target, args[0] > 1000 ? [0] : args, self) as object;
    },
  });

  Object.assign(globalThis, { Uint8Array: counting });
  try {
    for (const chunks of [[prefix], [prefix.slice(0, 3), prefix.slice(3)]]) {
      assert.throws(() => read(chunks), /message size 4294967295 is larger/);
    }
  } finally {
    Object.assign(globalThis, { Uint8Array: usual });
  }

  assert.equal(large, []);
});

test("flags that are none are refused, in one chunk or in two", () => {
  for (const flags of [2, 3, 128, 255]) {
    for (const cut of [0, 1, 3]) {
      const bytes = Uint8Array.of(flags, 0, 0, 0, 0);

      assert.throws(
        () => read([bytes.slice(0, cut), bytes.slice(cut)]),
        (error: unknown) =>
          error instanceof ConnectError && error.code === Code.Internal && /flags/.test(error.message),
      );
    }
  }
});

test.run();
