import { create } from "@bufbuild/protobuf";
import { AssignedActionSchema } from "../../gen/dispatcher/dispatcher_pb.ts";
import type { Action } from "../../src/listeners/action.ts";
import { toAction } from "../../src/listeners/action.ts";
import { reports } from "../../src/listeners/reports.ts";
import { Work } from "../../src/listeners/work.ts";
import { assert, suite } from "../harness.ts";
import { id } from "../remote.ts";
import { Rig, start } from "../rig.ts";

const test = suite("work");

/** A start, as a listener follows it. */
function started(rig: Rig): Action {
  const action = toAction(
    create(AssignedActionSchema, start(3)),
    id(1),
    (one, workerId) => reports(rig.root, one, workerId),
  );
  if (action === undefined) throw new Error("a start is an action");
  return action;
}

test("the late answer to a beat does not make the worker look silent for longer than it was", async () => {
  for (const isLate of [true, false]) {
    const rig = new Rig();
    await rig.clock.drive(rig.root.channel.ready(rig.root.signal, 1000));
    const work = new Work(rig.root);
    const began = rig.clock.now();
    work.beaten(began);
    await rig.pass(20_000);
    work.beaten(isLate ? rig.clock.now() : began);
    work.begin(work.follow(started(rig)));
    await rig.pass(15_000);

    work.beaten(began);
    const left = await rig.clock.drive(work.leave({}));

    assert.is(left, true);
    assert.is(rig.remote.asked("releaseSlot").length, isLate ? 1 : 0);
    await rig.done();
  }
});

test.run();
