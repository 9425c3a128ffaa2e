import { connect } from "node:http2";
import process from "node:process";

/** What a piece of work took. */
export interface Cost {
  readonly wallMs: number;
  /** Of this process, all its threads. */
  readonly cpuMs: number;
}

/** Measures a piece of work. */
export async function cost(work: () => Promise<unknown>): Promise<Cost> {
  const before = process.cpuUsage();
  const startedAt = performance.now();
  await work();
  const wallMs = performance.now() - startedAt;
  const { system, user } = process.cpuUsage(before);
  return { wallMs, cpuMs: (user + system) / 1000 };
}

/** The CPU time that the source has used so far, in milliseconds. */
export async function sourceCpuMs(hostPort: string): Promise<number> {
  const session = connect(`http://${hostPort}`);
  try {
    return await new Promise<number>((resolve, reject) => {
      let text = "";
      const stream = session.request({ ":path": "/cpu" });
      stream.setEncoding("utf8");
      stream.on("data", (piece: string) => text += piece);
      stream.on("error", reject);
      stream.on("end", () => resolve(Number(text) / 1000));
      stream.end();
    });
  } finally {
    session.close();
  }
}

/** Tells the numbers of this process to the one that started it, and ends. */
export function tell(numbers: Readonly<Record<string, number>>): never {
  console.log(JSON.stringify(numbers));
  process.exit(0);
}
