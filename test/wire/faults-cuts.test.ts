import { suite } from "../harness.ts";
import { checkAll } from "./faults/check.ts";
import { cuts } from "./faults/cuts.ts";

const test = suite("faults cuts");

checkAll(test, cuts);

test.run();
