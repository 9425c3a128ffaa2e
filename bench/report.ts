import type { Part, Plan } from "./plan.ts";
import type { Bundler } from "./sections.ts";
import { idling, importing, parallel, pingpong, reading, recovery, unary, waiting } from "./sections.ts";
import type { Series } from "./series.ts";
import { table } from "./table.ts";
import { targets } from "./targets.ts";

/** Where and how was measured. */
export interface Circumstances {
  readonly date: string;
  readonly machine: string;
  readonly kernel: string;
  readonly versions: Readonly<Record<string, string>>;
  /** The load before and after. */
  readonly load: readonly [number, number];
  readonly cores: number;
  readonly rounds: number;
  readonly command: string;
}

/** The whole document. */
export function report(series: Series, plan: Plan, where: Circumstances, bundle: Bundler): string {
  const sections: readonly Section[] = [
    {
      parts: ["read"],
      title: "Reading a stream",
      texts: () => [
        "Messages a second, the median of all rounds; in brackets what lies between the quarters. × is the ratio to " +
        "connect-node, paired per round. µs is the CPU time of the reading process per message, all its threads, with its " +
        "ratio to connect-node's: where others use the machine too, it says more. Every client has its defaults, and reads in a " +
        "`for await` unless something else is said.",
        ...plan.sizes.map(({ bytes }) => reading(series, plan, bytes)),
      ],
    },
    {
      parts: ["parallel"],
      title: "A hundred streams at once",
      texts: () => [
        `Messages of ${plan.parallel.bytes} B a second, of ${plan.parallel.streams} streams on one connection together.`,
        parallel(series, plan),
      ],
    },
    {
      parts: ["unary"],
      title: "Unary calls",
      texts: () => [
        "Calls a second, about 40 bytes there and back.",
        ...plan.calls.map(({ atOnce }) => unary(series, plan, atOnce)),
      ],
    },
    {
      parts: ["pingpong"],
      title: "Ping-pong on one bidirectional stream",
      texts: () => ["Round trips a second.", pingpong(series, plan)],
    },
    {
      parts: ["idle"],
      title: "Idle streams",
      texts: () => [
        `The heap that each of ${
          plan.idle.streams.toLocaleString("en")
        } open streams takes on one connection, somebody waiting ` +
        "for its first message.",
        idling(series, plan),
      ],
    },
    {
      parts: ["recover"],
      title: "Coming back",
      texts: () => [
        "From the cut until a result that the cut had lost is there, through a client with every default. Most of it is the wait " +
        "that the client draws, between 0 and 2 s after a first failure; the second number is without it. " +
        `The black hole is measured ${plan.blackHoles} times, each of the others once a round.`,
        recovery(series, plan),
      ],
    },
    {
      parts: ["replay", "waiters"],
      title: "A hundred thousand who wait",
      texts: () => [
        `How long a shared stream takes after a cut to ask again for ${
          plan.keys.toLocaleString("en")
        } keys, until the server ` +
        "has read the last one and its answer is there; and the heap that each waiter takes, above the id.",
        waiting(series, plan),
      ],
    },
    {
      parts: ["import", "bundle"],
      title: "Importing and bundling",
      texts: () => [
        "Import in milliseconds, built as npm ships it, from a cold process; bundles as `bun build --minify` makes them.",
        importing(series, plan, bundle),
      ],
    },
  ];
  const shown = sections.filter(({ parts }) => parts.some((part) => plan.parts.includes(part)));
  return `${
    [
      head(where),
      "## What is promised, and what was found",
      found(series, plan),
      ...shown.flatMap(({ texts, title }) => [`## ${title}`, ...texts()]),
    ].join("\n\n")
  }\n`;
}

/** A chapter, and what must have been measured for it. */
interface Section {
  readonly parts: readonly Part[];
  readonly title: string;
  readonly texts: () => readonly string[];
}

function head({ command, cores, date, kernel, load, machine, rounds, versions }: Circumstances): string {
  const runtimes = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `# Performance

Written by \`${command}\`; do not edit.

| | |
|---|---|
| Date | ${date} |
| Machine | ${machine} |
| Kernel | ${kernel} |
| Versions | ${runtimes} |
| Load average | ${load[0].toFixed(1)} before, ${load[1].toFixed(1)} after |
| Rounds | ${rounds}, each measurement in a process of its own, the order turning round |

${
    load[0] > cores / 2
      ? "**Others used the machine meanwhile.** Times and rates say little then; CPU time, heap and sizes hold."
      : "Differences that the brackets cover mean nothing."
  }`;
}

function found(series: Series, plan: Plan): string {
  const all = targets.map(({ because, found, says }) => ({
    says,
    because,
    each: plan.runtimes.map((runtime) => found(series, runtime, plan)),
  })).filter(({ each }) => each.some((it) => it !== undefined));
  const rows = all.map(({ each, says }) => [
    says,
    ...each.map((it) => it === undefined ? "–" : `${it.met ? "yes" : "**no**"}: ${it.text}`),
  ]);
  const missed = all.filter(({ each }) => each.some((it) => it?.met === false));
  const reasons = missed.map(({ because = "nothing known accounts for it.", says }) => `- *${says}*: ${because}`);
  return [table(["", ...plan.runtimes], rows), ...(reasons.length > 0 ? ["Where it says no:", reasons.join("\n")] : [])]
    .join("\n\n");
}
