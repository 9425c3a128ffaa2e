/** @throws RangeError saying option, rule and value, unless the value is above zero */
export function positive(name: string, value: number): void {
  if (!(value > 0)) throw new RangeError(`${name} must be above 0, got ${value}`);
}

/** @throws RangeError for what is no number: a timer would take it for no time at all, and its owner would never rest */
export function milliseconds(ms: number): void {
  if (typeof ms === "number" && !Number.isNaN(ms)) return;
  throw new RangeError(`A sleep must last a number of milliseconds, got ${ms}`);
}
