import type { Interceptor, StreamResponse, UnaryResponse } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import type { Note } from "../fixtures/echo/gen/echo_pb.ts";
import { NoteSchema } from "../fixtures/echo/gen/echo_pb.ts";
import { suite } from "../harness.ts";
import type { Serve } from "./grpc.ts";
import { all, everyKind, hear, heed, note, open, rows, texts, told } from "./grpc.ts";
import { answer, pause, trailersOnly, until } from "./server.ts";

const test = suite("grpc interceptors");

/** Answers whatever it is sent, and says what it was asked with. */
function echo(log: string[]): Serve {
  return {
    routes: {
      unary: ({ text }, { requestHeader }) => {
        log.push(`served ${requestHeader.get("x-by")}`);
        return { text };
      },
      async *down({ text }, { requestHeader, responseHeader, responseTrailer }) {
        log.push(`served ${requestHeader.get("x-by")}`);
        responseHeader.set("x-begin", "b");
        responseTrailer.set("x-end", "e");
        yield { text };
      },
      async *both(notes) {
        for await (const { text } of notes) yield { text };
      },
    },
  };
}

const named = (name: string, log: string[]): Interceptor => (next) => async (request) => {
  log.push(`${name} in`);
  request.header.append("x-by", name);
  const response = await next(request);
  log.push(`${name} out`);
  return response;
};

/** Calls `act` with each message that passes. */
async function* through<T>(messages: AsyncIterable<T>, act: (message: T) => void): AsyncGenerator<T, void> {
  for await (const message of messages) {
    act(message);
    yield message;
  }
}

/** Whole notes, as interceptors pass them. */
async function* notes(...all: string[]): AsyncGenerator<Note, void> {
  for (const text of all) yield create(NoteSchema, { text });
}

/** Fails the first time. */
function fickle(): Serve {
  let calls = 0;
  return {
    handle: (stream) => {
      if (calls++ % 2 === 0) trailersOnly(stream, 14, "again");
      else stream.once("end", () => answer(stream, [note("a")], 0));
    },
  };
}

