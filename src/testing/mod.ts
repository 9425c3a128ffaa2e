/**
 * What Coppice's own tests are made of: time that leaps, chance that repeats, a peer that follows a script, a proxy
 * that cuts, and an engine in memory. For tests and demos; production is the Hatchet engine.
 *
 * @example
 * ```ts
 * import { hangUp, script, VirtualClock } from "coppice/testing";
 * import { reconnect } from "coppice/streams";
 *
 * const clock = new VirtualClock();
 * const peer = script(clock, ["a", hangUp], ["b"]);
 * const heard = await clock.drive(async () => {
 *   const heard = [];
 *   for await (const message of reconnect(peer.open, { clock })) if (heard.push(message) === 2) return heard;
 * });
 * ```
 *
 * @module
 */
export { VirtualClock } from "./clock.ts";
export * from "./engine/mod.ts";
export { type CuttingProxy, cuttingProxy } from "./proxy.ts";
export { seeded } from "./random.ts";
export {
  broken,
  cut,
  hangUp,
  headers,
  pause,
  requests,
  type Script,
  script,
  silence,
  status,
  type Step,
} from "./script.ts";
