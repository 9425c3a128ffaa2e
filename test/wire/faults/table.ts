import { answers } from "./answers.ts";
import { cuts } from "./cuts.ts";
import { dials } from "./dials.ts";
import { own } from "./own.ts";
import type { Row } from "./row.ts";
import { ways } from "./ways.ts";

/** Every fault there is, by the heading it stands under. */
export const table: Readonly<Record<string, readonly Row[]>> = {
  "What a server or a proxy says": answers,
  "What is done to the wire": cuts,
  "Connections that do not come about": dials,
  "The caller, and silence": own,
  "Streams both ways": ways,
};
