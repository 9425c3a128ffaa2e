import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { GetRunDetailsResponseSchema, RunStatus } from "../gen/v1/workflows_pb.ts";
import { toDetails } from "../src/details.ts";
import { assert, suite } from "./harness.ts";
import { id, said } from "./remote.ts";
import { Fate, Rig } from "./rig.ts";

const test = suite("details");
const bytes = (text: string) => new TextEncoder().encode(text);

test("tells where a run is, and what came of its tasks, by name", () => {
  const response = create(GetRunDetailsResponseSchema, {
    status: RunStatus.FAILED,
    done: true,
    input: bytes(`{"coppice:value":[1]}`),
    additionalMetadata: bytes(`{"who":"me"}`),
    taskRuns: {
      good: { externalId: id(1), status: RunStatus.COMPLETED, output: bytes(`{"n":1}`), error: "" },
      bad: { externalId: id(2), status: RunStatus.FAILED, error: `{"message":"no space"}` },
      gone: { externalId: id(3), status: RunStatus.CANCELLED, error: "" },
    },
  });

  assert.equal(toDetails(response), {
    status: "failed",
    done: true,
    input: [1],
    metadata: { who: "me" },
    tasks: {
      good: { taskId: id(1), status: "completed", output: { n: 1 } },
      bad: { taskId: id(2), status: "failed", error: "no space" },
      gone: { taskId: id(3), status: "cancelled", error: "" },
    },
  });
});

test("an error beside a success is none: the status decides", () => {
  const response = create(GetRunDetailsResponseSchema, {
    status: RunStatus.COMPLETED,
    taskRuns: { good: { externalId: id(1), status: RunStatus.COMPLETED, output: bytes("{}"), error: "" } },
  });

  assert.equal(toDetails(response).tasks, { good: { taskId: id(1), status: "completed", output: {} } });
});

test("every status of the engine has its word, and one of tomorrow's is on its way to one", () => {
  const words = [
    RunStatus.QUEUED,
    RunStatus.RUNNING,
    RunStatus.COMPLETED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
    RunStatus.EVICTED,
    99 as RunStatus, // The wire carries any number.
  ].map((status) => toDetails(create(GetRunDetailsResponseSchema, { status })).status);

  assert.equal(words, ["queued", "running", "completed", "failed", "cancelled", "evicted", "queued"]);
});

test("a run without input and metadata has none", () => {
  const details = toDetails(create(GetRunDetailsResponseSchema, {}));

  assert.equal(details, { status: "queued", done: false, input: undefined, metadata: {}, tasks: {} });
});

test("asks again for an answer that was lost, since asking twice does no harm", async () => {
  const rig = new Rig();
  rig.remote.next("getRunDetails", (call) => call.cut(), { status: RunStatus.RUNNING });

  const fate = new Fate(rig.client.runs.details(id(7)));
  await rig.pass(1000);

  assert.is((fate.value as { status: string }).status, "running");
  assert.is(rig.remote.asked("getRunDetails").length, 2);
  await rig.done();
});

test("an unknown run is the engine's NotFound, asked for once", async () => {
  const rig = new Rig();
  rig.remote.always("getRunDetails", said(Code.NotFound));

  const fate = new Fate(rig.client.runs.details(id(7)));
  await rig.pass(60_000);

  assert.instance(fate.error, ConnectError);
  assert.is((fate.error as ConnectError).code, Code.NotFound);
  assert.is(rig.remote.calls.length, 1);
  await rig.done();
});

test("a malformed id is refused before any I/O", async () => {
  const rig = new Rig();

  const fate = new Fate(rig.client.runs.details("seven"));
  await rig.pass(0);

  assert.match(fate.text, "TypeError: run id must be a UUID");
  assert.equal(rig.remote.dialedAt, []);
  await rig.done();
});

test.run();
