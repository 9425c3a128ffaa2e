/** @throws RangeError saying option, rule and value, unless the value is above zero */
export function positive(name: string, value: number): void {
  if (!(value > 0)) throw new RangeError(`${name} must be above 0, got ${value}`);
}
