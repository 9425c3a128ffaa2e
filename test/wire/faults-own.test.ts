import { suite } from "../harness.ts";
import { checkAll } from "./faults/check.ts";
import { own } from "./faults/own.ts";

const test = suite("faults own");

checkAll(test, own);

test.run();
