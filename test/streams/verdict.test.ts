import { Code, ConnectError } from "@connectrpc/connect";
import { codeFromHttpStatus as grpcCode } from "@connectrpc/connect/protocol-grpc";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { codeFromHttpStatus as connectCode, endStreamFromJson } from "@connectrpc/connect/protocol-connect";
import { isCaller, markCaller } from "../../src/streams/errors.ts";
import type { Ending, Origin, Verdict } from "../../src/streams/verdict.ts";
import { judge, originOf } from "../../src/streams/verdict.ts";
import { assert, suite } from "../harness.ts";

const test = suite("verdict");

/** What the peer said over gRPC, built as Connect builds it from trailers. */
function status(code: number, more: Record<string, string> = {}): unknown {
  return findTrailerError(new Headers({ "grpc-status": String(code), "grpc-message": "asked", ...more }));
}

/** What the peer said over the Connect protocol: the end of the stream, and the response headers with it. */
function connectStatus(code: string): ConnectError {
  const { error } = endStreamFromJson(JSON.stringify({ error: { code, message: "asked" } }));
  error!.metadata.append("content-type", "application/connect+proto");
  return error!;
}

/** What Node says of a wire, wrapped as Connect wraps it. */
function node(code: Code, message: string, systemCode: string): ConnectError {
  return ConnectError.from(Object.assign(new Error(message), { code: systemCode }), code);
}

function local(code: Code, message: string): ConnectError {
  return new ConnectError(message, code);
}

function ending(error: unknown, rest: Partial<Ending> = {}): Ending {
  return { alone: false, error, origin: originOf(error), wasLive: false, heard: false, sent: true, ...rest };
}

/** The verdict on an error before the stream was ever live, and after. */
function verdicts(error: unknown): readonly [Verdict, Verdict] {
  const policy = () => "end" as const;
  return [judge(ending(error), policy), judge(ending(error, { wasLive: true }), policy)];
}

const interceptor = new TypeError("Cannot read properties of undefined (reading 'token')");
const deep = new Error("outer", {
  cause: new Error("middle", { cause: Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }) }),
});
const html = new ConnectError("unsupported content type text/html", Code.Unknown);
const connectHtml = new ConnectError("unsupported content type text/html", Code.Unknown, {
  "content-type": "text/html",
});

