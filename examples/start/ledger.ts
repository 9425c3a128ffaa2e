import { RunFailedError, StreamError } from "../../src/mod.ts";

/** What happened, for the closing table. */
export class Ledger {
  readonly #startedAt = Date.now();
  readonly #attempts = new Map<string, number>();
  readonly #settled = new Map<string, number>();
  readonly #failures = new Set<string>();
  readonly #cuts = new Map<string, number>();
  #triggered = 0;
  #inFlight = 0;
  #fewestInFlight = Infinity;
  #wrong = 0;
  #triggeredAgain = 0;
  #slowestMs = 0;

  get elapsed(): string {
    return seconds(Date.now() - this.#startedAt);
  }

  get cuts(): number {
    return [...this.#cuts.values()].reduce((sum, count) => sum + count, 0);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get results(): number {
    return this.#settled.size;
  }

  /** Runs without a result, or with a wrong one. */
  get lost(): number {
    return this.#triggered - this.#settled.size + this.#wrong;
  }

  triggered(): void {
    this.#triggered++;
    this.#inFlight++;
  }

  settled(runId: string, isRight: boolean): void {
    const times = (this.#settled.get(runId) ?? 0) + 1;
    this.#settled.set(runId, times);
    if (times === 1) this.#inFlight--;
    if (!isRight) this.#wrong++;
  }

  /** A run without a result; how, is told once for all that fail in the same way. */
  failed(error: unknown): void {
    this.#inFlight--;
    const failures = error instanceof RunFailedError ? error.failures.map(({ message }) => message) : [String(error)];
    for (const failure of failures) {
      if (!this.#failures.has(failure)) console.error(`\n  ${failure}`);
      this.#failures.add(failure);
    }
  }

  /** A worker began an attempt; the engine may hand the same one out twice. */
  attempted(taskId: string, attempt: number): void {
    const key = `${taskId} ${attempt}`;
    this.#attempts.set(key, (this.#attempts.get(key) ?? 0) + 1);
  }

  /**
   * True when the answer to a trigger was cut off. It may have taken effect, so the client leaves it to us to make it
   * again: another run.
   */
  cutOff(error: unknown): boolean {
    const isCutOff = error instanceof StreamError && error.code === "unreachable";
    if (isCutOff) this.#triggeredAgain++;
    return isCutOff;
  }

  cut(kind: string): void {
    this.#cuts.set(kind, (this.#cuts.get(kind) ?? 0) + 1);
    this.#fewestInFlight = Math.min(this.#fewestInFlight, this.#inFlight);
  }

  recovered(tookMs: number): void {
    this.#slowestMs = Math.max(this.#slowestMs, tookMs);
  }

  table(): [name: string, value: string | number][] {
    const tasks = new Set([...this.#attempts.keys()].map((key) => key.split(" ")[0]));
    return [
      ["runs", this.#triggered],
      ["  in flight at every cut, at least", this.cuts === 0 ? 0 : this.#fewestInFlight],
      ["cuts", this.cuts],
      ...[...this.#cuts].map(([kind, count]): [string, number] => [`  ${kind}`, count]),
      ["results lost", this.lost],
      ["results settled twice", twice(this.#settled)],
      ["attempts run twice (allowed)", twice(this.#attempts)],
      ["attempts made anew (cut off, then timed out)", this.#attempts.size - tasks.size],
      ["triggers made again (no answer came)", this.#triggeredAgain],
      ["slowest recovery", seconds(this.#slowestMs)],
    ];
  }
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function twice(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].filter((count) => count > 1).length;
}
