import { setTimeout as sleep } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import type { CallOptions, Client, Interceptor, Transport } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import type { AssignedAction } from "../../../src/proto.ts";
import {
  AdminService,
  Dispatcher,
  EventsService,
  StepActionEventType,
  V1Dispatcher,
  WorkflowService,
} from "../../../src/proto.ts";
import { loadTls, resolveConfig } from "../../../src/config.ts";
import type { Channel } from "../../../src/transport/channel.ts";
import { openChannel } from "../../../src/transport/channel.ts";
import { mark, pause } from "../live.ts";
import { ending, show, Tape } from "./tape.ts";

/** One of the two engines, as a script meets it. */
export interface Engine {
  readonly hostPort?: string;
  readonly token?: string;
  drain(): Promise<void>;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** A stream that is read in the background. */
export interface Reading<T> {
  readonly messages: T[];
  /** Resolves when it ended: undefined for OK, else with the error. */
  readonly ended: Promise<unknown>;
  abort(): void;
}

/** Plays a script on one engine, through nothing but the generated clients, and tapes what the engine says. */
export class Player {
  readonly tape: Tape = new Tape();
  readonly engine: Engine;
  readonly dispatcher: Client<typeof Dispatcher>;
  readonly admin: Client<typeof AdminService>;
  readonly workflows: Client<typeof WorkflowService>;
  readonly events: Client<typeof EventsService>;
  readonly durable: Client<typeof V1Dispatcher>;
  readonly #channels: Channel[] = [];
  readonly #readings: Reading<unknown>[] = [];
  readonly #beats: ReturnType<typeof setInterval>[] = [];

  constructor(engine: Engine) {
    this.engine = engine;
    const client = <S extends DescService>(service: S) => createClient(service, transport);
    const transport = this.transport();
    this.dispatcher = client(Dispatcher);
    this.admin = client(AdminService);
    this.workflows = client(WorkflowService);
    this.events = client(EventsService);
    this.durable = client(V1Dispatcher);
  }

  /** A connection of its own; with the header that is given, or with none for null. */
  transport(authorization?: string | null): Transport {
    const { hostPort, token } = this.engine;
    const config = resolveConfig({ ...(hostPort !== undefined && { hostPort, tls: false }), token });
    const authorize: Interceptor = (next) => async (request) => {
      const header = authorization === undefined ? `Bearer ${await config.token()}` : authorization;
      if (header !== null) request.header.set("authorization", header);
      return await next(request);
    };
    const channel = openChannel({
      address: config.address,
      interceptors: [authorize],
      writeMaxBytes: 2 ** 26,
      tls: config.tls && (() => loadTls(config)),
    });
    this.#channels.push(channel);
    return channel.transport;
  }

  /** Tapes what a call answers, and hands it on. */
  async call<T>(label: string, work: Promise<T>): Promise<T | undefined> {
    try {
      const answer = await work;
      this.tape.note(label, `OK ${show(answer)}`);
      return answer;
    } catch (error) {
      this.tape.note(label, ending(error));
      return undefined;
    }
  }

  note(label: string, value: unknown): void {
    this.tape.note(label, show(value));
  }

  read<T>(open: (options: CallOptions) => AsyncIterable<T>): Reading<T> {
    const life = new AbortController();
    const messages: T[] = [];
    const ended = (async () => {
      try {
        for await (const message of open({ signal: life.signal })) messages.push(message);
      } catch (error) {
        return error;
      }
      return undefined;
    })();
    const reading = { messages, ended, abort: () => life.abort() };
    this.#readings.push(reading);
    return reading;
  }

  /** Tapes the next messages of a stream, as many as are named; they are waited for. */
  async take<T>(label: string, { messages }: Reading<T>, count: number, limitMs = 40_000): Promise<T[]> {
    await patiently(() => messages.length >= count, limitMs);
    const taken = messages.splice(0, count);
    this.tape.note(label, taken.length < count ? `only ${taken.map(show).join(", ")}` : taken.map(show).join("\n    "));
    return taken;
  }

  /** Tapes what is left in a stream, and how it ends within the limit. */
  async end<T>(label: string, { ended, messages }: Reading<T>, limitMs = 15_000): Promise<void> {
    const limit = new AbortController();
    const open = sleep(limitMs, "open", { signal: limit.signal }).catch(() => "ended first");
    const how = await Promise.race([ended.then(ending), open]);
    limit.abort();
    this.tape.note(label, [...messages.splice(0).map(show), how].join("\n    "));
  }

