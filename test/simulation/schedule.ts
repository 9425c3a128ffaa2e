import type { Reader } from "./conversation.ts";
import type { Part } from "./durable-tasks.ts";

/** What can happen, and how long it lasts where it lasts; as data, so that it can be printed, replayed and shrunk. */
export type Event =
  | { readonly at: number; readonly do: "run"; readonly workMs: number }
  | { readonly at: number; readonly do: "join" | "abort" | "cancel" }
  | { readonly at: number; readonly do: "cut"; readonly engineNotices: boolean }
  | { readonly at: number; readonly do: "goaway" | "reset" | "lose report" | "double report" | "vanish" | "expire" }
  | { readonly at: number; readonly do: "hold"; readonly up: boolean; readonly down: boolean; readonly forMs: number }
  | {
    readonly at: number;
    readonly do: "drain" | "kill" | "refuse" | "silence" | "slow connects" | "drop" | "no auth" | "slow consumer";
    readonly forMs: number;
  }
  | { readonly at: number; readonly do: "jump"; readonly forMs: number }
  | { readonly at: number; readonly do: "signal"; readonly afterMs: number }
  | { readonly at: number; readonly do: "durable"; readonly parts: readonly Part[] }
  | { readonly at: number; readonly do: DurableFault }
  | {
    readonly at: number;
    readonly do: "talk";
    readonly reader: Reader;
    readonly isNumbered: boolean;
    readonly forMs: number;
  };

/** What befalls durable tasks and those who wait for their signals. */
type DurableFault =
  | "join signal"
  | "abort signal"
  | "lose signal"
  | "double signal"
  | "give up"
  | "steal"
  | "lose answer"
  | "double answer"
  | "double completion";

const durableFaults: readonly DurableFault[] = [
  "join signal",
  "abort signal",
  "lose signal",
  "double signal",
  "give up",
  "steal",
  "lose answer",
  "double answer",
  "double completion",
];

/** Until when nothing happens, so that the client is let in: what meets it before is for other tests. */
const quietMs = 2000;
/** For how long things happen, in milliseconds of virtual time; then everything heals. */
export const stormMs = 180_000;

/** Draws a schedule: the same one for the same chance. */
export function schedule(random: () => number): Event[] {
  const below = (most: number) => Math.floor(random() * most);
  const length = (most: number) => 100 + below(most);
  const events: Event[] = [];
  for (let left = 6 + below(12); left > 0; left--) {
    events.push({ at: below(stormMs), do: "run", workMs: below(random() < 0.2 ? 90_000 : 8000) });
  }
  for (let left = 4 + below(10); left > 0; left--) {
    events.push(fault(quietMs + below(stormMs - quietMs), below(24), random, length));
  }
  for (let left = 1 + below(4); left > 0; left--) {
    events.push({ at: below(stormMs), do: "signal", afterMs: below(random() < 0.2 ? 60_000 : 6000) });
  }
  for (let left = below(4); left > 0; left--) {
    const at = below(stormMs);
    events.push({ at, do: "durable", parts: parts(random) });
    // What loses the stream while the task is at it.
    if (random() < 0.5) events.push(fault(Math.max(quietMs, at + below(15_000)), below(6), random, length));
  }
  for (let left = below(6); left > 0; left--) {
    events.push({ at: quietMs + below(stormMs - quietMs), do: durableFaults[below(durableFaults.length)]! });
  }
  if (random() < 0.3) {
    const reader = (["quick", "slow", "chunks"] as const)[below(3)]!;
    events.push({ at: below(stormMs), do: "talk", reader, isNumbered: random() < 0.7, forMs: length(60_000) });
  }
  return events.sort((a, b) => a.at - b.at);
}

/** What a durable task does; at the end it waits, so that what it did before is known. */
function parts(random: () => number): Part[] {
  const below = (most: number) => Math.floor(random() * most);
  const times = () => Array.from({ length: 1 + below(3) }, () => below(random() < 0.4 ? 50 : 15_000));
  const parts = Array.from({ length: 1 + below(4) }, (): Part => {
    const kind = below(5);
    if (kind === 0) {
      const memo = random();
      return { memo: memo < 0.5 ? "value" : Math.floor((memo - 0.5) * 10_000) };
    }
    return kind === 1 ? { children: times() } : { waits: times() };
  });
  return [...parts, { waits: times() }];
}

function fault(at: number, kind: number, random: () => number, length: (most: number) => number): Event {
  const half = () => random() < 0.5;
  switch (kind) {
    case 0:
    case 1:
    case 2:
      return { at, do: "cut", engineNotices: random() < 0.7 };
    case 3:
      return { at, do: "goaway" };
    case 4:
    case 5:
      return { at, do: "reset" };
    case 6:
      return { at, do: "lose report" };
    case 7:
      return { at, do: "double report" };
    case 8:
      return { at, do: "vanish" };
    case 9:
      return { at, do: "expire" };
    case 10:
      return { at, do: "hold", up: half(), down: true, forMs: length(30_000) };
    case 11:
      return { at, do: "hold", up: true, down: half(), forMs: length(30_000) };
    case 12:
      return { at, do: "drain", forMs: length(10_000) };
    case 13:
      return { at, do: "kill", forMs: length(20_000) };
    case 14:
      return { at, do: "refuse", forMs: length(30_000) };
    case 15:
      return { at, do: "silence", forMs: length(30_000) };
    case 16:
      return { at, do: "slow connects", forMs: length(20_000) };
    case 17:
      return { at, do: "drop", forMs: length(30_000) };
    case 18:
      return { at, do: "no auth", forMs: length(60_000) };
    case 19:
      return { at, do: "slow consumer", forMs: length(20_000) };
    case 20:
      return { at, do: "jump", forMs: length(40_000) };
    case 21:
      return { at, do: "join" };
    case 22:
      return { at, do: "abort" };
    default:
      return { at, do: "cancel" };
  }
}
