import process from "node:process";
import v8 from "node:v8";
import { runInNewContext } from "node:vm";

/** How many of these are gone after a garbage collection, on whichever runtime. */
export async function collected(weak: readonly WeakRef<object>[]): Promise<number> {
  const collect = collector();
  let gone = 0;
  for (let round = 0; round < 10 && gone < weak.length; round++) {
    // A WeakRef keeps what it was asked for alive until the turn is over.
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    gone = weak.filter((ref) => ref.deref() === undefined).length;
  }
  return gone;
}

/** Collects garbage, on whichever runtime. */
export function collector(): () => void {
  if ("bun" in process.versions) {
    return (globalThis as unknown as { Bun: { gc(force: boolean): void } }).Bun.gc.bind(null, true); // Untyped here.
  }
  v8.setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}
