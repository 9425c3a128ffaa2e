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

/** How the source is. */
export interface SourceState {
  /** The CPU time that it has used so far. */
  readonly cpuMs: number;
  /** How many streams are open on it. */
  readonly streams: number;
}

/** Asks the source how it is, on a connection of its own. */
export async function source(hostPort: string): Promise<SourceState> {
  const session = connect(`http://${hostPort}`);
  try {
    return await new Promise((resolve, reject) => {
      let text = "";
      const stream = session.request({ ":path": "/state" });
      stream.setEncoding("utf8");
      stream.on("data", (piece: string) => text += piece);
      stream.on("error", reject);
      stream.on("end", () => resolve(JSON.parse(text)));
      stream.end();
    });
  } finally {
    session.close();
  }
}

/** A speed, its price for this process, and how busy the source was, of one core. */
export type Rate = Readonly<Record<"perSecond" | "cpuUs" | "sourceBusy", number>>;

/** How fast a piece of work does so many of what it does, and what each takes. */
export async function rate(hostPort: string, count: number, work: () => Promise<unknown>): Promise<Rate> {
  const before = await source(hostPort);
  const { cpuMs, wallMs } = await cost(work);
  const sourceMs = (await source(hostPort)).cpuMs - before.cpuMs;
  return { perSecond: count / wallMs * 1000, cpuUs: cpuMs / count * 1000, sourceBusy: sourceMs / wallMs };
}

/** Tells the numbers of this process to the one that started it, and ends. */
export function tell(numbers: Readonly<Record<string, number>>): never {
  console.log(JSON.stringify(numbers));
  process.exit(0);
}
