import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";
import { collector } from "../streams/garbage.ts";

/** What may leak, at one moment of rest. */
export interface Reading {
  /** The heap after a garbage collection, in bytes. */
  readonly heap: number;
  /** Listeners on AbortSignals that are alive and have not aborted. */
  readonly listeners: number;
  /** Timers that have been set, and neither fired nor cleared. */
  readonly timers: number;
  /** Open TCP sockets of this process, both ends of each connection; NaN where the system does not tell. */
  readonly sockets: number;
}

/** The listeners of one signal. */
interface Audience {
  readonly signal: WeakRef<AbortSignal>;
  readonly listeners: Set<unknown>;
}

/** Counts by standing in for what adds listeners and sets timers, for everybody in this process, until `restore()`. */
export class Gauge {
  readonly #collect = collector();
  readonly #timers = new Set<unknown>();
  readonly #audiences = new Set<Audience>();
  readonly #bySignal = new WeakMap<AbortSignal, Audience>();
  readonly #undo: (() => void)[] = [];

  constructor() {
    this.#watchTimers();
    this.#watchSignals();
  }

  /** Waits for rest: whatever is ready runs, what nobody holds is collected. */
  async read(): Promise<Reading> {
    for (let round = 0; round < 2; round++) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#collect();
    }
    let listeners = 0;
    for (const audience of this.#audiences) {
      const signal = audience.signal.deref();
      if (signal === undefined || signal.aborted || audience.listeners.size === 0) this.#audiences.delete(audience);
      else listeners += audience.listeners.size;
    }
    this.#collect(); // What was struck off here.
    const { heapUsed: heap } = process.memoryUsage();
    return { heap, listeners, sockets: sockets(), timers: this.#timers.size };
  }

  restore(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  #watchTimers(): void {
    const { clearTimeout, setTimeout } = globalThis;
    const timers = this.#timers;
    const set = (act: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        act(...args);
      }, ms);
      timers.add(timer);
      return timer;
    };
    const clear = (timer: Parameters<typeof clearTimeout>[0]) => {
      timers.delete(timer);
      clearTimeout(timer);
    };
    Object.assign(globalThis, { clearTimeout: clear, setTimeout: set });
    this.#undo.push(() => Object.assign(globalThis, { clearTimeout, setTimeout }));
  }

  #watchSignals(): void {
    const { addEventListener: add, removeEventListener: remove } = EventTarget.prototype;
    const audienceOf = (signal: AbortSignal) => this.#audienceOf(signal);
    Object.assign(AbortSignal.prototype, {
      addEventListener(this: AbortSignal, ...args: Parameters<typeof add>) {
        audienceOf(this).listeners.add(args[1]);
        add.apply(this, args);
      },
      removeEventListener(this: AbortSignal, ...args: Parameters<typeof remove>) {
        audienceOf(this).listeners.delete(args[1]);
        remove.apply(this, args);
      },
    });
    this.#undo.push(() => {
      for (const name of ["addEventListener", "removeEventListener"]) {
        Reflect.deleteProperty(AbortSignal.prototype, name);
      }
    });
  }

  #audienceOf(signal: AbortSignal): Audience {
    const audience = this.#bySignal.get(signal) ?? { listeners: new Set<unknown>(), signal: new WeakRef(signal) };
    this.#bySignal.set(signal, audience);
    this.#audiences.add(audience); // Again, for one without listeners was struck off.
    return audience;
  }
}

/** Without the pairs that a runtime talks to itself through. */
function sockets(): number {
  try {
    const own = readFileSync("/proc/self/net/unix", "utf8").split("\n").map((line) => line.trim().split(/\s+/)[6]);
    const open = readdirSync("/proc/self/fd").map((fd) => inode(`/proc/self/fd/${fd}`));
    return open.filter((one) => one !== undefined && !own.includes(one)).length;
  } catch {
    return NaN; // Only Linux tells.
  }
}

function inode(path: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(path))?.[1];
  } catch {
    return undefined; // The one that listed the others is closed by now.
  }
}
