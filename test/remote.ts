import type { Interceptor } from "@connectrpc/connect";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { Dispatcher } from "../gen/dispatcher/dispatcher_pb.ts";
import { V1Dispatcher } from "../gen/v1/dispatcher_pb.ts";
import { AdminService } from "../gen/v1/workflows_pb.ts";
import { WorkflowService } from "../gen/workflows/workflows_pb.ts";
import type { Clock, Connection } from "../src/streams/mod.ts";
import { StreamError } from "../src/streams/mod.ts";
import { linked, onAbort, unlessAborted } from "../src/streams/signal.ts";
import type { Authorization } from "../src/root.ts";
import type { Channel } from "../src/transport/channel.ts";
import { unreachable } from "../src/transport/failure.ts";
import { Call, Wire } from "./wires.ts";

/** What a unary call is answered with: a message, a thrown error, or whatever the function makes of the call. */
export type Answer = ConnectError | Readonly<Record<string, unknown>> | ((call: Call) => unknown);

/** The nth id that the remote gives away. */
export function id(n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
}

/** A status of the engine's own. */
export function said(code: Code, metadata: Readonly<Record<string, string>> = {}): ConnectError {
  return new ConnectError("the engine said so", code, { "grpc-status": String(code), ...metadata });
}

/** The connection that all calls of one moment share. */
class Link implements Connection {
  alive = true;
  readonly carried = new Set<Call>();
}

/** An engine in memory, moved by hand: it keeps what it was asked, and answers what the test says. */
export class Remote {
  /** The unary calls that reached it, in order. */
  readonly calls: Call[] = [];
  /** The streams that were opened, in order. */
  readonly wires: Wire[] = [];
  /** When it was dialed. */
  readonly dialedAt: number[] = [];
  /** False while it cannot be dialed. */
  listening = true;
  readonly #clock: Clock;
  readonly #once = new Map<string, Answer[]>();
  readonly #always = new Map<string, Answer>();
  #link: Link | undefined;
  #linked: (() => void)[] = [];
  #closed = false;
  #address: ((signal: AbortSignal) => Promise<unknown>) | undefined;
  #ids = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The newest stream of a method. */
  wire(method: string): Wire {
    const wire = this.wires.findLast((one) => one.method === method);
    if (wire === undefined) throw new Error(`no ${method} was opened`);
    return wire;
  }

  /** The streams of a method, the oldest first. */
  opened(method: string): Wire[] {
    return this.wires.filter((wire) => wire.method === method);
  }

  /** The unary calls of a method, the oldest first. */
  asked(method: string): Call[] {
    return this.calls.filter((call) => call.method === method);
  }

  /** What is still under way: nothing, when a client has closed. */
  get underWay(): string[] {
    return [...this.calls, ...this.wires].filter((call) => !call.over).map(({ method }) => method);
  }

  /** Answers the next calls of a method, one each. */
  next(method: string, ...answers: Answer[]): void {
    this.#once.set(method, [...this.#once.get(method) ?? [], ...answers]);
  }

  /** Answers every call of a method from now on; nothing brings the usual answer back. */
  always(method: string, answer?: Answer): void {
    if (answer === undefined) this.#always.delete(method);
    else this.#always.set(method, answer);
  }

  /** Loses the connection, and with it every call. */
  kill(): void {
    const link = this.#link;
    this.#link = undefined;
    if (link === undefined) return;
    link.alive = false;
    for (const call of [...link.carried]) call.cut();
  }

  /** GOAWAY: the connection takes no new calls, and keeps those it has until they are cut by what this returns. */
  goAway(): () => void {
    const link = this.#link;
    this.#link = undefined;
    if (link !== undefined) link.alive = false;
    return () => {
      for (const call of [...link?.carried ?? []]) call.cut();
    };
  }

