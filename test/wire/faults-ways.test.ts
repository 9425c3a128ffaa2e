import { suite } from "../harness.ts";
import { checkAll } from "./faults/check.ts";
import { ways } from "./faults/ways.ts";

const test = suite("faults ways");

checkAll(test, ways);

test.run();
