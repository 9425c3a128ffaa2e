/** The middle one; of an even number the mean of the middle two. @throws RangeError when there is none */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("values must not be empty");
  const sorted = values.toSorted((a, b) => a - b);
  const [low = 0, high = low] = sorted.slice((sorted.length - 1) >> 1, (sorted.length >> 1) + 1);
  return (low + high) / 2;
}

/** A median between the quarters below and above which a quarter of the values lie. */
export interface Spread {
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

/** Between which values the middle half lies. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.round(part * (sorted.length - 1))] ?? NaN;
  return { low: at(0.25), median: median(values), high: at(0.75) };
}

/** The spread of the ratios of values that were measured side by side. */
export function paired(values: readonly number[], others: readonly number[]): Spread {
  const pairs = Math.min(values.length, others.length);
  return spread(Array.from({ length: pairs }, (_, round) => (values[round] ?? NaN) / (others[round] ?? NaN)));
}
