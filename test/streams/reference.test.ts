import { Code, ConnectError } from "@connectrpc/connect";
import { reference } from "../../src/streams/reference.ts";
import { assert, suite } from "../harness.ts";

const test = suite("reference");

const transient = [Code.Unavailable, Code.Internal, Code.DeadlineExceeded, Code.ResourceExhausted];
const permanent = [
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.InvalidArgument,
  Code.FailedPrecondition,
  Code.NotFound,
  Code.Unimplemented,
];
const unclear = [Code.Unknown, Code.AlreadyExists, Code.Aborted, Code.OutOfRange, Code.DataLoss];

function verdict(code: Code): string {
  return reference(new ConnectError("asked", code));
}

test("C1: the four codes that pass by themselves are transient", () => {
  const verdicts = transient.map(verdict);

  assert.equal(verdicts, ["transient", "transient", "transient", "transient"]);
});

test("C2: the six codes that do not are fatal", () => {
  const verdicts = permanent.map(verdict);

  assert.equal(verdicts, ["fatal", "fatal", "fatal", "fatal", "fatal", "fatal"]);
});

test("C3: an aborted signal, a closed listener and every Canceled are clean stops", () => {
  const unavailable = new ConnectError("asked", Code.Unavailable);

  const aborted = reference(unavailable, { signal: AbortSignal.abort() });
  const closed = reference(unavailable, { closed: true });
  const local = reference(new ConnectError("cut", Code.Canceled));
  const peers = reference(new ConnectError("asked", Code.Canceled, { "grpc-status": "1" }));

  assert.equal([aborted, closed, local, peers], ["end", "end", "end", "end"]);
});

test("C4: a clean end asks the policy each time", () => {
  const answers = ["transient", "end", "transient"] as const;
  let asked = 0;
  const onEnd = () => answers[asked++]!;

  const verdicts = answers.map(() => reference(undefined, { onEnd }));

  assert.equal(verdicts, ["transient", "end", "transient"]);
  assert.is(asked, 3);
});

test("C5: a plain error is no progress", () => {
  const verdicts = [reference(new Error("plain")), reference("text"), reference(null)];

  assert.equal(verdicts, ["suspect", "suspect", "suspect"]);
});

test("C6: a wrapper may make no progress fatal and leave the rest alone", () => {
  const strict = (error: unknown) => {
    const usual = reference(error);
    return usual === "suspect" ? "fatal" : usual;
  };

  const verdicts = [new Error("plain"), ...transient.map((code) => new ConnectError("asked", code))].map(strict);

  assert.equal(verdicts, ["fatal", "transient", "transient", "transient", "transient"]);
});

test("X5: the four transient codes come back", () => {
  const answers = new Set(transient.map(verdict));

  assert.equal([...answers], ["transient"]);
});

test("X6: the six permanent codes and Canceled do not come back", () => {
  const answers = [...permanent, Code.Canceled].map(verdict);

  assert.not.ok(answers.includes("transient"));
  assert.not.ok(answers.includes("suspect"));
});

test("X7: a clean end, a plain error and every other code made no progress", () => {
  const answers = [reference(undefined), reference(new Error("plain")), ...unclear.map(verdict)];

  assert.equal(new Set(answers), new Set(["suspect"]));
});

test("X8: an aborted signal beats Unavailable", () => {
  const verdict = reference(new ConnectError("asked", Code.Unavailable), { signal: AbortSignal.abort() });

  assert.is(verdict, "end");
});

test("a signal that has not aborted changes nothing", () => {
  const { signal } = new AbortController();

  assert.is(reference(new ConnectError("asked", Code.Unavailable), { signal, closed: false }), "transient");
});

test.run();
