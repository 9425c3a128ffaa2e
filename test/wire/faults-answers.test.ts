import { suite } from "../harness.ts";
import { checkAll } from "./faults/check.ts";
import { answers } from "./faults/answers.ts";

const test = suite("faults answers");

checkAll(test, answers);

test.run();
