import type { Spread } from "./statistics.ts";
import { paired, spread } from "./statistics.ts";

/** What was measured, by the parts of its name, a value per round; a measurement that failed is NaN in its round. */
export class Series {
  readonly #values = new Map<string, number[]>();
  /** What failed, in words. */
  readonly failures: string[] = [];

  add(name: readonly (string | number)[], value: number): void {
    const key = name.join("/");
    const values = this.#values.get(key) ?? [];
    values.push(value);
    this.#values.set(key, values);
  }

  values(...name: readonly (string | number)[]): readonly number[] {
    return (this.#values.get(name.join("/")) ?? []).filter((value) => !Number.isNaN(value));
  }

  /** `undefined` when nothing of that name was measured. */
  spread(...name: readonly (string | number)[]): Spread | undefined {
    const values = this.values(...name);
    return values.length === 0 ? undefined : spread(values);
  }

  /** One over another, by rounds in which both were measured. */
  ratio(name: readonly (string | number)[], other: readonly (string | number)[]): Spread | undefined {
    const [values = [], others = []] = [name, other].map((parts) => this.#values.get(parts.join("/")));
    const rounds = values.map((_, round) => round).filter((round) =>
      (values[round] ?? NaN) / (others[round] ?? NaN) > 0
    );
    const pick = (from: readonly number[]) => rounds.map((round) => from[round] ?? NaN);
    return rounds.length === 0 ? undefined : paired(pick(values), pick(others));
  }
}
