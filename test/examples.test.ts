import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { format } from "node:util";
import * as actions from "../examples/actions.ts";
import * as deploy from "../examples/deploy.ts";
import * as start from "../examples/start.ts";
import type { Cut } from "../examples/start/storm.ts";
import * as status from "../examples/status.ts";
import * as streams from "../examples/streams.ts";
import * as trigger from "../examples/trigger.ts";
import * as web from "../examples/web.ts";
import * as worker from "../examples/worker.ts";
import type { Client } from "../src/mod.ts";
import { createClient } from "../src/mod.ts";
import type { Engine } from "../src/testing/mod.ts";
import { cuttingProxy, startEngine } from "../src/testing/mod.ts";
import { assert, suite } from "./harness.ts";

const test = suite("examples");
const usual = console.log;

let engine: Engine;
let client: Client;
let stop: AbortController;
let said: string[];

test.before.each(async () => {
  engine = await startEngine({ seed: 1 });
  client = createClient({ hostPort: engine.hostPort, token: engine.token, tls: false, logger: false });
  stop = new AbortController();
  said = [];
  console.log = (...args) => void said.push(format(...args));
});

test.after.each(async () => {
  console.log = usual;
  await client.close({ graceMs: 0 });
  await engine.close();
});

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(5);
}

test("a worker runs until it is told to stop", { limitMs: 10_000 }, async () => {
  const working = worker.main(client, stop.signal);
  await until(() => said.length > 0);
  const { greeting } = await client.runs.run(worker.greet, { name: "Ada" });

  stop.abort();
  await working;

  assert.is(greeting, "Hello, Ada!");
  assert.equal(said, ["The worker is ready."]);
});

test("runs are triggered and awaited in every way", { limitMs: 20_000 }, async () => {
  const working = worker.main(client, stop.signal);
  await until(() => said.length > 0);

  await trigger.main(client, stop.signal);
  stop.abort();
  await working;

  assert.equal(said.slice(1), [
    "Hello, Ada!",
    "{ greet: { greeting: 'Hello, Grace!' } }",
    "completed",
    "completed",
    "greet: There is nobody to greet",
  ]);
});

test("what a task writes streams to a web response", { limitMs: 10_000 }, async () => {
  await web.main(client, stop.signal);

  // What was written before the handler listened may be missing, and is told then.
  assert.match(said.at(-1) ?? "", /was an oak and it grew back$|a gap/);
});

test("a handler that lives no longer than its request triggers and awaits", { limitMs: 10_000 }, async () => {
  const working = worker.main(client, stop.signal);
  await until(() => said.length > 0);

  await deploy.main(client, stop.signal, { hostPort: engine.hostPort, token: engine.token, tls: false, logger: false });
  stop.abort();
  await working;

  assert.equal(said.slice(1), ['200 {"greeting":"Hello, Ada!"}']);
});

test("actions are looped over, run and reported", { limitMs: 10_000 }, async () => {
  const looping = actions.main(client, stop.signal);
  await until(() => said.length > 0);

  const outputs = await client.runs.run("shout", { text: "hello" });
  stop.abort();
  await looping;

  assert.equal(outputs, { shout: { text: "HELLO" } });
});

test("statuses are told, and the probe is ready when the worker is", { limitMs: 10_000 }, async () => {
  const working = worker.main(client, stop.signal);
  const watching = status.main(client, stop.signal);
  await until(() => said.includes("actions: live"));
  const url = /http:[^ ]+\d/.exec(said.find((line) => line.includes("http:"))!)![0];

  const response = await fetch(url, { headers: { connection: "close" } });
  const body = await response.text();
  stop.abort();
  await Promise.all([watching, working]);

  assert.equal([response.status, body], [200, '[{"state":"live","stream":"actions"}]']);
});

test("a counter is followed through its cuts", { limitMs: 10_000 }, async () => {
  await streams.main(client, stop.signal);

  assert.equal(said, ["1", "2", "3", "cut", "4", "5", "6", "cut", "7", "8"]);
});

test("the show loses nothing, and says so", { limitMs: 20_000 }, async () => {
  const proxy = await cuttingProxy(engine.hostPort);
  const { hostPort } = proxy;
  const { token } = engine;
  const retry = { firstDelayMs: 50, capMs: 200 };
  const shaken = createClient({ hostPort, token, retry, tls: false, logger: false });
  const cuts: Cut[] = [
    { kind: "RST", strike: () => proxy.cut("rst") },
    { kind: "kill and restart", strike: () => engine.kill().then(() => engine.restart()) },
  ];
  const written: string[] = [];
  const out = { isTTY: false, columns: 80, write: (text: string) => written.push(text) > 0 };

  const unlost = await start.main(shaken, stop.signal, cuts, { calmMs: () => 100, inFlight: 50, endMs: 9000 }, out);
  await shaken.close({ graceMs: 0 });
  await proxy.close();

  const table = written.join("");
  assert.ok(unlost, table);
  assert.match(table, /RST +back after/);
  assert.match(table, /results lost +0\n/);
  assert.match(table, /in flight at every cut, at least +[56]\d\n/);
});

test("every example is run here", () => {
  const files = readdirSync(new URL("../examples", import.meta.url)).filter((file) => file.endsWith(".ts"));

  assert.equal(files.toSorted(), [
    "actions.ts",
    "deploy.ts",
    "run.ts",
    "start.ts",
    "status.ts",
    "streams.ts",
    "trigger.ts",
    "web.ts",
    "worker.ts",
  ]);
});

test.run();
