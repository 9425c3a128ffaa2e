import { Code, createClient as createConnectClient } from "@connectrpc/connect";
import { Dispatcher } from "../../../gen/dispatcher/dispatcher_pb.ts";
import type { Client, ClientOptions, StreamReport, Worker, WorkerOptions } from "../../../src/mod.ts";
import { createClient, task } from "../../../src/mod.ts";
import { isUnsent } from "../../../src/streams/errors.ts";
import { originOf } from "../../../src/streams/verdict.ts";
import type { Engine } from "../../../src/testing/mod.ts";
import { startEngine } from "../../../src/testing/mod.ts";
import type { Channel } from "../../../src/transport/channel.ts";
import { openChannel } from "../../../src/transport/channel.ts";
import { assert, rejects } from "../../harness.ts";
import { double, hasty, quick, until } from "../client.ts";
import { pause } from "../server.ts";
import { course, failed, suiteUnless, verdictOf } from "./peers.ts";
import type { Proxy, ProxyKind, ProxyOptions } from "./proxies.ts";

/** Tests a client, and a channel alone, behind a proxy that is not ours. */
export function behind(kind: ProxyKind): void {
  const test = suiteUnless(`behind ${kind.name}`, kind.lack);

  let engine: Engine;
  let proxy: Proxy;
  const clients: Client[] = [];
  const channels: Channel[] = [];
  test.before.each(async () => {
    engine = await startEngine({ seed: 1 });
  });
  test.after.each(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close({ graceMs: 0 })));
    await Promise.all(channels.splice(0).map((channel) => channel.close()));
    await proxy.end();
    await engine.close();
  });

  const begin = async (options?: ProxyOptions) => {
    proxy = await kind.start(Number(engine.hostPort.split(":")[1]), options);
  };

  function client(options: ClientOptions = {}): Client {
    const { token } = engine;
    const hostPort = `127.0.0.1:${proxy.port}`;
    const one = createClient({ hostPort, token, tls: false, logger: false, retry: quick, ...options });
    clients.push(one);
    return one;
  }

  async function worker(of: Client, ...more: WorkerOptions["tasks"]): Promise<Worker> {
    const one = of.worker("tester", { tasks: [double, ...more] });
    one.run().catch((error: unknown) => {
      // Whoever awaits `ready()` hears of it.
      void error;
    });
    await one.ready();
    return one;
  }

  /** A channel without a client around it, and calls on it with the engine's token. */
  function bare() {
    const channel = openChannel({
      address: () => Promise.resolve({ host: "127.0.0.1", port: proxy.port }),
      interceptors: [(next) => (request) => {
        request.header.set("authorization", `Bearer ${engine.token}`);
        return next(request);
      }],
    });
    channels.push(channel);
    return { channel, dispatcher: createConnectClient(Dispatcher, channel.transport) };
  }

  test("results and events of runs arrive", { limitMs: 5000 }, async () => {
    await begin();
    const one = client();
    await worker(one);

    const watched = await one.runs.trigger(double, { number: 21, afterMs: 400 });
    const events = course(watched.events());
    const numbers = Array.from({ length: 30 }, (_, number) => number);
    const results = await Promise.all(numbers.map((number) => one.runs.run(double, { number, afterMs: number })));
    const { heard, error } = await events;

    assert.equal(results, numbers.map((number) => ({ doubled: 2 * number })));
    assert.is(error, undefined);
    assert.equal(heard.at(-1)?.kind, "completed");
  });

  test("what it says of an engine that is silent or down is the wire's, and passes", { limitMs: 5000 }, async () => {
    await begin({ idleMs: 300 });
    const { channel, dispatcher } = bare();
    const { workerId } = await dispatcher.register({ workerName: "bare", actions: ["a:a"] });

    const silent = await course(dispatcher.listenV2({ workerId }));
    await engine.kill();
    const call = await rejects(dispatcher.putOverridesData({}));
    const stream = await course(dispatcher.listenV2({ workerId }));
    const { connection } = channel;
    await engine.restart();
    await dispatcher.putOverridesData({});

    for (const error of [silent.error, call, stream.error]) {
      assert.equal([...failed(error), verdictOf(error)], [Code.Unavailable, "wire", "transient"]);
    }
    assert.match(String(silent.error), /504/);
    assert.match(String(call), new RegExp(`${kind.down}`));
    assert.is(channel.connection, connection);
  });

  test("streams come back each time that they were idle for too long, and no result is lost", {
    limitMs: 10_000,
  }, async () => {
    await begin({ idleMs: 300 });
    // nginx says that it has cut a stream when it next says something on the connection: here, that it lives.
    const one = client({ keepAlive: { intervalMs: 100, timeoutMs: 2000 } });
    const reports: StreamReport[] = [];
    const watched = (async () => {
      for await (const report of one.status()) reports.push(report);
    })();
    let release: ((output: { held: boolean }) => void) | undefined;
    const held = task({
      name: "held",
      run: () => new Promise<{ held: boolean }>((resolve) => release = resolve),
    });
    const receiver = await worker(one, held);
    const cuts = (stream: string) =>
      reports.flatMap((report) => report.stream === stream && report.state === "waiting" ? [report.error] : []);

    const slow = one.runs.run(held, {});
    await until(() => release !== undefined && cuts("actions").length >= 2 && cuts("results").length >= 2);
    await receiver.ready();
    const quickly = await one.runs.run(double, { number: 21 });
    release?.({ held: true });
    const results = [quickly, await slow];
    await one.close({ graceMs: 0 });
    await watched;

    assert.equal(results, [{ doubled: 42 }, { held: true }]);
    const errors = [...cuts("actions"), ...cuts("results")];
    assert.equal([...new Set(errors.map(originOf))], ["wire"]);
    assert.is(engine.seen.reports.filter(({ type }) => type === "completed").length, 2);
  });

  test("a reload loses no call and no result", { limitMs: 10_000 }, async () => {
    await begin({ graceMs: 400 });
    const one = client();
    await worker(one);
    const { dispatcher } = bare();
    const runs = await Promise.all(
      Array.from({ length: 30 }, (_, number) => one.runs.trigger(double, { number, afterMs: 12 * number })),
    );
    let asked = 0;
    let isOver = false;
    const lost: unknown[] = [];
    const asking = (async () => {
      for (; !isOver; asked++) {
        // What was never sent may be made again.
        await dispatcher.putOverridesData({}).catch((error: unknown) => isUnsent(error) || lost.push(error));
      }
    })();
    const results = Promise.all(runs.map((run) => run.result()));

    await pause(50);
    await proxy.reload();
    const after = await one.runs.run(double, { number: 100 });
    const doubled = await results;
    isOver = true;
    await asking;

    assert.equal(lost, []);
    assert.is(after.doubled, 200);
    assert.equal(doubled, runs.map((_, number) => ({ doubled: 2 * number })));
    assert.ok(asked > 0, `${asked} calls`);
  });

  test("a stream that is renewed before its idle limit is never cut, and misses no work", {
    limitMs: 10_000,
  }, async () => {
    await begin({ idleMs: 700 });
    // Three minutes are 360 ms, and a connect is given two seconds.
    const one = client({ clock: hasty(500), keepAlive: false, retry: { ...quick, connectTimeoutMs: 1_000_000 } });
    await worker(one);
    const states = new Set<string>();
    void (async () => {
      for await (const { state, stream } of one.status()) if (stream === "actions") states.add(state);
    })();

    await until(() => engine.seen.count("ListenV2") >= 3);
    // A client that has its time: the half minute of a call is 60 ms of the other's.
    const caller = client();
    const results = await Promise.all([1, 2, 3].map((number) => caller.runs.run(double, { number })));

    assert.equal(results, [{ doubled: 2 }, { doubled: 4 }, { doubled: 6 }]);
    assert.equal([...states], ["live"]);
    assert.is(engine.seen.count("Register"), 1);
  });

  test("the idle limit is learned from two cuts, and no third stream runs into it", { limitMs: 10_000 }, async () => {
    await begin({ idleMs: 600 });
    // A minute at this pace.
    const one = client({ clock: hasty(100), keepAlive: false, retry: { ...quick, connectTimeoutMs: 1_000_000 } });
    await worker(one);
    let cuts = 0;
    void (async () => {
      for await (const { state, stream } of one.status()) if (stream === "actions" && state === "waiting") cuts++;
    })();

    await until(() => engine.seen.count("ListenV2") >= 7);

    assert.is(cuts, 2);
    assert.is(one.health().ready, true);
  });

  test.run();
}
