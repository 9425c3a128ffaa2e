import { readFileSync } from "node:fs";
import { type DescEnum, type DescField, type DescFile, type DescMessage, type DescService } from "@bufbuild/protobuf";
import * as dispatcher from "../gen/dispatcher/dispatcher_pb.ts";
import * as events from "../gen/events/events_pb.ts";
import * as dispatcherV1 from "../gen/v1/dispatcher_pb.ts";
import * as condition from "../gen/v1/shared/condition_pb.ts";
import * as trigger from "../gen/v1/shared/trigger_pb.ts";
import * as workflowsV1 from "../gen/v1/workflows_pb.ts";
import * as workflows from "../gen/workflows/workflows_pb.ts";
import * as proto from "../src/proto.ts";
import { assert, suite } from "./harness.ts";

type Contract = Record<string, Record<string, string>>;

const contract = JSON.parse(readFileSync(new URL("./fixtures/wire.json", import.meta.url), "utf8")) as Contract;

const files: DescFile[] = [
  dispatcher.file_dispatcher_dispatcher,
  events.file_events_events,
  dispatcherV1.file_v1_dispatcher,
  condition.file_v1_shared_condition,
  trigger.file_v1_shared_trigger,
  workflowsV1.file_v1_workflows,
  workflows.file_workflows_workflows,
];

/** The type of a field without presence: `scalar9`, `list:Event`, `map:scalar9:WorkerLabels`. */
function kind(field: DescField): string {
  switch (field.fieldKind) {
    case "scalar":
      return `scalar${field.scalar}`;
    case "enum":
      return field.enum.typeName;
    case "message":
      return field.message.typeName;
    case "list":
      return `list:${element(field)}`;
    case "map":
      return `map:scalar${field.mapKey}:${element(field)}`;
  }
}

function element(field: DescField & { fieldKind: "list" | "map" }): string {
  if (field.message) return field.message.typeName;
  if (field.enum) return field.enum.typeName;
  return `scalar${field.scalar}`;
}

function fields(message: DescMessage): Record<string, string> {
  return Object.fromEntries(message.fields.map((field) => {
    const presence = field.proto.proto3Optional ? "?" : "";
    const oneof = field.oneof ? `@${field.oneof.name}` : "";
    return [field.number, `${field.name} ${kind(field)}${presence}${oneof}`];
  }));
}

function values(enumeration: DescEnum): Record<string, string> {
  return Object.fromEntries(enumeration.values.map((value) => [value.number, value.name]));
}

function methods(service: DescService): Record<string, string> {
  return Object.fromEntries(service.methods.map((method) => {
    return [method.name, `${method.methodKind} ${method.input.typeName} ${method.output.typeName}`];
  }));
}

function generated(): Contract {
  const found: Contract = {};
  for (const file of files) {
    for (const message of file.messages) found[message.typeName] = fields(message);
    for (const enumeration of file.enums) found[`enum ${enumeration.typeName}`] = values(enumeration);
    for (const service of file.services) found[`service ${service.typeName}`] = methods(service);
  }
  return found;
}

const test = suite("wire");

test("holds every type and service of the contract, and no other", () => {
  const names = Object.keys(generated()).toSorted();

  assert.equal(names, Object.keys(contract).toSorted());
});

for (const [name, items] of Object.entries(contract)) {
  test(`${name} has the numbers, names, types, presence and oneofs of the contract`, () => {
    const found = generated()[name];

    assert.equal(found, items);
  });
}

test("the entry point exports every service, and the v1 form of the enums that exist twice", () => {
  const { Dispatcher, EventsService, V1Dispatcher, WorkflowService, AdminService } = proto;

  const names = [Dispatcher, EventsService, V1Dispatcher, WorkflowService, AdminService].map((it) => it.typeName);

  assert.equal(names, ["Dispatcher", "EventsService", "v1.V1Dispatcher", "WorkflowService", "v1.AdminService"]);
  assert.is(proto.StickyStrategySchema.typeName, "v1.StickyStrategy");
  assert.is(proto.ConcurrencyLimitStrategySchema.typeName, "v1.ConcurrencyLimitStrategy");
  assert.is(proto.RateLimitDurationSchema.typeName, "v1.RateLimitDuration");
  assert.is(proto.workflows.StickyStrategySchema.typeName, "StickyStrategy");
});

test.run();
