/**
 * The engine's messages and services, as generated: for `client.rpc(Service)`, and for whoever speaks to the engine
 * directly.
 *
 * Three enums exist twice on the wire, in package v1 and without a package. The plain names here are those of v1; the
 * others are under `workflows`.
 *
 * ```ts
 * import { createClient } from "coppice";
 * import { AdminService, RunStatus } from "coppice/proto";
 *
 * const hatchet = createClient();
 * try {
 *   const { status } = await hatchet.rpc(AdminService).getRunDetails({ externalId: runId });
 *   console.log(status === RunStatus.COMPLETED);
 * } finally {
 *   await hatchet.close();
 * }
 * ```
 *
 * @module
 */
export * from "../gen/dispatcher/dispatcher_pb.ts";
export * from "../gen/events/events_pb.ts";
export * from "../gen/v1/dispatcher_pb.ts";
export * from "../gen/v1/shared/condition_pb.ts";
export * from "../gen/v1/shared/trigger_pb.ts";
export * from "../gen/v1/workflows_pb.ts";
export * from "../gen/workflows/workflows_pb.ts";
export * as workflows from "../gen/workflows/workflows_pb.ts";

// Named one by one they win over the stars above, which would otherwise cancel each other out.
export {
  ConcurrencyLimitStrategy,
  ConcurrencyLimitStrategySchema,
  RateLimitDuration,
  RateLimitDurationSchema,
  StickyStrategy,
  StickyStrategySchema,
} from "../gen/v1/workflows_pb.ts";
