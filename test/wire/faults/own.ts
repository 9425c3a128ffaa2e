import type { FrameCall } from "../frames.ts";
import { listen } from "./run.ts";
import type { Row } from "./row.ts";
import { framed, proxied } from "./scene.ts";

const nothing: FrameCall = () => {};
const quiet = () => framed(nothing, "mid");
const withheld = () => framed(nothing, "pre", true);
const gone = (direction?: "up" | "down") => () => proxied(() => {}, (proxy) => proxy.stall(direction));

const stopped = { guard: "signal", loop: "reason", origin: "own", verdict: "none" } as const;
const lost = { loop: "again", origin: "wire", verdict: "transient" } as const;
const late = { ...lost, code: "DeadlineExceeded", guard: "timeoutMs" } as const;
const dead = { ...lost, code: "Unavailable", guard: "ping" } as const;
const forever = { code: "HANG", guard: "signal", loop: "held", origin: "own", verdict: "none" } as const;
const pings = { pingIntervalMs: 100, pingTimeoutMs: 100 };

/** What the caller does, and what only a clock can tell. */
export const own: readonly Row[] = [
  { ...stopped, abort: { at: "message" }, name: "abort() mid", scene: quiet },
  { ...stopped, abort: { at: "message", reason: new Error("mine") }, name: "abort(Error) mid", scene: quiet },
  { ...stopped, abort: { at: "message", reason: "why" }, name: "abort(string) mid", scene: quiet },
  { ...stopped, abort: { at: "begin" }, name: "abort before call", scene: quiet },
  { ...stopped, abort: { at: "connect" }, name: "abort() pre (hang)", scene: withheld },
  {
    ...stopped,
    abort: { at: "connect" },
    name: "abort while connecting (blackhole)",
    scene: () => proxied((proxy) => proxy.stall()),
  },
  { ...stopped, abort: { at: "time-out" }, name: "AbortSignal.timeout(60) mid", scene: quiet },
  { ...late, name: "timeoutMs 60 mid", open: (opening) => bounded(opening), scene: quiet },
  {
    ...late,
    name: "timeoutMs 60 pre (hang)",
    open: (opening) => bounded(opening),
    scene: () => framed(nothing, "pre"),
  },
  {
    ...late,
    call: (client) => client.heartbeat({ workerId: "w" }, { timeoutMs: 60 }),
    loop: "call",
    name: "timeoutMs 60 unary",
    scene: withheld,
  },
  {
    body: () => {
      throw new TypeError("user");
    },
    loop: "thrown",
    name: "throw in loop body",
    origin: "caller",
    scene: quiet,
    verdict: "none",
  },
  {
    channel: {
      interceptors: [() => () => {
        throw new TypeError("user");
      }],
    },
    loop: "thrown",
    name: "throw in an interceptor",
    origin: "caller",
    scene: quiet,
    verdict: "bug",
  },
  { ...forever, channel: { pingIntervalMs: Infinity }, name: "blackhole mid, no ping", scene: gone() },
  { ...late, channel: { pingIntervalMs: Infinity }, name: "blackhole mid, timeoutMs 60", open: bounded, scene: gone() },
  { ...dead, channel: pings, name: "blackhole mid, ping 100/100", scene: gone() },
  { ...dead, channel: { pingIntervalMs: 200, pingTimeoutMs: 60 }, name: "blackhole mid, ping 200/60", scene: gone() },
  { ...dead, channel: pings, name: "stall up, ping 100/100", scene: gone("up") },
  { ...dead, channel: pings, name: "stall down, ping 100/100", scene: gone("down") },
  { ...forever, channel: pings, name: "stall only data (server hang), ping 100/100", scene: quiet },
  { ...forever, channel: pings, name: "headers withheld, ping 100/100", scene: withheld },
];

/** ListenV2 with a time-out of the caller's own, which is there again at every attempt. */
function bounded(opening: Parameters<typeof listen>[0]): ReturnType<typeof listen> {
  return listen({ ...opening, options: { ...opening.options, timeoutMs: 60 } });
}
