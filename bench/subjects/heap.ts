import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

/** Weighs the heap of this process. */
export interface Heap {
  /** What is left of it when the collector has been. */
  readonly heapBytes: () => Promise<number>;
}

/** The collector and the size of the heap, as each runtime has them. @throws Error when the collector is not exposed */
export async function heap(): Promise<Heap> {
  const { collect, used } = await own();
  return {
    async heapBytes() {
      for (let round = 0; round < 3; round++) {
        await sleep(30);
        collect();
      }
      return used();
    },
  };
}

async function own(): Promise<{ collect: () => void; used: () => number }> {
  if ("bun" in process.versions) {
    const name = "bun:jsc"; // A name in a variable, for no other runtime knows the module.
    const { fullGC, heapSize } = await import(name);
    return { collect: fullGC, used: heapSize };
  }
  const { gc } = globalThis;
  if (gc === undefined) throw new Error("The collector is not exposed");
  return { collect: () => gc(), used: () => process.memoryUsage().heapUsed };
}
