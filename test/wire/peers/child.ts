import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { spawn } from "node:child_process";
import process from "node:process";
import { until } from "../server.ts";

/** A program that runs for a test, in the foreground, until the test ends it. */
export interface Child {
  readonly pid: number;
  /** The lines that it said on its standard output. */
  readonly said: readonly string[];
  /** What it said on its standard error. */
  readonly complaints: string;
  /** Whether it is gone. */
  readonly ended: boolean;
  /** Says a line to it. */
  tell(line: string): void;
  /** Sends it a signal. */
  signal(name: NodeJS.Signals): void;
  /** Closes its standard input, kills it if that is not enough, and resolves when it is gone. Idempotent. */
  end(): Promise<void>;
}

/** Where servers are installed that not everybody is expected to start. */
export const path: string = [process.env["PATH"], "/usr/local/sbin", "/usr/sbin"].join(":");

/** How long a program that was asked to end may take, in milliseconds. */
const patienceMs = 500;

/** Starts a program that ends by itself when its standard input does, as it does when this process dies. */
export function start(program: string, args: readonly string[]): Child {
  const child = spawn(program, args, { env: { ...process.env, PATH: path } });
  const said: string[] = [];
  const state = { ended: false, complaints: "" };
  const gone = new Promise<void>((resolve) => {
    const over = () => {
      state.ended = true;
      resolve();
    };
    child.once("close", over);
    child.once("error", (error) => {
      state.complaints += error.message;
      over();
    });
  });
  child.stdin.on("error", () => {
    // It may be gone already.
  });
  read(child, said);
  child.stderr.on("data", (chunk: Uint8Array) => state.complaints += chunk);
  return {
    get pid() {
      return child.pid ?? 0;
    },
    said,
    get complaints() {
      return state.complaints;
    },
    get ended() {
      return state.ended;
    },
    tell: (line) => void child.stdin.write(`${line}\n`),
    // Deno's own kill() closes the standard input, too.
    signal: (name) => void (child.pid !== undefined && !state.ended && process.kill(child.pid, name)),
    async end() {
      child.stdin.end();
      const kill = setTimeout(() => child.kill("SIGKILL"), patienceMs);
      await gone;
      clearTimeout(kill);
    },
  };
}

/** Asks its own process to end as soon as its standard input does, and becomes another program in that process. */
const bound = 'exec 3<&0; { read -r _ <&3; kill -TERM $$; } >/dev/null 2>&1 & exec "$@" 3<&- </dev/null';

/** Starts a program that does not mind its standard input, and is ended with it all the same. */
export function startBound(program: string, args: readonly string[]): Child {
  return start("sh", ["-c", bound, "sh", program, ...args]);
}

/** Waits for a line that fits, and returns what the pattern caught, or the line. */
export async function heard(child: Child, pattern: RegExp): Promise<string> {
  let found: RegExpExecArray | undefined;
  await until(() => {
    if (child.ended) throw new Error(`ended without a word of ${pattern}: ${child.complaints}`);
    found ??= child.said.map((line) => pattern.exec(line)).find((match) => match !== null) ?? undefined;
    return found !== undefined;
  });
  return found?.[1] ?? found?.[0] ?? "";
}

function read(child: ChildProcessWithoutNullStreams, said: string[]): void {
  let rest = "";
  child.stdout.on("data", (chunk: Uint8Array) => {
    const lines = `${rest}${chunk}`.split("\n");
    rest = lines.pop() ?? "";
    said.push(...lines);
  });
}