  /** Waits for something that is not taped; false when it does not come. */
  until(what: () => boolean | Promise<boolean>, limitMs = 40_000): Promise<boolean> {
    return patiently(what, limitMs);
  }

  /** Puts a workflow of one task, `name:name`, and gives it the mark of this process. */
  async put(
    name: string,
    task: { retries?: number; timeout?: string; scheduleTimeout?: string } = {},
  ): Promise<string> {
    const marked = `${mark}-${name}`;
    await this.admin.putWorkflow({
      name: marked,
      tasks: [{ readableId: marked, action: `${marked}:${marked}`, ...task }],
    });
    return marked;
  }

  async trigger(name: string, input: unknown = {}): Promise<string> {
    const { workflowRunId } = await this.workflows.triggerWorkflow({ name, input: JSON.stringify(input) });
    return workflowRunId;
  }

  /** A worker that listens and beats. */
  async worker(...actions: string[]): Promise<Reading<AssignedAction> & { readonly workerId: string }> {
    const { workerId } = await this.dispatcher.register({ workerName: `${mark}-worker`, actions });
    const reading = this.read((options) => this.dispatcher.listenV2({ workerId }, options));
    await pause(300);
    await this.dispatcher.heartbeat({ workerId });
    this.beat(workerId);
    return Object.assign(reading, { workerId });
  }

  /** Beats for a worker until the end. */
  beat(workerId: string): void {
    const beat = () =>
      void this.dispatcher.heartbeat({ workerId }).catch(() => {
        // The worker may be gone: that is the script's business.
      });
    beat();
    this.#beats.push(setInterval(beat, 2000));
  }

  report(
    action: Pick<AssignedAction, "taskRunExternalId" | "retryCount">,
    type: keyof typeof StepActionEventType,
    payload = "",
  ) {
    const { retryCount, taskRunExternalId } = action;
    return this.dispatcher.sendStepActionEvent({
      taskRunExternalId,
      retryCount,
      eventType: StepActionEventType[type],
      eventPayload: payload,
    });
  }

  complete(action: Pick<AssignedAction, "taskRunExternalId" | "retryCount">, output: unknown = {}) {
    return this.report(action, "STEP_EVENT_TYPE_COMPLETED", JSON.stringify(output));
  }

  fail(action: Pick<AssignedAction, "taskRunExternalId" | "retryCount">, error = "broken") {
    return this.report(action, "STEP_EVENT_TYPE_FAILED", error);
  }

  /** The results of runs, with a request side of our own. */
  results() {
    const queue: string[] = [];
    let wake = () => {};
    let closed = false;
    async function* requests() {
      for (;;) {
        const workflowRunId = queue.shift();
        if (workflowRunId !== undefined) yield { workflowRunId };
        else if (closed) return;
        else await new Promise<void>((resolve) => wake = resolve);
      }
    }
    const reading = this.read((options) => this.dispatcher.subscribeToWorkflowRuns(requests(), options));
    const ask = (...ids: string[]) => {
      queue.push(...ids);
      wake();
    };
    const halfClose = () => {
      closed = true;
      wake();
    };
    return Object.assign(reading, { ask, halfClose });
  }

  /** Waits until the details of a run say that it is done; true when they do. */
  async done(runId: string, limitMs = 60_000): Promise<boolean> {
    return await patiently(async () => {
      try {
        return (await this.admin.getRunDetails({ externalId: runId })).done;
      } catch {
        return false; // It is not there yet.
      }
    }, limitMs);
  }

  async close(): Promise<void> {
    for (const beat of this.#beats) clearInterval(beat);
    for (const reading of this.#readings) reading.abort();
    await Promise.all(this.#readings.map(({ ended }) => ended));
    await Promise.all(this.#channels.map((channel) => channel.close()));
  }
}

async function patiently(what: () => boolean | Promise<boolean>, limitMs: number): Promise<boolean> {
  for (const end = Date.now() + limitMs; !await what();) {
    if (Date.now() > end) return false;
    await pause(50);
  }
  return true;
}
