import process from "node:process";
import type { WriteStream } from "node:tty";

const colors = { bold: 1, dim: 2, red: 31, green: 32 } as const;

/** Where lines go. */
export type Out = Pick<WriteStream, "columns" | "isTTY" | "write">;

/** Lines that stay, and below them on a terminal one that moves. */
export class Screen {
  readonly #out: Out;
  readonly #isColored: boolean;
  readonly #line: () => string;
  readonly #timer: ReturnType<typeof setInterval> | undefined;

  /** `line` is asked ten times a second for what moves. */
  constructor(out: Out, line: () => string) {
    this.#out = out;
    this.#isColored = out.isTTY && !process.env["NO_COLOR"];
    this.#line = line;
    if (!out.isTTY) return;
    this.#timer = setInterval(() => this.#draw(), 100);
    this.#timer.unref();
  }

  say(text = ""): void {
    this.#out.write(this.#out.isTTY ? `\r\x1b[K${text}\n` : `${text}\n`);
  }

  paint(color: keyof typeof colors, text: string): string {
    return this.#isColored ? `\x1b[${colors[color]}m${text}\x1b[0m` : text;
  }

  /** Clears the line that moves. */
  close(): void {
    clearInterval(this.#timer);
    if (this.#out.isTTY) this.#out.write("\r\x1b[K");
  }

  /** Never wider than the terminal: a line that wraps cannot be drawn over. */
  #draw(): void {
    this.#out.write(`\r\x1b[K${this.#line().slice(0, (this.#out.columns || 80) - 1)}`);
  }
}

/** A bar that fills up. */
export function bar(done: number, all: number, width = 24): string {
  const full = Math.round((width * Math.min(done, all)) / Math.max(all, 1));
  return "█".repeat(full) + "░".repeat(width - full);
}
