import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AssignedActionSchema, WorkflowRunEventSchema } from "../gen/dispatcher/dispatcher_pb.ts";
import { ActionType } from "../gen/dispatcher/dispatcher_pb.ts";
import { Client } from "../src/client.ts";
import type { ClientOptions } from "../src/config.ts";
import { resolveConfig } from "../src/config.ts";
import type { Variables } from "../src/config/environment.ts";
import { Root } from "../src/root.ts";
import { StreamError } from "../src/streams/mod.ts";
import { VirtualClock } from "../src/testing/mod.ts";
import { assert } from "./harness.ts";
import { jwt } from "./jwt.ts";
import { id, Remote } from "./remote.ts";

/** When the tests begin, in epoch milliseconds. */
export const startMs = 1_000_000;
export const secret: string = jwt({ sub: id(9), grpc_broadcast_address: "engine:7070", secret: "hush-hush" });

/** A line of the log, as `level message` and its fields. */
export type Line = readonly [text: string, fields: Readonly<Record<string, unknown>>];

/** A client on an engine that the test moves by hand, in time that leaps. */
export class Rig {
  readonly clock: VirtualClock = new VirtualClock(startMs);
  readonly remote: Remote = new Remote(this.clock);
  readonly lines: Line[] = [];
  readonly root: Root;
  readonly client: Client;

  constructor(options: ClientOptions = {}, variables: Variables = {}) {
    const line = (level: string) => (message: string, fields: Readonly<Record<string, unknown>>) => {
      this.lines.push([`${level} ${message}`, fields]);
    };
    const logger = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
    const { clock, remote } = this;
    // The longest of all waits, always: 2 s after the first failure of the connection, then 4, 8, 10, 10 …
    const random = () => 1;
    const config = resolveConfig({ token: secret, tls: false, clock, random, logger, ...options }, variables);
    this.root = new Root(config, (authorization) => remote.channel(authorization, config.address));
    this.client = new Client(this.root);
  }

  /** How long the test has been going on. */
  get atMs(): number {
    return this.clock.now() - startMs;
  }

  pass(ms: number): Promise<void> {
    return this.clock.pass(ms);
  }

  /** Closes the client, and asserts that nothing is left of it and no secret got out. */
  async done(): Promise<void> {
    await this.clock.drive(this.client.close({ graceMs: 0 }));
    await this.clock.pass(0);
    assert.equal(this.remote.underWay, [], "still under way");
    assert.is(this.clock.asleep, 0, "somebody still sleeps");
    assert.not.match(JSON.stringify(this.lines), /hush-hush|eyJ|aHVzaC/);
  }
}

/** What became of a promise, as text once it has settled: `ok` and JSON, or what it was rejected with. */
export class Fate<V = unknown> {
  text = "pending";
  value: V | undefined;
  error: unknown;

  constructor(promise: Promise<V>) {
    promise.then((value) => {
      this.value = value;
      this.text = `ok ${JSON.stringify(value)}`;
    }, (error: unknown) => {
      this.error = error;
      this.text = error instanceof StreamError ? error.code : String(error);
    });
  }

  /** What caused the rejection. */
  get cause(): unknown {
    return this.error instanceof Error ? this.error.cause : undefined;
  }
}

/** Loops over everything, and keeps it. */
export class Loop<T> {
  readonly heard: T[] = [];
  readonly fate: Fate;

  /** `body` is what each turn of the loop takes; false breaks it. */
  constructor(source: AsyncIterable<T>, body: (item: T) => unknown = () => {}) {
    this.fate = new Fate((async () => {
      for await (const item of source) {
        this.heard.push(item);
        if (await body(item) === false) break;
      }
      return this.heard.length;
    })());
  }
}

/** A task to run, as the engine would send it. */
export function start(
  n: number,
  init: MessageInitShape<typeof AssignedActionSchema> = {},
): MessageInitShape<typeof AssignedActionSchema> {
  return {
    actionType: ActionType.START_STEP_RUN,
    actionId: "double:double",
    taskName: "double",
    taskId: id(5),
    jobId: id(6),
    jobRunId: id(n),
    taskRunExternalId: id(n),
    workflowRunId: id(n),
    actionPayload: JSON.stringify({ input: { number: n }, parents: {}, triggers: {} }),
    ...init,
  };
}

/** A task to stop. */
export function cancel(n: number, attempt = 0): MessageInitShape<typeof AssignedActionSchema> {
  return start(n, { actionType: ActionType.CANCEL_STEP_RUN, actionPayload: "", retryCount: attempt });
}

/** A run that is done, as the results stream tells it. */
export function finished(
  n: number,
  ...results: readonly { readonly output?: string; readonly error?: string; readonly task?: string }[]
): MessageInitShape<typeof WorkflowRunEventSchema> {
  return {
    workflowRunId: id(n),
    results: results.map(({ task = "double", ...result }) => ({ taskName: task, taskRunExternalId: id(n), ...result })),
  };
}
