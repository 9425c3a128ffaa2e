import type { StreamReport } from "../src/board.ts";
import { Board } from "../src/board.ts";
import { assert, suite } from "./harness.ts";

const test = suite("board");
const connecting = { state: "connecting", attempt: 1 } as const;
const live = { state: "live", sinceMs: 5, paused: false } as const;
const waiting = { state: "waiting", failures: 1, delayMs: 9, error: new Error("cut") } as const;

/** A board, and what it told. */
function board(): { readonly all: Board; readonly told: StreamReport[] } {
  const told: StreamReport[] = [];
  return { all: new Board((report) => told.push(report)), told };
}

test("a stream is on the board from its first word until it has ended", () => {
  const { all, told } = board();
  const entry = all.add("results", "shared");
  assert.equal(all.health().streams, []);

  entry.tell(connecting);
  const during = all.health().streams;
  entry.tell({ state: "ended" });

  assert.equal(during, [{ stream: "results", id: "shared", state: "connecting", ready: false }]);
  assert.equal(all.health().streams, []);
  assert.equal(told.map(({ state, stream, id }) => [state, stream, id]), [
    ["connecting", "results", "shared"],
    ["ended", "results", "shared"],
  ]);
});

test("is ready while every stream is live and undoubted, and says what is wrong with one that is not", () => {
  const { all } = board();
  const [one, other] = [all.add("results", "shared"), all.add("actions", "worker")];
  const ready = () => all.health().ready;
  assert.is(ready(), true, "without streams nothing is amiss");

  one.tell(live);
  other.tell(connecting);
  assert.is(ready(), false);
  other.tell(live);
  assert.is(ready(), true);
  other.tell(waiting);
  assert.equal([ready(), all.health().streams[1]?.error], [false, waiting.error]);
  other.tell(live);
  other.doubt("refused");
  assert.equal([ready(), all.health().streams[1]?.error], [false, "refused"]);
  other.doubt(undefined);
  assert.is(ready(), true);
  all.close();
  assert.is(ready(), false);
});

test("a watch begins with a snapshot, then tells changes", async () => {
  const { all } = board();
  all.add("results", "shared").tell(live);
  const actions = all.add("actions", "worker");
  actions.tell(connecting);

  const watch = all.watch();
  const heard = [await watch.next(), await watch.next()];
  const next = watch.next();
  actions.tell(live);
  heard.push(await next);

  assert.equal(heard.map(({ value }) => `${value?.stream} ${value?.state}`), [
    "results live",
    "actions connecting",
    "actions live",
  ]);
});

test("of each stream only the newest is kept for a slow reader, in the order of their news", async () => {
  const { all } = board();
  const [one, other] = [all.add("results", "shared"), all.add("actions", "worker")];
  one.tell(connecting);
  other.tell(connecting);
  const watch = all.watch();

  for (let n = 0; n < 1000; n++) {
    one.tell(waiting);
    one.tell({ state: "connecting", attempt: n });
  }
  one.tell(live);
  all.close();
  const heard = [];
  for await (const { stream, state } of watch) heard.push(`${stream} ${state}`);

  assert.equal(heard, ["actions connecting", "results live"]);
});

test("a stream that has ended is told once, and forgotten", async () => {
  const { all } = board();
  const one = all.add("results", "shared");
  one.tell(live);
  const [early, late] = [all.watch(), () => all.watch()];

  one.tell({ state: "ended" });
  const after = late();
  all.close();

  assert.is((await early.next()).value?.state, "ended");
  assert.is((await early.next()).done, true);
  assert.is((await after.next()).done, true);
});

test("doubt is told when it comes and when it goes, while the stream is live", async () => {
  const { all, told } = board();
  const one = all.add("actions", "worker");
  one.tell(connecting);
  one.doubt("no beat yet");
  one.tell(live);

  one.doubt("refused");
  one.doubt("refused again");
  one.doubt(undefined);
  one.doubt(undefined);

  assert.equal(told.map((report) => [report.state, "trouble" in report && report.trouble]), [
    ["connecting", false],
    ["live", "no beat yet"],
    ["live", false],
  ]);
});

test("every asker is answered, however many ask at once", async () => {
  const { all } = board();
  const one = all.add("results", "shared");
  const watch = all.watch();

  const reads = [watch.next(), watch.next(), watch.next()];
  one.tell(connecting);
  one.tell(live);
  all.close();

  assert.equal((await Promise.all(reads)).map(({ done, value }) => done ? "done" : value.state), [
    "connecting",
    "live",
    "done",
  ]);
});

test("a watch that is broken off, and one opened after the close, end at once", async () => {
  const { all } = board();
  const one = all.add("results", "shared");
  one.tell(live);
  const watch = all.watch();

  for await (const _ of watch) break;
  one.tell(waiting);
  all.close();

  assert.is((await watch.next()).done, true);
  const after = all.watch();
  await after.next(); // The snapshot.
  assert.is((await after.next()).done, true);
});

test("what a stream's id becomes is told from then on", () => {
  const { all, told } = board();
  const one = all.add("actions", "worker");
  one.tell(connecting);

  one.id = "0001";
  one.tell(live);

  assert.equal(told.map(({ id }) => id), ["worker", "0001"]);
});

test.run();
