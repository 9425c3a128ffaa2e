import type { WriteStream } from "node:tty";

/** One live line on a terminal, plain lines elsewhere. */
export class Screen {
  readonly #out: Pick<WriteStream, "isTTY" | "write">;
  readonly #line: () => string;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(out: Pick<WriteStream, "isTTY" | "write">, line: () => string) {
    this.#out = out;
    this.#line = line;
    this.#timer = setInterval(() => this.#draw(), out.isTTY ? 100 : 2000);
    this.#timer.unref();
  }

  /** A line that stays. */
  say(text: string): void {
    this.#out.write(this.#out.isTTY ? `\r\x1b[K${text}\n` : `${text}\n`);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#draw();
    if (this.#out.isTTY) this.#out.write("\n");
  }

  #draw(): void {
    this.#out.write(this.#out.isTTY ? `\r\x1b[K${this.#line()}` : `${this.#line()}\n`);
  }
}
