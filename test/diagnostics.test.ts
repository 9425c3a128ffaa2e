import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { StreamReport } from "../src/board.ts";
import { publish } from "../src/diagnostics.ts";
import { assert, suite } from "./harness.ts";

const test = suite("diagnostics");

const report: StreamReport = { stream: "actions", id: "w1", state: "live", sinceMs: 7, paused: false };

test("tells every subscriber what is reported, and by which name", () => {
  const heard: unknown[] = [];
  const [one, other] = [1, 2].map((who) => (message: unknown, name: string | symbol) => {
    heard.push([who, message, name]);
  });
  subscribe("coppice:stream", one!);
  subscribe("coppice:stream", other!);

  publish(report);
  unsubscribe("coppice:stream", one!);
  unsubscribe("coppice:stream", other!);
  publish(report);

  assert.equal(heard, [[1, report, "coppice:stream"], [2, report, "coppice:stream"]]);
});

test("passes the report on as it is, copying nothing", () => {
  let heard: unknown;
  const listener = (message: unknown) => {
    heard = message;
  };
  subscribe("coppice:stream", listener);

  publish(report);
  unsubscribe("coppice:stream", listener);

  assert.is(heard, report);
});

test("looks at nothing in a report when nobody has subscribed", () => {
  const touchy = new Proxy(report, {
    get() {
      throw new Error("touched");
    },
  });

  publish(touchy);

  assert.ok(true, "nothing was thrown");
});

test.run();
