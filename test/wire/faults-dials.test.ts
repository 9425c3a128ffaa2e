import { suite } from "../harness.ts";
import { checkAll } from "./faults/check.ts";
import { dials } from "./faults/dials.ts";

const test = suite("faults dials");

checkAll(test, dials);

test.run();
