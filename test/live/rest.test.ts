import { resolveConfig } from "../../src/config.ts";
import type { Client } from "../../src/mod.ts";
import { RestError, task } from "../../src/mod.ts";
import { assert, rejects } from "../harness.ts";
import { live, mark, Stage, until } from "./live.ts";

const test = live("live REST", "HATCHET_CLIENT_SERVER_URL");
const double = task({ name: `${mark}-rest`, run: ({ number }: { number: number }) => ({ doubled: 2 * number }) });
const nobody = "00000000-0000-4000-8000-000000000000";

let stage: Stage;
let client: Client;

test.before(async () => {
  stage = await Stage.open();
  client = stage.client();
  await stage.worker(client, [double]);
});
test.after(() => stage.close());

/** What the API says of a run, as far as is looked at here. */
interface Shown {
  readonly run?: { readonly status: string; readonly output?: unknown; readonly metadata: { readonly id: string } };
}

test("reads a run that has completed", { limitMs: 60_000 }, async () => {
  const run = await client.runs.trigger(double, { number: 21 });
  await run.result();
  let shown: Shown = {};

  // What the API reads is written a moment later.
  await until(async () => {
    const response = await client.rest.fetch(`/api/v1/stable/workflow-runs/${run.id}`);
    if (response.status === 404) return false;
    shown = await client.rest.get(`/api/v1/stable/workflow-runs/${run.id}`) as Shown;
    return shown.run?.status === "COMPLETED";
  });

  assert.is(shown.run?.metadata.id, run.id);
});

test("says what the API answers to an id that nobody knows", async () => {
  const error = await rejects(client.rest.get(`/api/v1/stable/workflow-runs/${nobody}`), RestError);

  assert.is(error.status, 404);
});

test("makes a request with a method and a body of its own", async () => {
  const { tenantId } = resolveConfig();
  const response = await client.rest.fetch(`/api/v1/stable/tenants/${tenantId}/workflow-runs/trigger`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ workflowName: double.name, input: { number: 4 } }),
  });

  assert.is(response.status, 200);
  const { run } = await response.json() as Shown;
  assert.equal(await client.runs.result(run?.metadata.id ?? ""), { [double.name]: { doubled: 8 } });
});

test("says so when the API lets nobody in", async () => {
  const { tenantId } = resolveConfig();
  const stranger = stage.client({ token: () => "e30.e30.e30" });
  const since = new Date().toISOString();

  const error = await rejects(
    stranger.rest.get(`/api/v1/stable/tenants/${tenantId}/workflow-runs?since=${since}&only_tasks=false`),
    RestError,
  );

  assert.is(error.status, 403);
});

test.run();