rows(test, {
  "the first is the outermost": {
    serve: echo,
    options: (log) => ({ interceptors: [named("first", log), named("second", log)] }),
    async play({ client, log }) {
      await hear(log, client.unary({ text: "u" }));
      await heed(log, client.down({ text: "d" }));
    },
    seen: ["u", "d"].flatMap((text) => [
      "first in",
      "second in",
      "served first, second",
      "second out",
      "first out",
      text,
    ]).concat("ended"),
  },
  "requests and responses may be spread": {
    serve: echo,
    options: (log) => ({
      interceptors: [(next) => async (request) => {
        const response = await next({ ...request });
        return { ...response, header: new Headers({ "x-mine": "m", ...Object.fromEntries(response.header) }) };
      }, (next) => async (request) => {
        const response = { ...await next(request) };
        if (!response.stream) return response;
        return {
          ...response,
          message: through(response.message, () => log.push("passes")),
        };
      }],
    }),
    play: ({ client, log }) =>
      heed(
        log,
        client.down({ text: "d" }, {
          onHeader: (header) => log.push(`${header.get("x-mine")}${header.get("x-begin")}`),
          onTrailer: (trailer) => log.push(`trailer ${trailer.get("x-end")}`),
        }),
      ),
    seen: ["served null", "mb", "passes", "d", "trailer e", "ended"],
  },
  "what they see of a request": {
    serve: echo,
    options: (log) => ({
      interceptors: [(next) => async (request) => {
        const { method, requestMethod, service, signal, stream, url } = request;
        log.push(
          `${service.typeName} ${method.name} ${requestMethod} ${stream} ${new URL(url).pathname} ${signal.aborted}`,
        );
        const response = await next(request);
        log.push(`${response.service.typeName} ${response.method.name} ${response.stream} ${signal.aborted}`);
        return response;
      }],
    }),
    play: async ({ client }) => void await client.unary({}),
    seen: [
      "coppice.test.echo.Echo Unary POST false /coppice.test.echo.Echo/Unary false",
      "served null",
      "coppice.test.echo.Echo Unary false false",
    ],
  },
  "the signal of a request aborts when the call is over": {
    serve: echo,
    options: (log) => ({
      interceptors: [(next) => (request) => {
        request.signal.addEventListener("abort", () => log.push("over"));
        return next(request);
      }],
    }),
    async play({ client, log }) {
      await client.unary({ text: "u" });
      await heed(log, client.down({ text: "d" }));
      await pause(5);
      log.sort();
    },
    seen: ["d", "ended", "over", "over", "served null", "served null"],
  },
  "messages may be replaced, both ways": {
    serve: echo,
    options: () => ({
      interceptors: [(next) => async (request) => {
        if (!request.stream) return await next(request);
        const to = through(
          request.message,
          (message) => Object.assign(message, { text: `${(message as Note).text}!` }),
        );
        const response = await next({ ...request, message: to });
        if (!response.stream) return response;
        const from = through(
          response.message,
          (message) => Object.assign(message, { text: `${(message as Note).text}?` }),
        );
        return { ...response, message: from };
      }],
    }),
    async play({ client, log }) {
      await heed(log, client.down({ text: "d" }));
      await heed(log, client.both(texts("a", "b")));
    },
    seen: ["served null", "d!?", "ended", "a!?", "b!?", "ended"],
  },
  "one that throws before the call": {
    serve: echo,
    options: () => ({
      interceptors: [() => () => {
        throw new Error("before");
      }],
    }),
    play: everyKind,
    seen: Array(4).fill("Unknown: before"),
    differs: "connect-node lets an interceptor's own throw out as it is when it comes at once",
  },
  "one that rejects before the call": {
    serve: echo,
    options: () => ({ interceptors: [() => () => Promise.reject(new ConnectError("before", Code.Aborted))] }),
    play: everyKind,
    seen: Array(4).fill("Aborted: before"),
  },
  "one that throws behind the call ends it, and lets go of the request": {
    serve: echo,
    options: () => ({
      interceptors: [(next) => async (request) => {
        await next(request);
        throw new ConnectError("behind", Code.Aborted);
      }],
    }),
    async play({ client, log }) {
      await hear(log, client.unary({}));
      await heed(log, client.both(open(log, "a")));
      await until(() => log.includes("request return()"));
      log.sort();
    },
    seen: ["Aborted: behind", "Aborted: behind", "request return()", "request throw(Aborted: behind)", "served null"],
  },
  "one that makes the call again": {
    serve: fickle,
    options: (log) => ({
      interceptors: [(next) => async (request) => {
        const again = (): Promise<UnaryResponse | StreamResponse> =>
          next(request.stream ? { ...request, message: notes("a") } : request);
        try {
          return await again();
        } catch (error) {
          log.push(told(error));
          return await again();
        }
      }],
    }),
    async play({ client, log }) {
      await hear(log, client.unary({ text: "u" }));
      await heed(log, client.down({ text: "d" }));
      await heed(log, client.both(texts("d")));
    },
    seen: ["Unavailable: again", "a", "Unavailable: again", "a", "ended", "Unavailable: again", "a", "ended"],
  },
  "one that has its own signal in the place of the caller's": {
    serve: () => ({ handle: (stream) => answer(stream, [note("a")]) }),
    options: () => ({
      interceptors: [(next) => (request) => {
        const own = new AbortController();
        setTimeout(() => own.abort(new ConnectError("own", Code.Aborted)), 300);
        return next({ ...request, signal: own.signal });
      }],
    }),
    async play({ client, log, raw }) {
      await heed(log, client.down({}));
      await hear(log, client.unary({}));
      await until(() => raw?.open.size === 0);
    },
    seen: ["a", "Aborted: own", "Aborted: own"],
  },
  "the caller's signal counts beside one in its place": {
    serve: () => ({ handle: (stream) => answer(stream, [note("a")]) }),
    options: () => ({
      interceptors: [(next) => (request) => next({ ...request, signal: new AbortController().signal })],
    }),
    async play({ client, log, raw }) {
      await heed(log, client.down({}, { timeoutMs: 300 }));
      await hear(log, client.unary({}, { timeoutMs: 300 }));
      await until(() => raw?.open.size === 0);
    },
    seen: ["a", "DeadlineExceeded: the operation timed out", "DeadlineExceeded: the operation timed out"],
    differs: "connect-node goes on until the signal in its place aborts",
  },
  "one that sends the call somewhere else": {
    serve: echo,
    options: () => ({
      interceptors: [(next) => (request) => next({ ...request, url: request.url.replace(/Unary$/, "Nothing") })],
    }),
    play: ({ client, log }) => hear(log, client.unary({})),
    seen: ["Unimplemented: HTTP 404"],
  },
  "one that sends the call to another host": {
    serve: echo,
    options: () => ({ interceptors: [(next) => (request) => next({ ...request, url: "http://elsewhere.invalid/x" })] }),
    async play({ client, log }) {
      const error = await client.unary({}).catch((reason: unknown) => reason);
      log.push(told(error).replace(/:.*/, ""));
    },
    seen: ["Internal"],
  },
  "a request that waits behind an interceptor is let go of all the same": {
    serve: () => ({ handle: (stream) => void stream.once("data", () => trailersOnly(stream, 5, "no")) }),
    options: () => ({
      interceptors: [(next) => (request) => {
        return next(request.stream ? { ...request, message: through(request.message, () => {}) } : request);
      }],
    }),
    async play({ client, log }) {
      await heed(log, client.both(open(log, "a")));
      await until(() => log.includes("request return()"));
      log.sort();
    },
    seen: ["NotFound: no", "request return()", "request throw(NotFound: no)"],
  },
  "one that throws before the call lets go of the request": {
    serve: echo,
    options: () => ({ interceptors: [() => () => Promise.reject(new ConnectError("before", Code.Aborted))] }),
    async play({ client, log }) {
      await heed(log, client.both(open(log, "a")));
      await until(() => log.includes("request return()"));
      log.sort();
    },
    seen: ["Aborted: before", "request return()", "request throw(Aborted: before)"],
  },
  "one that answers by itself": {
    serve: echo,
    options: () => ({
      interceptors: [(next) => async (request) => {
        if (!request.stream) return await next(request);
        const { method, service } = request;
        const message = notes(await all(request.message as AsyncIterable<Note>));
        return { header: new Headers(), message, method, service, stream: true, trailer: new Headers() };
      }],
    }),
    play: ({ client, log }) => heed(log, client.both(texts("a", "b"))),
    seen: ["a,b", "ended"],
  },
});

test.run();
