import { linked, onAbort, unlessAborted } from "../../src/streams/signal.ts";
import { assert, rejects, suite } from "../harness.ts";
import { watched } from "../watched.ts";

const test = suite("signal");

test("onAbort tells once, when the signal aborts", () => {
  const { abort, signal } = watched();
  let told = 0;

  onAbort(signal, () => told++);
  assert.is(told, 0);
  abort();
  abort();
  signal.dispatchEvent(new Event("abort"));

  assert.is(told, 1);
});

test("onAbort tells at once of a signal that has aborted, and leaves nothing on it", () => {
  const { abort, listening, signal } = watched();
  abort();
  let told = 0;

  const undo = onAbort(signal, () => told++);
  undo();

  assert.is(told, 1);
  assert.is(listening(), 0);
});

test("onAbort tells nobody after the undo, which may be done twice", () => {
  const { abort, listening, signal } = watched();
  let told = 0;

  const undo = onAbort(signal, () => told++);
  undo();
  undo();
  abort();

  assert.is(told, 0);
  assert.is(listening(), 0);
});

test("a linked signal aborts with any of its parents, for the parent's own reason", () => {
  const [one, other] = [watched(), watched()];
  const reason = new Error("enough");
  const { signal } = linked(one.signal, undefined, other.signal);

  other.abort(reason);

  assert.ok(signal.aborted);
  assert.is(signal.reason, reason);
  assert.not.ok(one.signal.aborted);
});

test("a linked signal aborts by itself, disturbs no parent and leaves them all", () => {
  const [one, other] = [watched(), watched()];
  const reason = new Error("done");
  const link = linked(one.signal, other.signal);

  link.abort(reason);

  assert.is(link.signal.reason, reason);
  assert.not.ok(one.signal.aborted || other.signal.aborted);
  assert.equal([one.listening(), other.listening()], [0, 0]);
});

test("a linked signal keeps the first reason it was given", () => {
  const parent = watched();
  const link = linked(parent.signal);

  link.abort("first");
  link.abort("second");
  parent.abort("third");

  assert.is(link.signal.reason, "first");
});

test("a parent's abort takes the link off the other parents", () => {
  const [one, other] = [watched(), watched()];
  linked(one.signal, other.signal);

  one.abort();

  assert.is(other.listening(), 0);
});

test("a link to a parent that has aborted is born aborted, and stays on no other parent", () => {
  const [before, aborted, after] = [watched(), watched(), watched()];
  const reason = new Error("too late");
  aborted.abort(reason);

  const { signal } = linked(before.signal, aborted.signal, after.signal);

  assert.ok(signal.aborted);
  assert.is(signal.reason, reason);
  assert.equal([before, aborted, after].map(({ listening }) => listening()), [0, 0, 0]);
});

test("a link born of two parents that have aborted takes the first one's reason", () => {
  const [one, other] = [watched(), watched()];
  one.abort("one");
  other.abort("other");

  assert.is(linked(one.signal, other.signal).signal.reason, "one");
});

test("a released link outlives its parents, and can still be aborted", () => {
  const parent = watched();
  const link = linked(parent.signal);

  link.release();
  link.release();
  parent.abort();

  assert.is(parent.listening(), 0);
  assert.not.ok(link.signal.aborted);
  link.abort("later");
  assert.is(link.signal.reason, "later");
});

test("a link without a parent lives by itself, and aborts for the usual reason when it is given none", () => {
  const link = linked(undefined);

  link.abort();

  assert.is((link.signal.reason as Error).name, "AbortError"); // The platform's own reason.
});

test("a reason may be anything, null and false included", () => {
  for (const reason of [null, false, 0, ""]) {
    const parent = watched();
    const { signal } = linked(parent.signal);

    parent.abort(reason);

    assert.is(signal.reason, reason);
  }
});

test("a chain of links aborts from its top to its end, at once", () => {
  const top = watched();
  const chain = [linked(top.signal)];
  for (let depth = 1; depth < 100; depth++) chain.push(linked(chain.at(-1)!.signal));

  top.abort("all");

  assert.ok(chain.every(({ signal }) => signal.reason === "all"));
});

test("ten thousand links that came and went leave nothing on a parent that lives", () => {
  const parent = watched();

  for (let count = 0; count < 10_000; count++) {
    const link = linked(parent.signal);
    if (count % 2 === 0) link.abort();
    else link.release();
  }

  assert.is(parent.listening(), 0);
});

test("work settles as it does when nobody aborts, and leaves nothing on the signal", async () => {
  const { listening, signal } = watched();
  const failure = new Error("no");

  assert.is(await unlessAborted(Promise.resolve(7), signal), 7);
  assert.is(await unlessAborted(7, signal), 7);
  assert.is(await unlessAborted(Promise.resolve(7), undefined), 7);
  assert.is(await rejects(unlessAborted(Promise.reject(failure), signal)), failure);
  assert.is(listening(), 0);
});

test("work that heeds no signal is left behind when it aborts, whatever becomes of it later", async () => {
  const { abort, signal } = watched();
  const reason = new Error("enough");
  const work = Promise.withResolvers<number>();

  const waiting = unlessAborted(work.promise, signal);
  abort(reason);
  assert.is(await rejects(waiting), reason);
  work.reject(new Error("nobody listens any more"));

  assert.is(await rejects(unlessAborted(new Promise(() => {}), signal)), reason);
});

test("listens once to a signal, however many ask, and tells each of them once", () => {
  const { abort, listening, signal } = watched();
  const told: number[] = [];

  const undo = Array.from({ length: 1000 }, (_, index) => onAbort(signal, () => told.push(index)));
  assert.is(listening(), 1);
  for (const leave of undo.slice(2)) leave();
  abort();

  assert.equal(told, [0, 1]);
  assert.is(listening(), 0);
});

test.run();
