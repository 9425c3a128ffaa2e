import { startEngine } from "../../../src/testing/mod.ts";
import type { Test } from "../../harness.ts";
import type { Command } from "../live.ts";
import { command, drain, live } from "../live.ts";
import type { Engine } from "./player.ts";
import { Player } from "./player.ts";

/** What a script does on one engine. */
type Script = (player: Player) => Promise<void>;

/** Why a line is another on the embedded engine, by its label. */
type Known = Readonly<Record<string, string>>;

/** Scripts that are played on the real engine and on the embedded one, and must be answered alike. */
export interface Comparison {
  (title: string, script: Script): void;
  (title: string, known: Known, script: Script): void;
  run(): void;
}

const limitMs = 180_000;

const real: Engine = {
  drain: async () => void await drain(),
  kill: () => command("LIVE_KILL"),
  start: () => command("LIVE_START"),
};

/** Opens a suite of such scripts. A known difference that is none any more fails too: strike it off. */
export function compare(name: string, ...commands: Command[]): Comparison {
  const test: Test = live(`live transcript: ${name}`, ...commands);
  const comparison = (title: string, known: Known | Script, script?: Script) => {
    const [expected, play] = typeof known === "function" ? [{}, known] : [known, script!];
    test(title, { limitMs }, async () => {
      const [theirs, ours] = await Promise.all([tape(real, play), embedded(play)]);
      const differences = difference(theirs, ours);
      for (const label of Object.keys(expected)) {
        if (!differences.delete(label)) differences.set(label, "    no difference any more");
      }
      if (differences.size === 0) return;
      for (const [label, text] of differences) console.log(`\n  ${title} › ${label}\n${text}`);
      throw new Error(`the engines differ in ${[...differences.keys()].join("; ")}`);
    });
  };
  return Object.assign(comparison, { run: () => test.run() });
}

async function embedded(script: Script): Promise<ReadonlyMap<string, string>> {
  const engine = await startEngine();
  const { hostPort, token } = engine;
  try {
    return await tape({
      hostPort,
      token,
      drain: () => engine.drain(),
      kill: () => engine.kill(),
      start: () => engine.restart(),
    }, script);
  } finally {
    await engine.close();
  }
}

async function tape(engine: Engine, script: Script): Promise<ReadonlyMap<string, string>> {
  const player = new Player(engine);
  try {
    await script(player);
  } catch (error) {
    player.tape.note("the script", `broke: ${String(error)}`);
  } finally {
    await player.close();
  }
  return player.tape.lines;
}

function difference(theirs: ReadonlyMap<string, string>, ours: ReadonlyMap<string, string>): Map<string, string> {
  const differences = new Map<string, string>();
  for (const label of new Set([...theirs.keys(), ...ours.keys()])) {
    const [real, own] = [theirs.get(label) ?? "nothing", ours.get(label) ?? "nothing"];
    if (real !== own) differences.set(label, `    real: ${real}\n    ours: ${own}`);
  }
  return differences;
}
