import type { FrameCall } from "../frames.ts";
import { head, ok } from "../frames.ts";
import type { Handler } from "../server.ts";
import type { Moment, Row } from "./row.ts";
import { framed, killed, served } from "./scene.ts";

const lost = { loop: "again", origin: "wire", verdict: "transient" } as const;

/** What a server or a proxy does to a stream or a connection, at any moment. */
export const blows: Readonly<Record<string, FrameCall>> = {
  tcprst: ({ socket }) => socket.resetAndDestroy(),
  tcpfin: ({ socket }) => socket.end(() => socket.destroy()),
  tcphalf: ({ socket }) => socket.end(),
  goaway_close: (connection, id) => {
    connection.goaway(id, 0);
    setTimeout(() => connection.socket.end(), 20);
  },
  goaway_calm: (connection, id) => connection.goaway(id, 11),
  ...Object.fromEntries(
    Array.from({ length: 14 }, (_, code): [string, FrameCall] => [
      `rststream:${code}`,
      (connection, id) => connection.reset(id, code),
    ]),
  ),
};

/** What gRPC makes of a reset. */
const resets: Readonly<Record<string, string>> = {
  "rststream:7": "Unavailable",
  "rststream:8": "Canceled",
  "rststream:11": "ResourceExhausted",
  "rststream:12": "PermissionDenied",
  "rststream:13": "PermissionDenied",
};

/** A connection that is lost is Unavailable, however it was lost. */
function codeOf(name: string, moment: Moment): string {
  if (name === "rststream:0" && moment === "pre") return "Unavailable";
  return name.startsWith("rststream") ? resets[name] ?? "Internal" : "Unavailable";
}

function destroyed(code?: number): Handler {
  return ({ session }) => session?.destroy(undefined, code);
}

const finish: FrameCall = (connection, id) => {
  connection.goaway(id, 0);
  setTimeout(() => connection.headers(id, connection.answered.has(id) ? ok : { ...head, ...ok }, true), 20);
};

export const cuts: readonly Row[] = (["mid", "pre"] as const).flatMap((moment): Row[] => {
  const suffix = moment === "pre" ? " [pre]" : "";
  const struck = (name: string, scene: Row["scene"], more: Partial<Row> = {}): Row => ({
    ...lost,
    ...more,
    name: `${name}${suffix}`,
    scene,
  });
  return [
    ...Object.entries(blows).map(([name, act]) => {
      const code = codeOf(name, moment);
      const guard = name === "rststream:0" && moment === "pre" ? { guard: "unanswered" } as const : {};
      return struck(name, () => framed(act, moment), { code, ...guard });
    }),
    struck("goaway_finish", () => framed(finish, moment), { code: "OK", origin: "engine" }),
    struck("sess_destroy", () => served(destroyed(), moment)),
    ...[2, 8, 11].map((code) => struck(`sess_destroy_code:${code}`, () => served(destroyed(code), moment))),
    struck("sigkill", () => killed("SIGKILL", moment)),
    struck("sigterm_exit", () => killed("SIGTERM", moment)),
  ];
});
