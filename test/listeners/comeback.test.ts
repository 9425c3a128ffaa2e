import { Comeback } from "../../src/listeners/comeback.ts";
import { assert, suite } from "../harness.ts";

const test = suite("comeback");

/** A comeback that always waits its longest. */
function longest(): Comeback {
  return new Comeback(() => 1);
}

test("ends that come too early wait 250 ms, then twice as long each time, up to 10 s", () => {
  const comeback = longest();

  const waits = Array.from({ length: 8 }, () => comeback.early());

  assert.equal(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
});

test("a stream cut alone waits up to 250 ms, and the next time as all others do", () => {
  assert.equal([longest().alone(), new Comeback(() => 0.5).alone()], [250, 125]);
  const comeback = longest();

  const waits = [comeback.alone(), comeback.alone(), comeback.alone()];

  assert.equal(waits, [250, undefined, undefined]);
});

test("a stream that told something and outlived its wait begins anew, and so does one that lived 10 s", () => {
  const waits = ([[250, true], [249, true], [9999, false], [10_000, false]] as const).map(([ms, told]) => {
    const comeback = longest();
    comeback.early();
    comeback.alone();
    comeback.lived(ms, told);
    return [comeback.early(), comeback.alone()];
  });

  assert.equal(waits, [[250, 250], [500, undefined], [500, undefined], [250, 250]]);
});

test("how long a stream must live grows with its wait", () => {
  const comeback = longest();
  comeback.early();
  comeback.early();

  comeback.lived(499, true);
  const early = comeback.early();
  comeback.lived(1000, true);

  assert.equal([early, comeback.early()], [1000, 250]);
});

test.run();
