import { Outbox } from "../../../src/streams/outbox.ts";
import type { FrameCall } from "../frames.ts";
import { ok } from "../frames.ts";
import { blows } from "./cuts.ts";
import type { Message, Opening, Row } from "./row.ts";
import { framed, killed, served } from "./scene.ts";

const lost = { loop: "again", origin: "wire", verdict: "transient" } as const;

/** Which of the cut and the write comes first is a matter of luck. */
const rounds = 5;

/** A stream both ways that sent one request, and, where it writes, sends another every millisecond. */
async function* both({ attempt, client, options }: Opening, writes: boolean): AsyncGenerator<Message, void> {
  const requests = new Outbox([{ workflowRunId: "r" }], attempt.signal);
  const timer = setInterval(() => writes && requests.push({ workflowRunId: "r".repeat(500) }), 1);
  try {
    for await (const { workflowRunId: id } of client.subscribeToWorkflowRuns(requests, options)) yield { id };
  } finally {
    clearInterval(timer);
  }
}

const quietly = (opening: Opening) => both(opening, false);
const writing = (opening: Opening) => both(opening, true);
const finish: FrameCall = (connection, id) => connection.headers(id, ok, true);

/** Streams both ways, idle and while they write. On Deno a lost wire has other codes here than on one way. */
export const ways: readonly Row[] = [
  { ...lost, name: "bidi tcpfin", open: quietly, rounds, scene: () => framed(cut("tcpfin"), "mid") },
  { ...lost, name: "bidi tcprst", open: quietly, rounds, scene: () => framed(cut("tcprst"), "mid") },
  { ...lost, name: "bidi sigkill", open: quietly, scene: () => killed("SIGKILL", "mid") },
  { ...lost, name: "bidi sigterm_exit", open: quietly, scene: () => killed("SIGTERM", "mid") },
  {
    ...lost,
    name: "bidi sess_destroy",
    open: quietly,
    scene: () => served(({ session }) => session?.destroy(), "mid"),
  },
  ...["tcpfin", "tcprst", "goaway_close", "goaway_calm", "rststream:0", "rststream:2", "rststream:8"].map((
    name,
  ): Row => ({
    ...lost,
    name: `bidi ${name}, while writing`,
    open: writing,
    rounds,
    scene: () => framed(cut(name), "mid"),
  })),
  { ...lost, name: "bidi sigkill, while writing", open: writing, scene: () => killed("SIGKILL", "mid") },
  {
    ...lost,
    code: "OK",
    name: "bidi ok, while writing",
    open: writing,
    origin: "engine",
    rounds,
    scene: () => framed(finish, "mid"),
  },
  {
    abort: { at: "message" },
    guard: "signal",
    loop: "reason",
    name: "bidi abort() mid, while writing",
    open: writing,
    origin: "own",
    scene: () => framed(() => {}, "mid"),
    verdict: "none",
  },
];

function cut(name: string): FrameCall {
  const act = blows[name];
  if (act === undefined) throw new Error(`There is no ${name}`);
  return act;
}
