import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { command } from "../../tools/with.mjs";

/** A source in a process of its own. */
export interface SourceProcess {
  readonly hostPort: string;
  /** The same behind a wire that can be cut. */
  readonly wire: string;
  /** Gives back what it gets, see {@link Echo}. */
  readonly echo: string;
  /** Cuts the wire. */
  cut(): void;
  /** See {@link Source.drain}. */
  drain(): void;
  /** Kills it; resolves when it is gone. */
  kill(): Promise<void>;
}

const main = fileURLToPath(new URL("./main.ts", import.meta.url));

/** Starts a source, on Node whatever reads from it; it ends with this process. */
export async function startSource(port = 0, asks = 2): Promise<SourceProcess> {
  const [program = "", ...first] = command("node");
  const child: ChildProcess = spawn(program, [...first, main, String(port), String(asks)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  if (child.stdout === null) throw new Error("Its output is a pipe");
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  const [hostPort = "", wire = "", echo = ""] = String(line).split(" ");
  const order = (line: string) => {
    child.stdin?.write(`${line}\n`);
  };
  return {
    hostPort,
    wire,
    echo,
    cut: () => order("cut"),
    drain: () => order("drain"),
    async kill() {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}