const table: readonly (readonly [what: string, error: unknown, origin: Origin, before: Verdict, after: Verdict])[] = [
  ["the peer's Unavailable", status(Code.Unavailable), "engine", "transient", "transient"],
  ["the peer's Internal", status(Code.Internal), "engine", "transient", "transient"],
  ["the peer's DeadlineExceeded", status(Code.DeadlineExceeded), "engine", "transient", "transient"],
  ["the peer's ResourceExhausted", status(Code.ResourceExhausted), "engine", "transient", "transient"],
  ["the peer's Unauthenticated", status(Code.Unauthenticated), "engine", "fatal", "fatal"],
  ["the peer's PermissionDenied", status(Code.PermissionDenied), "engine", "fatal", "fatal"],
  ["the peer's InvalidArgument", status(Code.InvalidArgument), "engine", "fatal", "fatal"],
  ["the peer's FailedPrecondition", status(Code.FailedPrecondition), "engine", "fatal", "fatal"],
  ["the peer's NotFound", status(Code.NotFound), "engine", "fatal", "fatal"],
  ["the peer's Unimplemented", status(Code.Unimplemented), "engine", "fatal", "fatal"],
  ["the peer's Canceled, which goes by the policy", status(Code.Canceled), "engine", "end", "end"],
  ["the peer's Unknown", status(Code.Unknown), "engine", "suspect", "suspect"],
  ["the peer's AlreadyExists", status(Code.AlreadyExists), "engine", "suspect", "suspect"],
  ["the peer's Aborted", status(Code.Aborted), "engine", "suspect", "suspect"],
  ["the peer's OutOfRange", status(Code.OutOfRange), "engine", "suspect", "suspect"],
  ["the peer's DataLoss", status(Code.DataLoss), "engine", "suspect", "suspect"],
  ["a status number that gRPC does not know", status(17), "engine", "transient", "transient"],
  ["pushback", status(Code.Unavailable, { "grpc-retry-pushback-ms": "5" }), "engine", "transient", "transient"],

  ["no trailers", local(Code.Internal, "protocol error: missing status"), "wire", "transient", "transient"],
  ["no gRPC-web trailer", local(Code.Internal, "protocol error: missing trailer"), "wire", "transient", "transient"],
  [
    "no end of a Connect stream",
    local(Code.InvalidArgument, "protocol error: missing EndStreamResponse"),
    "wire",
    "transient",
    "transient",
  ],
  [
    "a truncated message",
    local(Code.InvalidArgument, "protocol error: incomplete envelope"),
    "wire",
    "transient",
    "transient",
  ],
  [
    "RST_STREAM 7",
    node(Code.Internal, "Stream closed with error code NGHTTP2_REFUSED_STREAM", "ERR_HTTP2_STREAM_ERROR"),
    "wire",
    "transient",
    "transient",
  ],
  [
    "RST_STREAM 8",
    local(Code.Canceled, "http/2 stream closed with error code CANCEL (0x8)"),
    "wire",
    "transient",
    "transient",
  ],
  [
    "RST_STREAM 2 without an error of the system",
    local(Code.Internal, "http/2 stream closed with error code INTERNAL_ERROR (0x2)"),
    "wire",
    "transient",
    "transient",
  ],
  [
    "RST_STREAM 12 without an error of the system",
    local(Code.PermissionDenied, "http/2 stream closed with error code INADEQUATE_SECURITY (0xc)"),
    "wire",
    "transient",
    "transient",
  ],
  [
    "GOAWAY 11",
    node(Code.Internal, "Session closed with error code 11", "ERR_HTTP2_SESSION_ERROR"),
    "wire",
    "transient",
    "transient",
  ],
  [
    "GOAWAY 11 with its reason",
    local(Code.ResourceExhausted, "http/2 connection closed with error code ENHANCE_YOUR_CALM (0xb), too_many_pings"),
    "wire",
    "transient",
    "transient",
  ],
  ["TCP RST", node(Code.Aborted, "read ECONNRESET", "ECONNRESET"), "wire", "transient", "transient"],
  ["a write into a dead wire", node(Code.Internal, "write EPIPE", "EPIPE"), "wire", "transient", "transient"],
  [
    "a premature close",
    node(Code.Unknown, "Premature close", "ERR_STREAM_PREMATURE_CLOSE"),
    "wire",
    "transient",
    "transient",
  ],
  ["refused", node(Code.Unavailable, "connect ECONNREFUSED H:P", "ECONNREFUSED"), "wire", "transient", "transient"],
  ["a name that is not known", node(Code.Unavailable, "getaddrinfo", "ENOTFOUND"), "wire", "transient", "transient"],
  ["a PING without answer", local(Code.Unavailable, "PING timed out"), "wire", "transient", "transient"],
  ["an HTTP/1.1 answer", node(Code.Internal, "Protocol error", "ERR_HTTP2_ERROR"), "wire", "transient", "transient"],
  ["a time-out of our own", local(Code.DeadlineExceeded, "the operation timed out"), "wire", "transient", "transient"],
  ["a refusal three causes deep", ConnectError.from(deep, Code.Unknown), "wire", "transient", "transient"],
  [
    "a status whose message is not encoded as it should be",
    ConnectError.from(new URIError("URI malformed"), Code.Internal),
    "local",
    "suspect",
    "suspect",
  ],
  ["a proxy's page", html, "wire", "transient", "transient"],
  ["a proxy's page over Connect", connectHtml, "wire", "transient", "transient"],
  ...[400, 401, 403, 404, 429, 500, 502, 503, 504].flatMap((http) =>
    [
      [`HTTP ${http}`, local(grpcCode(http), `HTTP ${http}`), "wire", "transient", "transient"],
      [
        `HTTP ${http} over Connect`,
        new ConnectError(`HTTP ${http}`, connectCode(http), { "content-type": "text/html" }),
        "wire",
        "transient",
        "transient",
      ],
    ] as const
  ),

  [
    "an untrusted certificate",
    node(Code.Internal, "unable to verify the first certificate", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
    "wire",
    "fatal",
    "transient",
  ],
  [
    "a certificate for another host",
    node(Code.Unavailable, "altnames", "ERR_TLS_CERT_ALTNAME_INVALID"),
    "wire",
    "fatal",
    "transient",
  ],
  ["an expired certificate", node(Code.Internal, "expired", "CERT_HAS_EXPIRED"), "wire", "fatal", "transient"],
  [
    "a self-signed certificate",
    node(Code.Internal, "self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT"),
    "wire",
    "fatal",
    "transient",
  ],
  [
    "a self-signed chain",
    node(Code.Internal, "self-signed", "SELF_SIGNED_CERT_IN_CHAIN"),
    "wire",
    "fatal",
    "transient",
  ],
  [
    "TLS to a plaintext port",
    node(Code.Internal, "wrong version number", "ERR_SSL_WRONG_VERSION_NUMBER"),
    "wire",
    "fatal",
    "transient",
  ],
  [
    "TLS without HTTP/2",
    node(Code.Internal, "no application protocol", "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"),
    "wire",
    "fatal",
    "transient",
  ],
  [
    "a certificate that fetch refused",
    ConnectError.from(
      new TypeError("fetch failed", { cause: Object.assign(new Error("self-signed"), { code: "CERT_HAS_EXPIRED" }) }),
    ),
    "wire",
    "fatal",
    "transient",
  ],

  ["a message we cannot decode", local(Code.Internal, "parse binary: premature EOF"), "local", "suspect", "suspect"],
  [
    "a compressed message nobody asked for",
    local(Code.Internal, "received compressed envelope, but do not know how to decompress"),
    "local",
    "suspect",
    "suspect",
  ],
  [
    "a message over our limit",
    local(Code.ResourceExhausted, "message size 300000 is larger than configured readMaxBytes 100000"),
    "local",
    "suspect",
    "suspect",
  ],

  [
    "a second end of a stream",
    local(Code.InvalidArgument, "protocol error: received extra EndStreamResponse"),
    "local",
    "suspect",
    "suspect",
  ],
  [
    "an end of a stream that does not parse",
    local(Code.InvalidArgument, "failed to parse EndStreamResponse: [unknown] invalid end stream"),
    "local",
    "suspect",
    "suspect",
  ],
  [
    "JSON that does not parse",
    ConnectError.from(new SyntaxError("Unexpected token"), Code.InvalidArgument),
    "local",
    "suspect",
    "suspect",
  ],

  ["a throwing interceptor", ConnectError.from(interceptor), "caller", "bug", "bug"],
  ["a throwing request iterable", ConnectError.from(new Error("mine"), Code.Internal), "caller", "bug", "bug"],
  ["a throwing opener", interceptor, "caller", "bug", "bug"],
  ["a thrown text", "mine", "caller", "bug", "bug"],
  ["a throwing token function", markCaller(new Error("vault")), "caller", "bug", "transient"],
  [
    "a throwing token function, as Connect wraps it",
    ConnectError.from(markCaller(new Error("vault"))),
    "caller",
    "bug",
    "transient",
  ],
  [
    "a token function that cannot reach its server",
    ConnectError.from(markCaller(Object.assign(new Error("vault"), { code: "ECONNREFUSED" }))),
    "caller",
    "bug",
    "transient",
  ],

  ["a Connect peer's Unavailable", connectStatus("unavailable"), "engine", "transient", "transient"],
  ["a Connect peer's Internal", connectStatus("internal"), "engine", "transient", "transient"],
  ["a Connect peer's ResourceExhausted", connectStatus("resource_exhausted"), "engine", "transient", "transient"],
  ["a Connect peer's Canceled", connectStatus("canceled"), "engine", "end", "end"],
  ["a Connect peer's Unknown", connectStatus("unknown"), "engine", "suspect", "suspect"],
  ["a Connect peer's Unauthenticated", connectStatus("unauthenticated"), "engine", "fatal", "fatal"],
  ["a Connect peer's InvalidArgument", connectStatus("invalid_argument"), "engine", "fatal", "fatal"],
  ["a fatal code without a word on its origin", local(Code.NotFound, "no such topic"), "engine", "fatal", "fatal"],
  [
    "an encoding nobody asked for, over Connect",
    new ConnectError('unsupported response encoding "zstd"', Code.Internal, {
      "content-type": "application/connect+proto",
    }),
    "local",
    "suspect",
    "suspect",
  ],
];

for (const [what, error, origin, before, after] of table) {
  test(`${what}: from ${origin}, ${before === after ? before : `${before} until the first live, then ${after}`}`, () => {
    const made = originOf(error);
    const [first, later] = verdicts(error);

    assert.is(made, origin);
    assert.is(first, before);
    assert.is(later, after);
  });
}

/** What fetch says on Node, Deno, Bun and in browsers when the peer is gone: a TypeError, now and then with a code. */
const fetchTexts = [
  "fetch failed",
  "terminated",
  "error reading a body from connection",
  "error sending request for url (http://127.0.0.1:1/): client error (Connect)",
  "Failed to fetch",
  "NetworkError when attempting to fetch resource.",
  "network error",
  "Load failed",
  "The network connection was lost.",
];
for (const text of fetchTexts) {
  test(`fetch's "${text}" is the wire's`, () => {
    const error = ConnectError.from(new TypeError(text));

    assert.is(originOf(error), "wire");
    assert.equal(verdicts(error), ["transient", "transient"]);
  });
}

test("Bun's fetch error, which has a code of its own, is the wire's", () => {
  const error = ConnectError.from(Object.assign(new Error("Unable to connect"), { code: "ConnectionRefused" }));

  assert.is(originOf(error), "wire");
});

test("a code that is no text, as a DOMException has, does not make an error the system's", () => {
  const error = ConnectError.from(new DOMException("mine", "DataError"));

  assert.is(originOf(error), "caller");
});

test("an OK end is the policy's to judge, and the policy is not told of an error", () => {
  const asked: unknown[] = [];
  const policy = (error?: unknown) => {
    asked.push(error);
    return asked.length === 1 ? "transient" as const : "end" as const;
  };

  const first = judge({ ...ending(undefined), origin: "engine" }, policy);
  const second = judge({ ...ending(undefined), origin: "engine" }, policy);

  assert.equal([first, second, asked], ["transient", "end", [undefined, undefined]]);
});

test("the peer's Canceled is the policy's to judge, and the policy sees it", () => {
  const error = status(Code.Canceled);
  const asked: unknown[] = [];

  judge(ending(error), (seen) => {
    asked.push(seen);
    return "transient";
  });

  assert.is(asked.length, 1);
  assert.is(asked[0], error);
});

test("no policy is asked about anything else", () => {
  const policy = () => {
    throw new Error("asked");
  };

  for (const [, error] of table) {
    const { code, metadata } = error instanceof ConnectError ? error : { code: undefined, metadata: new Headers() };
    const isPeer = metadata.has("grpc-status") || metadata.get("content-type") === "application/connect+proto";
    if (code === Code.Canceled && isPeer) continue;
    judge(ending(error), policy);
  }
});

test("a mark survives being wrapped four times, and no more is looked at", () => {
  let error: Error = markCaller(new Error("vault"));
  for (let depth = 0; depth < 3; depth++) error = new Error("wrapped", { cause: error });

  const within = isCaller(error);
  const beyond = isCaller(new Error("once more", { cause: error }));

  assert.equal([within, beyond], [true, false]);
});

test("a cause that is its own cause ends the search", () => {
  const error = new Error("round");
  error.cause = error;

  assert.is(originOf(ConnectError.from(error)), "caller");
});

test("what a caller's own origin blames on the wire passes, whatever class it is of", () => {
  const error = new Error("lost");

  const verdict = judge(ending(error, { origin: "wire" }), () => "end");

  assert.is(verdict, "transient");
});

test.run();