  /** The way of a client to this engine. */
  channel(authorization?: Authorization, address?: (signal: AbortSignal) => Promise<unknown>): Channel {
    this.#address = address;
    const { unary, stream } = this.#transport(authorization);
    const connection = () => this.#link;
    return {
      transport: {
        stream,
        // Time-outs on the virtual clock: those of Connect are real.
        unary: async (method, signal, timeoutMs, header, input, values) => {
          const life = linked(signal);
          let late: ConnectError | undefined;
          this.#clock.sleep(timeoutMs ?? Infinity, life.signal).then(() => {
            life.abort(late = new ConnectError("the operation timed out", Code.DeadlineExceeded));
          }, () => {});
          try {
            return await unary(method, life.signal, undefined, header, input, values);
          } catch (error) {
            throw late ?? error;
          } finally {
            life.abort();
          }
        },
      },
      ready: (signal) => this.#ready(signal),
      up: (signal) => this.#up(signal),
      get connection() {
        return connection();
      },
      close: () => {
        this.#closed = true;
        this.kill();
        return Promise.resolve();
      },
    };
  }

  async #ready(signal: AbortSignal): Promise<Link> {
    signal.throwIfAborted();
    if (this.#closed) throw new StreamError("closed", "The connection was closed");
    if (this.#link !== undefined) return this.#link;
    await this.#address?.(signal);
    this.dialedAt.push(this.#clock.now());
    if (!this.listening) throw unreachable(Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }));
    this.#link = new Link();
    for (const wake of this.#linked.splice(0)) wake();
    return this.#link;
  }

  async #up(signal: AbortSignal): Promise<Link | undefined> {
    while (this.#link === undefined) {
      await unlessAborted(new Promise<void>((resolve) => this.#linked.push(resolve)), signal);
    }
    return this.#link;
  }

  #transport(authorization: Authorization | undefined): Channel["transport"] {
    const authorize: Interceptor = (next) => async (request) => {
      if (authorization) request.header.set("authorization", await authorization(request.signal));
      return await next(request);
    };
    const carry: Interceptor = (next) => async (request) => {
      const { header, method, signal, stream } = request;
      const link = await this.#ready(signal);
      const seen = {
        method: method.localName,
        at: this.#clock.now(),
        authorization: header.get("authorization") ?? "",
      };
      const call = stream ? new Wire(seen) : new Call(seen);
      const all: Call[] = stream ? this.wires : this.calls;
      header.set("number", String(all.push(call) - 1));
      link.carried.add(call);
      void call.ended.then(() => link.carried.delete(call));
      onAbort(signal, () => call.end());
      return call instanceof Wire ? await call.stream(() => next(request)) : await call.unary(() => next(request));
    };
    return createRouterTransport(({ service }) => {
      const calls = (header: Headers): Call => this.calls[Number(header.get("number"))]!; // The interceptor put it there.
      const wires = (header: Headers): Wire => this.wires[Number(header.get("number"))]!; // The same.
      const answer = <A>({ requestHeader }: { requestHeader: Headers }, request: object, usual: A): Promise<A> =>
        this.#answer(calls(requestHeader), request, usual);
      service(Dispatcher, {
        register: (request, context) =>
          answer(context, request, { workerId: id(++this.#ids), workerName: request.workerName }),
        heartbeat: (request, context) => answer(context, request, {}),
        getVersion: (request, context) => answer(context, request, { version: "v0.90.0" }),
        putOverridesData: (request, context) => answer(context, request, {}),
        sendStepActionEvent: (request, context) => answer(context, request, {}),
        releaseSlot: (request, context) => answer(context, request, {}),
        unsubscribe: (request, context) => answer(context, request, {}),
        listenV2: (request, { requestHeader }) => wires(requestHeader).serve([request]),
        listen: (request, { requestHeader }) => wires(requestHeader).serve([request]),
        subscribeToWorkflowEvents: (request, { requestHeader }) => wires(requestHeader).serve([request]),
        subscribeToWorkflowRuns: (requests, { requestHeader }) => wires(requestHeader).serve(requests),
      });
      service(V1Dispatcher, {
        registerDurableEvent: (request, context) => answer(context, request, {}),
        listenForDurableEvent: (requests, { requestHeader }) => wires(requestHeader).serve(requests),
        durableTask: (requests, { requestHeader }) => wires(requestHeader).serve(requests),
      });
      service(AdminService, {
        putWorkflow: (request, context) => answer(context, request, {}),
        getRunDetails: (request, context) => answer(context, request, {}),
        cancelTasks: (request, context) => answer(context, request, {}),
      });
      service(WorkflowService, {
        triggerWorkflow: (request, context) => answer(context, request, { workflowRunId: id(++this.#ids) }),
      });
    }, { transport: { interceptors: [authorize, carry] } });
  }

  async #answer<A>(call: Call, request: object, usual: A): Promise<A> {
    call.request = request;
    const answer = this.#once.get(call.method)?.shift() ?? this.#always.get(call.method);
    const made: unknown = typeof answer === "function" ? await answer(call) : answer;
    if (made instanceof Error) throw call.refuse(made);
    return made === undefined ? usual : made as A; // Tests know what they answer.
  }
}
