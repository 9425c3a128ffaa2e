import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { assert, suite } from "../harness.ts";
import { answer, beat, pause, rawServer, until } from "./server.ts";

const test = suite("session exit");

/** Runs exit.ts on the runtime that runs this file; resolves with how it went. */
function run(...args: string[]): Promise<{ code: number | null; output: string }> {
  const isDeno = "deno" in process.versions;
  const child = spawn(process.execPath, [
    ...(isDeno ? ["run", "-A"] : []),
    fileURLToPath(new URL("./exit.ts", import.meta.url)),
    ...args,
  ]);
  const kill = setTimeout(() => child.kill("SIGKILL"), 8000);
  let output = "";
  for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (chunk: Uint8Array) => output += chunk);
  return new Promise((resolve) => {
    child.once("close", (code: number | null) => {
      clearTimeout(kill);
      resolve({ code, output });
    });
  });
}

test("an idle channel, one that was refused and one that waits hold no process", { limitMs: 10_000 }, async () => {
  const server = await rawServer((stream) => answer(stream, [beat], 0));

  const ended = await Promise.all([run("idle", server.hostPort), run("dialed", server.hostPort)]);
  await server.kill();

  assert.equal(ended.map(({ code, output }) => [code, output]), [[0, "done\n"], [0, "done\n"]]);
});

test("an open call holds its process until it ends, however quiet", { limitMs: 10_000 }, async () => {
  let end = () => {};
  const server = await rawServer((stream) => {
    end = () => answer(stream, [], 0);
  });

  const running = run("listening", server.hostPort);
  await until(() => server.open.size === 1);
  await pause(400);
  const held = server.open.size;
  end();
  const { code, output } = await running;
  await server.kill();

  assert.is(held, 1);
  assert.equal([code, output], [0, "done\n"]);
});

test.run();
