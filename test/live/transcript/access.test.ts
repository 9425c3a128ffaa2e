import { createClient } from "@connectrpc/connect";
import { Dispatcher, EventsService, WorkflowService } from "../../../src/proto.ts";
import { jwt } from "../../jwt.ts";
import { mark } from "../live.ts";
import { compare } from "./compare.ts";

const same = compare("access");
const nobody = "00000000-0000-4000-8000-000000000000";
const bearers: Readonly<Record<string, string | null>> = {
  "no header": null,
  "an empty header": "",
  "no scheme": jwt({ sub: nobody }),
  "another scheme": `Basic ${jwt({ sub: nobody })}`,
  "no token": "Bearer ",
  "a text": "Bearer nonsense",
  "a token that the engine did not sign": `Bearer ${jwt({ sub: nobody, exp: 9_999_999_999 })}`,
};

for (const [what, header] of Object.entries(bearers)) {
  same(`calls with ${what}`, async (p) => {
    const transport = p.transport(header);
    const d = createClient(Dispatcher, transport);
    async function* requests() {
      yield { workflowRunId: nobody };
      await new Promise<never>(() => {});
    }

    await p.call("GetVersion", d.getVersion({}));
    await p.call("Register", d.register({ workerName: "a", actions: [] }));
    await p.call(
      "TriggerWorkflow",
      createClient(WorkflowService, transport).triggerWorkflow({ name: "a", input: "{}" }),
    );
    await p.end("ListenV2", p.read((options) => d.listenV2({ workerId: nobody }, options)));
    await p.end("SubscribeToWorkflowRuns", p.read((options) => d.subscribeToWorkflowRuns(requests(), options)));
    await p.end(
      "SubscribeToWorkflowEvents",
      p.read((options) => d.subscribeToWorkflowEvents({ workflowRunId: nobody }, options)),
    );
  });
}

same("the scheme in small letters", async (p) => {
  const token = (p.engine.token ?? process.env["HATCHET_CLIENT_TOKEN"])!;
  const d = createClient(Dispatcher, p.transport(`bearer ${token}`));

  await p.call("PutOverridesData", d.putOverridesData({}));
});

same("methods and services that there are not", async (p) => {
  const transport = p.transport();
  const call = (parent: { typeName: string }) =>
    transport.unary(
      { ...Dispatcher.method.putOverridesData, name: "Nothing", parent: { ...Dispatcher, ...parent } },
      undefined,
      10_000,
      undefined,
      {},
    );

  await p.call("a method of Dispatcher", call({ typeName: "Dispatcher" }));
  await p.call("a method of v1.AdminService", call({ typeName: "v1.AdminService" }));
  await p.call("a method of another service", call({ typeName: "some.Service" }));
  await p.call("ReplaySingleEvent", createClient(EventsService, transport).replaySingleEvent({ eventId: nobody }));
});

same("messages beyond the limit", async (p) => {
  const name = await p.put("size");

  await p.call("TriggerWorkflow with 5 MB", p.workflows.triggerWorkflow({ name, input: input(5_000_000) }));
  await p.call("TriggerWorkflow with less than 4 MiB", p.workflows.triggerWorkflow({ name, input: input(4_000_000) }));
  await p.call(
    "Register with 5 MB",
    p.dispatcher.register({ workerName: mark, actions: ["a:" + "b".repeat(5_000_000)] }),
  );
});

function input(length: number): string {
  return JSON.stringify({ text: "x".repeat(length) });
}

same.run();
