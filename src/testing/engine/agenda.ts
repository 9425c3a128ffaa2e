import type { Clock } from "../../streams/clock.ts";

interface Entry {
  readonly at: number;
  /** Undefined once it is taken back. */
  act: (() => void) | undefined;
}

/**
 * What the engine will do and when: one timer for any number of deadlines. It can stop and go on, as an engine does that
 * is killed and started again; what became due meanwhile happens at once then.
 */
export class Agenda {
  readonly #clock: Clock;
  readonly #heap: Entry[] = [];
  #dead = 0;
  #timer: AbortController | undefined;
  #armedFor = Infinity;
  #running = true;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `act` at a time, unless the undo comes first. */
  at(time: number, act: () => void): () => void {
    const entry: Entry = { at: time, act };
    this.#push(entry);
    this.#arm();
    return () => {
      if (entry.act === undefined) return;
      entry.act = undefined;
      if (++this.#dead > 1000 && this.#dead * 2 > this.#heap.length) this.#compact();
    };
  }

  /** Calls `act` in `ms`. */
  in(ms: number, act: () => void): () => void {
    return this.at(this.#clock.now() + ms, act);
  }

  stop(): void {
    this.#running = false;
    this.#disarm();
  }

  resume(): void {
    this.#running = true;
    this.#arm();
  }

  #arm(): void {
    const next = this.#heap[0];
    if (!this.#running || next === undefined || next.at >= this.#armedFor) return;
    this.#disarm();
    const timer = new AbortController();
    this.#timer = timer;
    this.#armedFor = next.at;
    this.#clock.sleep(next.at - this.#clock.now(), timer.signal, { ref: false }).then(() => this.#due(), () => {
      // Stopped or armed for something earlier: nothing is due.
    });
  }

  #disarm(): void {
    this.#timer?.abort();
    this.#timer = undefined;
    this.#armedFor = Infinity;
  }

  #due(): void {
    this.#armedFor = Infinity;
    // Timers of some runtimes fire a fraction of a millisecond early.
    const now = this.#clock.now() + 0.5;
    while (this.#running && this.#heap[0] !== undefined && this.#heap[0].at <= now) {
      const entry = this.#pop();
      const { act } = entry;
      entry.act = undefined;
      if (act === undefined) this.#dead--;
      act?.();
    }
    this.#arm();
  }

  #compact(): void {
    const alive = this.#heap.filter((entry) => entry.act !== undefined);
    this.#heap.length = 0;
    this.#dead = 0;
    for (const entry of alive) this.#push(entry);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (heap[parent]!.at <= entry.at) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): Entry {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= last.at) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return top;
  }
}
