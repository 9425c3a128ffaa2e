import * as fc from "fast-check";
import { says } from "../listeners/durable.ts";
import { id } from "../remote.ts";
import { bytes, json, text } from "./wrong.ts";

/** The task that the messages of these are about, more often than not. */
export interface About {
  readonly taskId: string;
  readonly invocation: number;
}

const whole = text.map((one) => one.toWellFormed()); // What is not, no peer can send.
const int = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer());
const long = fc.oneof(
  fc.bigInt({ min: 0n, max: 4n }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(-1n, 2n ** 53n + 1n, 2n ** 63n - 1n),
);
/** What a step may be told to have come to; none of it has to be JSON. */
export const payload: fc.Arbitrary<Uint8Array<ArrayBuffer>> = fc.oneof(
  bytes,
  json.map((inner) => new TextEncoder().encode(`{"CREATE":${inner}}`)),
  fc.constantFrom("", "{", '{"CREATE":{"a":[{"coppice:value":1}]}}', '{"CREATE":"abc"}', '{"CREATE":{"__proto__":[1]}}')
    .map((one) => new TextEncoder().encode(one)),
);

/** Whom a message names: who waits, an earlier or a later self of it, somebody unknown, nobody. */
const named = fc.oneof(
  { weight: 4, arbitrary: fc.constant((of: About): object => plain(of)) },
  fc.constant((of: About): object => plain({ ...of, taskId: of.taskId.toUpperCase() })),
  int.map((invocation) => (of: About): object => plain({ ...of, invocation })),
  fc.tuple(whole, int).map(([taskId, invocation]) => (): object => plain({ taskId, invocation })),
  fc.constant((): object => plain({ taskId: id(424_242), invocation: 1 })),
  fc.constant((): object => ({})),
);
const ref = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.tuple(named, long, long).map(([of, branchId, nodeId]) => (about: About): object => ({
      ref: { ...of(about), branchId, nodeId },
    })),
  },
  fc.constant((): object => ({})),
);
const child = fc.record({ branchId: long, nodeId: long, workflowRunExternalId: whole }, { requiredKeys: [] });

/** A message of a kind; what it is about goes first. */
function message(kind: string, about: fc.Arbitrary<(of: About) => object>, rest: fc.Arbitrary<object>) {
  return fc.tuple(about, rest).map(([of, value]) => {
    const make = (one: About): object => says(kind, { ...value, ...of(one) });
    // A counterexample that cannot be read is none.
    return Object.assign(make, { [fc.toStringMethod]: () => fc.stringify(make({ taskId: "T", invocation: 1 })) });
  });
}

/** What an engine never says, or not then, or not to this worker; it is sent about a task. */
export const odd: fc.Arbitrary<(of: About) => object> = fc.oneof(
  fc.constant((): object => ({})),
  fc.constant((): object => ({ message: { case: undefined } })),
  message("registerWorker", fc.constant(() => ({})), fc.record({ workerId: whole })),
  message(
    "memoAck",
    ref,
    fc.record({ memoAlreadyExisted: fc.boolean(), memoResultPayload: payload }, { requiredKeys: [] }),
  ),
  message("waitForAck", ref, fc.constant({})),
  message("triggerRunsAck", named, fc.record({ runEntries: fc.array(child, { maxLength: 4 }) })),
  message(
    "entryCompleted",
    ref,
    fc.record({ payload, isFailure: fc.boolean(), errorMessage: whole }, { requiredKeys: [] }),
  ),
  message("error", ref, fc.record({ errorType: int, errorMessage: whole }, { requiredKeys: [] })),
  message("evictionAck", named, fc.constant({})),
  message("serverEvict", named, fc.record({ reason: whole }, { requiredKeys: [] })),
);

function plain({ invocation, taskId }: About): object {
  return { durableTaskExternalId: taskId, invocationCount: invocation };
}
