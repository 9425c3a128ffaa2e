import { Code, ConnectError, createContextKey, createContextValues } from "@connectrpc/connect";
import { Echo } from "../fixtures/echo/gen/echo_pb.ts";
import { suite } from "../harness.ts";
import { head } from "./frames.ts";
import { all, bytesOf, everyKind, hear, heed, note, open, rows, texts, told } from "./grpc.ts";
import { answer, pause, until } from "./server.ts";

const test = suite("grpc calls");

const echo = {
  unary: ({ text }: { text: string }) => ({ text: `<${text}>` }),
  async *down({ text }: { text: string }) {
    for (const n of [1, 2, 3]) yield { text: `${text}${n}` };
  },
  up: async (notes: AsyncIterable<{ text: string }>) => {
    const heard: string[] = [];
    for await (const { text } of notes) heard.push(text);
    return { text: heard.join("+") };
  },
  async *both(notes: AsyncIterable<{ text: string }>) {
    for await (const { text } of notes) yield { text: `<${text}>` };
  },
};

const key = createContextKey("nothing");

rows(test, {
  "all four kinds of call": {
    serve: () => ({ routes: echo }),
    play: everyKind,
    seen: ["<u>", "d1", "d2", "d3", "ended", "a+b", "<a>", "<b>", "ended"],
  },
  "both ways at once: each answer is read before the next request goes": {
    serve: () => ({ routes: echo }),
    async play({ client, log }) {
      let answered = () => {};
      const requests = (async function* () {
        for (const text of ["a", "b", "c"]) {
          yield { text };
          await new Promise<void>((resolve) => answered = resolve);
        }
      })();
      for await (const { text } of client.both(requests)) {
        log.push(text);
        answered();
      }
    },
    seen: ["<a>", "<b>", "<c>"],
  },
  "a request that ends first, and an answer that goes on": {
    serve: () => ({
      routes: {
        async *both(notes) {
          const text = await all(notes);
          for (const n of [1, 2]) yield { text: `${text} ${n}` };
        },
      },
    }),
    play: ({ client, log }) => heed(log, client.both(texts("a", "b"))),
    seen: ["a,b 1", "a,b 2", "ended"],
  },
  "an answer that ends first lets go of the request": {
    serve: () => ({
      handle: (stream) => {
        stream.once("data", () => answer(stream, [note("enough")], 0));
      },
    }),
    async play({ client, log }) {
      await heed(log, client.both(open(log, "a")));
      await until(() => log.includes("request return()"));
      log.sort();
    },
    seen: ["ended", "enough", "request return()"],
  },
  "an answer that fails lets go of the request, and says why": {
    serve: () => ({
      routes: {
        // deno-lint-ignore require-yield
        async *both(notes) {
          for await (const { text } of notes) {
            if (text === "a") throw new ConnectError("no", Code.NotFound);
            yield { text };
          }
        },
      },
    }),
    async play({ client, log }) {
      await heed(log, client.both(open(log, "a")));
      await until(() => log.includes("request return()"));
      log.sort();
    },
    seen: ["NotFound: no", "request return()", "request throw(NotFound: no)"],
  },
  "a request that throws breaks the call": {
    serve: () => ({
      routes: {
        async *both(notes) {
          yield { text: await all(notes) };
        },
      },
    }),
    async play({ client, log }) {
      const thrown = new Error("mine");
      const requests = (async function* () {
        yield { text: "a" };
        throw thrown;
      })();
      const error = await client.both(requests)[Symbol.asyncIterator]().next().catch((reason: unknown) => reason);
      log.push(error instanceof ConnectError && error.cause === thrown ? "as its cause" : "lost", told(error));
    },
    seen: ["as its cause", "Internal: mine"],
  },
  "headers go and come, more than one of a name, and binary ones": {
    serve: (log) => ({
      routes: {
        unary(_, { requestHeader, responseHeader, responseTrailer }) {
          for (const name of ["x-one", "x-many", "x-raw-bin"]) log.push(`${name}: ${requestHeader.get(name)}`);
          responseHeader.append("x-many", "c");
          responseHeader.append("x-many", "d");
          responseTrailer.set("x-end", "e");
          return {};
        },
      },
    }),
    async play({ client, log }) {
      const headers = new Headers({ "x-one": "1", "x-raw-bin": "AAECAw" });
      for (const value of ["a", "b"]) headers.append("x-many", value);
      await client.unary({}, {
        headers,
        onHeader: (header) => log.push(`header ${header.get("x-many")}`),
        onTrailer: (trailer) => log.push(`trailer ${trailer.get("x-end")} ${trailer.get("grpc-status")}`),
      });
    },
    seen: ["x-one: 1", "x-many: a, b", "x-raw-bin: AAECAw", "header c, d", "trailer e 0"],
  },
  "headers are told when they come, trailers when the loop ends": {
    serve: () => ({
      routes: {
        async *down(_, { responseHeader, responseTrailer }) {
          responseHeader.set("x-begin", "b");
          responseTrailer.set("x-end", "e");
          yield { text: "a" };
          yield { text: "b" };
        },
      },
    }),
    play: ({ client, log }) =>
      heed(
        log,
        client.down({}, {
          onHeader: (header) => log.push(`header ${header.get("x-begin")}`),
          onTrailer: (trailer) => log.push(`trailer ${trailer.get("x-end")}`),
        }),
      ),
    seen: ["header b", "a", "b", "trailer e", "ended"],
  },
  "what a call is made with on the wire": {
    serve: (log) => ({
      handle: (stream, headers) => {
        for (const name of [":method", ":path", ":scheme", "content-type", "te", "grpc-accept-encoding"]) {
          log.push(`${headers[name]}`);
        }
        answer(stream, [note("a")], 0);
      },
    }),
    options: () => ({ acceptCompression: [] }),
    play: ({ client, log }) => hear(log, client.unary({})),
    seen: ["POST", "/coppice.test.echo.Echo/Unary", "http", "application/grpc+proto", "trailers", "undefined", "a"],
  },
  "context values reach the interceptors": {
    serve: () => ({ routes: echo }),
    options: (log) => ({
      interceptors: [(next) => (request) => {
        log.push(request.contextValues.get(key));
        return next(request);
      }],
    }),
    play: (stage) => everyKind(stage, { contextValues: createContextValues().set(key, "mine") }),
    seen: ["mine", "<u>", "mine", "d1", "d2", "d3", "ended", "mine", "a+b", "mine", "<a>", "<b>", "ended"],
  },
  "two pending next() are answered in order, and after the end each is": {
    serve: () => ({
      handle: (stream) => {
        answer(stream, [], 0);
      },
    }),
    async play({ log, raw, transport }) {
      raw!.handle = (stream) => {
        stream.respond(head, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        void pause(20).then(() => stream.write(note("a"))).then(() => pause(10)).then(() => stream.end(note("b")));
      };
      const { down } = Echo.method;
      const { message } = await transport.stream(down, undefined, undefined, undefined, texts("x"));
      const notes = message[Symbol.asyncIterator]();
      const reads = await Promise.all([notes.next(), notes.next(), notes.next()]);
      for (const { value } of [...reads, await notes.next()]) log.push(value?.text ?? "done");
    },
    seen: ["a", "b", "done", "done"],
  },
  "messages before a failure are handed on before it, and next() after it fails again": {
    serve: () => ({ handle: (stream) => answer(stream, [note("a"), note("b")], 5) }),
    async play({ log, transport }) {
      const { down } = Echo.method;
      const { message } = await transport.stream(down, undefined, undefined, undefined, texts("x"));
      const notes = message[Symbol.asyncIterator]();
      await pause(30);
      for (let reads = 0; reads < 4; reads++) {
        log.push(await notes.next().then(({ value }) => value?.text ?? "done", told));
      }
    },
    seen: ["a", "b", "NotFound: ", "NotFound: "],
    differs: "connect-node forgets the status when it comes while nobody reads",
    on: ["node", "bun"],
  },
  "a stream without a message is one": {
    serve: () => ({ handle: (stream) => answer(stream, [], 0) }),
    play: async ({ client, log }) => {
      await heed(log, client.down({}));
      await heed(log, client.both(texts()));
    },
    seen: ["ended", "ended"],
  },
  "a request without a message is one": {
    serve: () => ({ routes: echo }),
    play: async ({ client, log }) => {
      await hear(log, client.up(texts()));
      await heed(log, client.both(texts()));
    },
    seen: ["", "ended"],
  },
  "a server stream whose request is several messages": {
    serve: (log) => ({
      handle: (stream) => {
        let bytes = 0;
        stream.on("data", (chunk: Uint8Array) => bytes += chunk.length);
        stream.once("end", () => {
          log.push(`${bytes} bytes`);
          answer(stream, [note("a")], 0);
        });
      },
    }),
    async play({ log, transport }) {
      const { message } = await transport.stream(Echo.method.down, undefined, undefined, undefined, texts("x", "yz"));
      await heed(log, message);
    },
    seen: ["17 bytes", "a", "ended"],
  },
  "messages cut anywhere between frames are whole, empty ones too": {
    serve: () => ({
      frames: (connection, id) => {
        connection.headers(id, head);
        const bytes = Uint8Array.from([note("a"), note(""), note("b".repeat(300))].flatMap((one) => [...one]));
        for (let at = 0; at < bytes.length; at += 3) connection.data(id, bytes.subarray(at, at + 3));
        connection.headers(id, { "grpc-status": "0" }, true);
      },
    }),
    play: ({ client, log }) => heed(log, client.down({})),
    seen: ["a", "", "b".repeat(300), "ended"],
  },
  "a message that does not decode fails the call, behind those that do": {
    serve: () => ({
      handle: (stream) => answer(stream, [note("a"), Uint8Array.of(0, 0, 0, 0, 2, 0x0a, 9), note("b")], 0),
    }),
    play: async ({ client, log }) => {
      await heed(log, client.down({}));
    },
    seen: ["a", "Internal: parse binary: premature EOF"],
  },
  "large messages both ways": {
    serve: () => ({ routes: { unary: ({ body }) => ({ body }) } }),
    async play({ client, log }) {
      const body = Uint8Array.from({ length: 2_000_000 }, (_, at) => at % 251);
      const answer = await client.unary({ body });
      log.push(String(Buffer.compare(answer.body, body)), String(bytesOf("").length));
    },
    seen: ["0", "0"],
  },
});

test.run();
