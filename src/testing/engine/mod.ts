export { type Engine, type EngineOptions, startEngine } from "./engine.ts";
export type { Faults } from "./faults.ts";
export type {
  Seen,
  SeenBeat,
  SeenCall,
  SeenChunk,
  SeenDurable,
  SeenLog,
  SeenReport,
  SeenStart,
  SeenSubscription,
} from "./seen.ts";
export type { ServerTls } from "./server.ts";
export type { EngineTiming } from "./timing.ts";
