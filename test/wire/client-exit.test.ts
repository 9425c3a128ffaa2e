import { assert, suite } from "../harness.ts";
import { run, Stage } from "./client.ts";

const test = suite("client exit");

/** Each is a scene of client-exit.ts. */
const scenes = ["work", "watching", "watching without a close", "nothing"];

for (const scene of scenes) {
  test(`a process ends by itself: ${scene}`, { limitMs: 10_000 }, async () => {
    const stage = await Stage.open({ seed: 1 });

    const { code, lingeredMs, output } = await run(scene, stage.proxy.hostPort, stage.engine.token);
    await stage.close();

    assert.equal([code, output], [0, "done\n"]);
    assert.ok(lingeredMs < 1000, `it lingered for ${lingeredMs} ms`);
  });
}

test("a process whose engine is down ends by itself when it has closed", { limitMs: 10_000 }, async () => {
  const stage = await Stage.open({ seed: 1 });
  await stage.engine.kill();

  const { code, lingeredMs, output } = await run("down", stage.proxy.hostPort, stage.engine.token);
  await stage.close();

  assert.equal([code, output], [0, "done\n"]);
  assert.ok(lingeredMs < 1000, `it lingered for ${lingeredMs} ms`);
});

test.run();
