import type { GetRunDetailsResponse } from "../../gen/v1/workflows_pb.ts";
import { AdminService } from "../../gen/v1/workflows_pb.ts";
import type { Root } from "../root.ts";

/** Asks for a run's details on the connection that is there, once for all who want to know at the moment. */
export async function inquire(root: Root, runId: string, signal: AbortSignal): Promise<GetRunDetailsResponse> {
  const details = await root.flights.do(
    `details:${runId}`,
    (flight) =>
      root.background((options) => root.rpc(AdminService).getRunDetails({ externalId: runId }, options), flight),
    signal,
  );
  return details as GetRunDetailsResponse; // Under its own key.
}
