import type { Reading } from "./gauge.ts";

const measures = ["heap", "listeners", "timers", "sockets"] as const;
type Measure = typeof measures[number];

/** How much a measure may grow over one phase of the work, by its trend; a heap breathes, the rest is counted. */
const allowed: Readonly<Record<Measure, number>> = { heap: 2 ** 20, listeners: 2, sockets: 2, timers: 2 };

/** Before this share of a phase everything is still warming up: code is compiled, pools are filled. */
const warmUp = 1 / 3;

/**
 * How much a measure would grow over a phase if it went on as it did after the warm-up: the median of the slopes between
 * all pairs of readings, which no single odd reading moves, times the length of the phase.
 */
export function growth(values: readonly number[]): number {
  const settled = values.slice(Math.floor(values.length * warmUp)).filter((value) => !Number.isNaN(value));
  const slopes = settled.flatMap((value, at) =>
    settled.slice(at + 1).map((later, after) => (later - value) / (after + 1))
  ).sort((a, b) => a - b);
  return slopes.length === 0 ? 0 : slopes[Math.floor(slopes.length / 2)]! * values.length;
}

/** What grew in a phase and by how much; empty when everything is flat. */
export function grown(readings: readonly Reading[]): string[] {
  return measures.flatMap((measure) => {
    const by = growth(readings.map((reading) => reading[measure]));
    return by > allowed[measure] ? [`${measure} grew by ${Math.round(by)}, allowed ${allowed[measure]}`] : [];
  });
}
