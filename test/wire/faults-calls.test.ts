import { suite } from "../harness.ts";
import { checkAll } from "./faults/check.ts";
import { calls } from "./faults/calls.ts";

const test = suite("faults calls");

checkAll(test, calls);

test.run();
