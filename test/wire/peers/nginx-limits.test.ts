import type { Client } from "@connectrpc/connect";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Dispatcher } from "../../../gen/dispatcher/dispatcher_pb.ts";
import { isUnsent } from "../../../src/streams/errors.ts";
import type { Engine } from "../../../src/testing/mod.ts";
import { startEngine } from "../../../src/testing/mod.ts";
import type { Channel } from "../../../src/transport/channel.ts";
import { openChannel } from "../../../src/transport/channel.ts";
import { assert, rejects } from "../../harness.ts";
import { suiteUnless, verdictOf } from "./peers.ts";
import type { Proxy } from "./proxies.ts";
import { nginx } from "./proxies.ts";

const test = suiteUnless("limits of nginx", nginx.lack);

let engine: Engine;
let proxy: Proxy;
let channel: Channel;
let dispatcher: Client<typeof Dispatcher>;
test.before.each(async () => {
  engine = await startEngine({ seed: 1 });
});
test.after.each(async () => {
  await channel.close();
  await proxy.end();
  await engine.close();
});

async function begin(directives: string): Promise<void> {
  proxy = await nginx.start(Number(engine.hostPort.split(":")[1]), { directives });
  channel = openChannel({
    address: () => Promise.resolve({ host: "127.0.0.1", port: proxy.port }),
    interceptors: [(next) => (request) => {
      request.header.set("authorization", `Bearer ${engine.token}`);
      return next(request);
    }],
  });
  dispatcher = createClient(Dispatcher, channel.transport);
}

test("a connection that is closed after so many calls costs none of them", { limitMs: 5000 }, async () => {
  await begin("keepalive_requests 50;");
  const connections = new Set<unknown>();
  const lost: unknown[] = [];
  let answered = 0;

  const register = async (workerName: string): Promise<void> => {
    try {
      const onHeader = () => connections.add(channel.connection);
      await dispatcher.register({ workerName, actions: ["a:a"] }, { onHeader });
      answered++;
    } catch (error) {
      // What was never sent may be made again; of what was, nobody knows.
      if (isUnsent(error)) await register(workerName);
      else lost.push(error);
    }
  };
  const lanes = Array.from({ length: 10 }, async (_, lane) => {
    for (let number = 0; number < 40; number++) await register(`w-${lane}-${number}`);
  });
  await Promise.all(lanes);

  assert.equal(lost, []);
  assert.is(answered, 400);
  assert.is(engine.seen.count("Register"), 400);
  assert.ok(connections.size >= 7, `${connections.size} connections`);
});

test("more calls than a connection may carry at a time wait for their turn", { limitMs: 5000 }, async () => {
  await begin("http2_max_concurrent_streams 5;");

  await Promise.all(Array.from({ length: 200 }, () => dispatcher.putOverridesData({})));

  assert.is(engine.seen.count("PutOverridesData"), 200);
});

test("an error page in the words of gRPC passes, too", async () => {
  await begin(`
    error_page 502 = /grpc502;
    location = /grpc502 {
      internal;
      default_type application/grpc;
      add_header grpc-status 14;
      add_header grpc-message unavailable;
      return 204;
    }
  `);
  await dispatcher.putOverridesData({});

  await engine.kill();
  const error = await rejects(dispatcher.putOverridesData({}), ConnectError);
  await engine.restart();
  await dispatcher.putOverridesData({});

  assert.equal([error.code, error.rawMessage, verdictOf(error)], [Code.Unavailable, "unavailable", "transient"]);
});

test.run();
