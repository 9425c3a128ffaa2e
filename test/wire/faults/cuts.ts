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

/** Connect's codes, where the session does not change them and no runtime does. */
function codeOf(name: string, moment: Moment): string | undefined {
  if (name === "rststream:8") return "Canceled";
  if (name === "rststream:0" && moment === "pre") return "Unavailable";
  return name.startsWith("rststream") || name === "goaway_calm" ? "Internal" : undefined;
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
      return struck(name, () => framed(act, moment), { ...(code !== undefined && { code }), ...guard });
    }),
    struck("goaway_finish", () => framed(finish, moment), { code: "OK", origin: "engine" }),
    struck("sess_destroy", () => served(destroyed(), moment)),
    ...[2, 8, 11].map((code) => struck(`sess_destroy_code:${code}`, () => served(destroyed(code), moment))),
    struck("sigkill", () => killed("SIGKILL", moment)),
    struck("sigterm_exit", () => killed("SIGTERM", moment)),
  ];
});
