import type { Runtime } from "./measure.ts";
import type { Plan } from "./plan.ts";
import type { Series } from "./series.ts";

/** Something that shall hold. */
export interface Target {
  readonly says: string;
  /** What was found, per runtime, and whether it is enough; nothing where nothing was measured. */
  readonly found: (series: Series, runtime: Runtime, plan: Plan) => Finding | undefined;
  /** Why it is missed, where it is. */
  readonly because?: string | undefined;
}

interface Finding {
  readonly text: string;
  readonly met: boolean;
}

/** What is asked of each runtime. */
type Least = Readonly<Record<Runtime, number>>;

/** What two cores that others use too let differ without a meaning. */
const noise = 0.1;

/** Asks for so many times the speed of another way, in the rounds in which both were measured. */
function faster(
  says: string,
  least: Least,
  [kind, ...what]: readonly [string, ...(string | number)[]],
  [own, other]: readonly [string, string],
  because?: string,
): Target {
  const { bun, deno, node } = least;
  const asked = node === deno && node === bun ? `${node} ×` : `${node} / ${deno} / ${bun} ×`;
  return {
    says: `${says}: at least ${asked}`,
    found(series, runtime) {
      const name = (of: string, number: string) => [kind, runtime, ...what, of, number];
      const ratio = series.ratio(name(own, "perSecond"), name(other, "perSecond"));
      if (ratio === undefined) return undefined;
      const cpu = series.ratio(name(own, "cpuUs"), name(other, "cpuUs"));
      const text = `${times(ratio.median)} (${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)})` +
        (cpu === undefined ? "" : `; CPU ${times(cpu.median)}`);
      return { text, met: ratio.median >= least[runtime] };
    },
    because,
  };
}

/** Asks for no more than so much. */
function atMost(
  says: string,
  most: number,
  path: (runtime: Runtime) => readonly [string, ...string[]],
  print: (value: number) => string,
  because?: string,
): Target {
  return {
    says,
    found(series, runtime) {
      const found = series.spread(...path(runtime));
      return found && { text: print(found.median), met: found.median <= most };
    },
    because,
  };
}

const each = (least: number): Least => ({ node: least, deno: least, bun: least });

const own = "the transport's own stream call";

export const targets: readonly Target[] = [
  faster(`Reading 96 B by ${own}, over connect-node`, { node: 4, deno: 2, bun: 3 }, ["read", 96], [
    "transport",
    "connect",
  ]),
  faster(`Reading 96 B by ${own}, over grpc-js's events`, { node: 2, deno: 1.4, bun: 1.8 }, ["read", 96], [
    "transport",
    "grpcjs",
  ]),
  faster(`Reading 1 KiB by ${own}, over connect-node`, { node: 4, deno: 2.8, bun: 3 }, ["read", 1024], [
    "transport",
    "connect",
  ]),
  faster(`Reading 64 KiB by ${own}, over connect-node`, each(2), ["read", 65_536], ["transport", "connect"]),
  faster("A listener's pump, over that call, at 96 B", each(0.8), ["read", 96], ["live", "transport"]),
  ...(["reconnect", "live"] as const).map((reader): Target => ({
    says:
      `${reader === "live" ? "A listener's pump" : "`reconnect()`"} reads no slower than connect-node, give or take ` +
      `${noise * 100} %, at every size`,
    found(series, runtime, { sizes }) {
      const rates = sizes.map(({ bytes }) => {
        const name = (of: string) => ["read", runtime, bytes, of, "perSecond"];
        return series.ratio(name(reader), name("connect"))?.median ?? NaN;
      });
      if (rates.some(Number.isNaN)) return undefined;
      return { text: rates.map(times).join(", "), met: rates.every((rate) => rate >= 1 - noise) };
    },
  })),
  faster(
    "Unary calls, 64 at once, over connect-node",
    { node: 4, deno: 2.3, bun: 2.6 },
    ["unary", 64],
    ["transport", "connect"],
    "a call has a fixed price below any transport: on bare `node:http2`, without gRPC, it takes half of the CPU time on Node that ours " +
      "takes in all. Of the rest nothing stands out in the profile: 17 % is garbage collection, and no function of ours has 2 %.",
  ),
  faster(
    `Ping-pong by ${own}, over connect-node`,
    each(1.3),
    ["pingpong"],
    ["transport", "connect"],
    "four fifths of a round trip the client waits, by the profile on Node: for the server, and for the machine to wake one process " +
      "after the other, the same for all. What could be won at most, the table says in its first row.",
  ),
  atMost(
    "An idle stream takes at most 10 KB of heap",
    10_000,
    (runtime) => ["idle", runtime, "transport", "bytes"],
    (bytes) => `${(bytes / 1000).toFixed(1)} KB`,
  ),
  {
    says: "The source holds nobody up: it is busy for less than half of the time in which any client is measured",
    found(series, runtime, { callers, calls, parallel, players, readers, sizes }) {
      const clients = (names: readonly string[]) => names.filter((name) => name !== "raw");
      const busy = [
        ...sizes.flatMap(({ bytes }) => clients(readers).map((reader) => ["read", runtime, bytes, reader])),
        ...parallel.readers.map((reader) => ["parallel", runtime, reader]),
        ...calls.flatMap(({ atOnce }) => callers.map((caller) => ["unary", runtime, atOnce, caller])),
        ...clients(players).map((player) => ["pingpong", runtime, player]),
      ].flatMap((name) => series.spread(...name, "sourceBusy")?.median ?? []);
      if (busy.length === 0) return undefined;
      const most = Math.max(...busy);
      return { text: `${Math.round(most * 100)} % at most`, met: most < 0.5 };
    },
  },
  {
    says: "After a cut, 100,000 keys are asked for again within 2 s",
    found(series, runtime, { keys }) {
      const found = series.spread("replay", runtime, "wallMs");
      return found && {
        text: `${(found.median / 1000).toFixed(2)} s for ${keys.toLocaleString("en")}`,
        met: found.median < 2000,
      };
    },
  },
  atMost(
    "A black hole is over within 16 s, what the client draws to wait left out",
    16_000,
    (runtime) => ["recover", runtime, "blackhole", "restMs"],
    (ms) => `${(ms / 1000).toFixed(1)} s`,
  ),
  ...([["subscriptions", "`Subscriptions.wait()`"], ["client", "`runs.result()`"]] as const).map(([place, call]) =>
    atMost(
      `Who waits by ${call} takes at most 600 B of heap above the id`,
      600,
      (runtime) => ["waiters", runtime, place, "bytes"],
      (bytes) => `${Math.round(bytes)} B`,
      place === "client"
        ? "the call passes two async functions on its way to the stream, each of which is kept with its promise until the result."
        : "a promise, its two functions, a place in two maps and a request are what they are.",
    )
  ),
];

function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`;
}
