import { StreamError } from "../../src/mod.ts";

/** What happened, for the closing table. */
export class Ledger {
  readonly #settled = new Map<number, number>();
  readonly #attempts = new Map<string, number>();
  readonly #cuts = new Map<string, number>();
  #wrong = 0;
  #again = 0;
  #slowestMs = 0;

  /** A worker began an attempt; a cut may make it begin the same one twice. */
  attempted(taskId: string, attempt: number): void {
    const key = `${taskId} ${attempt}`;
    this.#attempts.set(key, (this.#attempts.get(key) ?? 0) + 1);
  }

  settled(number: number, right: boolean): void {
    this.#settled.set(number, (this.#settled.get(number) ?? 0) + 1);
    if (!right) this.#wrong++;
  }

  /** True when an answer was cut off, and the call can be made again; anything else is a finding, and shown. */
  troubled(error: unknown): boolean {
    const cutOff = error instanceof StreamError && error.code === "unreachable";
    if (cutOff) this.#again++;
    else console.error(error);
    return cutOff;
  }

  cut(kind: string): void {
    this.#cuts.set(kind, (this.#cuts.get(kind) ?? 0) + 1);
  }

  recovered(tookMs: number): void {
    this.#slowestMs = Math.max(this.#slowestMs, tookMs);
  }

  /** Runs without a result, or with a wrong one. */
  lost(runs: number): number {
    return runs - this.#settled.size + this.#wrong;
  }

  line(runs: number): string {
    const cuts = [...this.#cuts.values()].reduce((sum, count) => sum + count, 0);
    return `${this.#settled.size} of ${runs} results, ${cuts} cuts, slowest recovery ${seconds(this.#slowestMs)}`;
  }

  table(runs: number): string {
    const tasks = new Set([...this.#attempts.keys()].map((key) => key.split(" ")[0]));
    const rows: [string, string | number][] = [
      ["runs", runs],
      ...[...this.#cuts].map(([kind, count]): [string, number] => [`cuts: ${kind}`, count]),
      ["lost", this.lost(runs)],
      ["results settled twice", [...this.#settled.values()].filter((count) => count > 1).length],
      ["attempts run twice (allowed)", [...this.#attempts.values()].filter((count) => count > 1).length],
      ["tasks tried again (a start was cut off)", this.#attempts.size - tasks.size],
      ["triggers made again (an answer was cut off)", this.#again],
      ["slowest recovery", seconds(this.#slowestMs)],
    ];
    return ["", ...rows.map(([name, value]) => `${name.padEnd(46)}${String(value).padStart(8)}`), ""].join("\n");
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
