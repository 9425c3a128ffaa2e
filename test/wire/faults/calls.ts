import { answers } from "./answers.ts";
import { cuts } from "./cuts.ts";
import type { Row } from "./row.ts";

/** Faults in place of an answer, met by a call: they are what they are to a stream, and the call throws them. */
export const calls: readonly Row[] = [...answers, ...cuts]
  .filter(({ code, name, stream }) => name.endsWith("[pre]") && stream === undefined && code !== "OK")
  .map((row): Row => ({
    ...row,
    call: (client) => client.heartbeat({ workerId: "w" }),
    loop: "call",
    name: `unary ${row.name}`,
  }));
