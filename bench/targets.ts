import type { Plan } from "./plan.ts";
import type { Series } from "./series.ts";

/** Something that shall hold. */
export interface Target {
  readonly says: string;
  /** What was found, per runtime, and whether it is enough. */
  readonly found: (
    series: Series,
    runtime: string,
    plan: Plan,
  ) => { readonly text: string; readonly met: boolean } | undefined;
  /** Why it is missed where it is. */
  readonly because: string;
}

/** What two cores that others use too let differ without a meaning. */
const noise = 0.1;

export const targets: readonly Target[] = [
  ...(["reconnect", "live"] as const).map((reader): Target => ({
    says:
      `${reader === "live" ? "A pumped stream" : "`reconnect()`"} reads no slower than Connect alone, give or take ` +
      `${noise * 100} %, at every size`,
    found: (series, runtime, { sizes }) => {
      const ratios = (what: string) =>
        sizes.map(({ bytes }) => {
          const [own, other] = [reader, "connect"].map((name) => ["read", runtime, bytes, name, what]);
          return series.ratio(own ?? [], other ?? [])?.median ?? NaN;
        });
      const [rates, cpu] = [ratios("perSecond"), ratios("cpuUs")];
      if (rates.some(Number.isNaN)) return undefined;
      const print = (values: readonly number[]) => values.map((value) => `${value.toFixed(2)} ×`).join(", ");
      const text = print(rates) + (cpu.some(Number.isNaN) ? "" : `; CPU per message ${print(cpu)}`);
      return { text, met: rates.every((rate) => rate >= 1 - noise) };
    },
    because: "each small message passes a promise and a generator more, and in a pumped stream a queue: about half a " +
      "microsecond, where Connect's own six async generators take four to six. It is the same for every size, so only the " +
      "smallest show it.",
  })),
  {
    says: "The source is at least twice as fast as the fastest reader: nothing of it is measured",
    found: (series, runtime, { readers, sizes }) => {
      const leads = sizes.map(({ bytes }) => {
        const rate = (reader: string) => series.spread("read", runtime, bytes, reader, "perSecond")?.median ?? NaN;
        return rate("raw") / Math.max(...readers.filter((reader) => reader !== "raw").map(rate));
      });
      const busy = Math.max(
        ...sizes.flatMap(({ bytes }) =>
          readers.filter((reader) => reader !== "raw").map((reader) =>
            series.spread("read", runtime, bytes, reader, "sourceBusy")?.median ?? NaN
          )
        ),
      );
      if (leads.some(Number.isNaN)) return undefined;
      const text = `${leads.map((lead) => `${lead.toFixed(1)} ×`).join(", ")}; busy ${
        Math.round(busy * 100)
      } % at most`;
      return { text, met: leads.every((lead) => lead >= 2) };
    },
    because:
      "large messages are read almost as fast as HTTP/2 itself delivers them; the source was idle for the rest of the " +
      "time, so it held nobody up.",
  },
  {
    says: "After a cut, 100,000 keys are asked for again within 2 s",
    found: (series, runtime, { keys }) => {
      const found = series.spread("replay", runtime, "wallMs");
      return found && { text: `${(found.median / 1000).toFixed(2)} s for ${keys}`, met: found.median < 2000 };
    },
    because:
      "Connect writes a request when the one before it has left for the socket: a turn of the event loop each, and on a " +
      "busy machine a wait each.",
  },
  ...([["subscriptions", "`Subscriptions.wait()`"], ["client", "`runs.result()`"]] as const).map((
    [place, call],
  ): Target => ({
    says: `Who waits by ${call} takes at most 600 B of heap above the id`,
    found: (series, runtime) => {
      const found = series.spread("waiters", runtime, place, "bytes");
      return found && { text: `${Math.round(found.median)} B`, met: found.median <= 600 };
    },
    because: place === "client"
      ? "the call passes two async functions on its way to the stream, each of which is kept with its promise until the result."
      : "a promise, its two functions, a place in two maps and a request are what they are.",
  })),
];
