import { durable } from "./durable.mjs";
import { holes } from "./holes.mjs";
import { listeners } from "./listeners.mjs";
import { official } from "./official.mjs";
import { rest } from "./rest.mjs";
import { streams } from "./streams.mjs";
import { transport } from "./transport.mjs";
import { worker } from "./worker.mjs";

/**
 * Every mutant: `find` occurs once in `file` and becomes `replace`; `why` says what that breaks, `hint` is the test file
 * that should know. Those that need more than one change have `edits`, those that only one runtime minds its `runtime`.
 */
export const groups = {
  "Holes of the reference client": holes,
  "Failures of the official client": official,
  "Streams": streams,
  "Transport": transport,
  "Listeners": listeners,
  "Durable tasks and events": durable,
  "Worker and calls": worker,
  "REST and logs": rest,
};
