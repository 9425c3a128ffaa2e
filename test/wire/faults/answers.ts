import { Code } from "@connectrpc/connect";
import type { FrameCall } from "../frames.ts";
import { head, ok } from "../frames.ts";
import { envelope } from "../server.ts";
import type { Moment, Row } from "./row.ts";
import { listen } from "./run.ts";
import { framed, message } from "./scene.ts";

/** What a server or a proxy can say in the protocol, or instead of it. */
type Said = Omit<Row, "scene">;

const again = { loop: "again", origin: "engine", verdict: "transient" } as const;
const refused = { loop: "refused", origin: "engine", verdict: "fatal" } as const;
const suspect = { loop: "again", origin: "engine", verdict: "suspect" } as const;
const lost = { loop: "again", origin: "wire", verdict: "transient" } as const;
const unread = { loop: "again", origin: "local", verdict: "suspect" } as const;
const end = () => "end" as const;

/** The peer's own statuses: each of them by the table, at any moment. */
const verdicts: Readonly<Record<number, Pick<Row, "loop" | "origin" | "verdict">>> = {
  1: again,
  2: suspect,
  3: refused,
  4: again,
  5: refused,
  6: suspect,
  7: refused,
  8: again,
  9: refused,
  10: suspect,
  11: suspect,
  12: refused,
  13: again,
  14: again,
  15: suspect,
  16: refused,
};

function named(name: string, moment: Moment): string {
  return moment === "pre" ? `${name} [pre]` : name;
}

/** Trailers, behind headers or as the whole answer. */
function ends(trailers: Readonly<Record<string, string>>): FrameCall {
  return (connection, id) =>
    connection.headers(id, connection.answered.has(id) ? trailers : { ...head, ...trailers }, true);
}

function status(code: number, more: Readonly<Record<string, string>> = {}): FrameCall {
  return ends({ "grpc-status": String(code), "grpc-message": `asked ${code}`, ...more });
}

function says(said: Said, act: FrameCall, moment: Moment, always = false): Row {
  return { ...said, name: named(said.name, moment), scene: () => framed(act, moment, always) };
}

const statuses = (["mid", "pre"] as const).flatMap((moment): Row[] =>
  [
    says({ ...again, code: "OK", name: "ok" }, ends(ok), moment),
    says(
      { ...again, code: "OK", loop: "ended", name: "ok, to who is done", stream: { onEnd: end }, verdict: "end" },
      ends(ok),
      moment,
    ),
    ...Object.entries(verdicts).map(([code, said]) =>
      says({ ...said, code: Code[Number(code)] ?? "", name: `status:${code}` }, status(Number(code)), moment)
    ),
    says({ ...again, code: "Internal", name: "status:17" }, status(17), moment),
    says(
      {
        ...again,
        code: "Canceled",
        loop: "ended",
        name: "status:1, to who is done",
        stream: { onEnd: end },
        verdict: "end",
      },
      status(1),
      moment,
    ),
    says(
      { ...again, code: "Unavailable", name: "status:14 + pushback", waitMs: 90 },
      status(14, { "grpc-retry-pushback-ms": "90" }),
      moment,
    ),
    says({ ...suspect, code: "Unknown", loop: "stalled", name: "status:2, every time" }, status(2), "pre", true),
  ].slice(0, moment === "pre" ? undefined : -1)
);

const codes: Readonly<Record<number, Code>> = {
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.Unimplemented,
  429: Code.Unavailable,
  500: Code.Unknown,
  502: Code.Unavailable,
  503: Code.Unavailable,
  504: Code.Unavailable,
};

function page(status: string, more: Readonly<Record<string, string>> = {}): FrameCall {
  return (connection, id) => {
    connection.headers(id, { ":status": status, "content-type": "text/html", ...more });
    connection.data(id, new TextEncoder().encode("<html>"), true);
  };
}

/** A proxy that answers for itself. The gate waits no longer than its cap, however long it is asked to. */
const pages = [
  ...Object.entries(codes).map(([code, expected]) =>
    says({ ...lost, code: Code[expected] ?? "", name: `http:${code}` }, page(code), "pre")
  ),
  says(
    { ...lost, code: "Unavailable", name: "http:429 + retry-after", waitMs: 290 },
    page("429", { "retry-after": "1" }),
    "pre",
  ),
  says({ ...lost, code: "Unknown", name: "ctype:0" }, page("200"), "pre"),
];

function data(bytes: Uint8Array, end = false): FrameCall {
  return (connection, id) => connection.data(id, bytes, end);
}

const small = { readMaxBytes: 100_000 };

/** Messages that are none, or only in part, or too much. */
const messages = [
  says({ ...lost, code: "Internal", name: "notrailers" }, data(new Uint8Array(), true), "mid"),
  says({ ...unread, code: "Internal", name: "badproto" }, data(envelope(Uint8Array.of(10, 200))), "mid"),
  says({ ...unread, code: "Internal", name: "badwire" }, data(envelope(Uint8Array.of(15))), "mid"),
  says({ ...lost, code: "InvalidArgument", name: "trunc" }, data(message("cut").subarray(0, -1), true), "mid"),
  says({ ...lost, code: "InvalidArgument", name: "trunc, with trailers" }, (connection, id) => {
    connection.data(id, Uint8Array.of(0, 0, 0));
    connection.headers(id, ok, true);
  }, "mid"),
  says({ ...unread, code: "Internal", name: "compflag" }, data(envelope(new Uint8Array(3), 3, 1)), "mid"),
  says(
    { ...unread, channel: small, code: "ResourceExhausted", guard: "size limit", name: "oversize" },
    data(envelope(new Uint8Array(9), 300_000)),
    "mid",
  ),
  says(
    { ...unread, code: "ResourceExhausted", guard: "size limit", name: "hugelen" },
    data(envelope(new Uint8Array(9), 4_294_967_280)),
    "mid",
  ),
  {
    ...unread,
    channel: { writeMaxBytes: 100 },
    code: "ResourceExhausted",
    guard: "size limit",
    loop: "stalled",
    name: "oversize-send",
    open: (opening) => listen(opening, "w".repeat(1000)),
    scene: () => framed(status(0), "pre"),
  } satisfies Row,
];

export const answers: readonly Row[] = [...statuses, ...pages, ...messages];
