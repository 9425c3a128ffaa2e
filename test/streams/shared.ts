import { StreamError, Subscriptions } from "../../src/streams/mod.ts";
import type { SubscriptionsOptions } from "../../src/streams/mod.ts";
import type { VirtualClock } from "../../src/testing/mod.ts";
import { assert } from "../harness.ts";
import type { Peer } from "./peer.ts";

export type Shared = Subscriptions<string, string, string, string>;

/** Subscriptions whose messages read `key=value`, and which wait a second after each failure. */
export function share(
  clock: VirtualClock,
  peer: Peer<string, string>,
  options: Partial<SubscriptionsOptions<string, string, string, string>> = {},
): Shared {
  return new Subscriptions({
    clock,
    random: () => 0.5,
    backoff: () => 1000,
    open: peer.exchange(),
    request: (key) => key,
    deliver: (message, waiters) => {
      const [key = "", value = ""] = message.split("=");
      waiters.settle(key, value);
    },
    ...options,
  });
}

/** What became of a promise, told as text once it has settled: `ok VALUE`, or what it was rejected with. */
export class Fate {
  text = "pending";
  error: unknown;

  constructor(promise: Promise<string>) {
    promise.then((value) => {
      this.text = `ok ${value}`;
    }, (error: unknown) => {
      this.error = error;
      this.text = error instanceof StreamError ? error.code : String(error);
    });
  }
}

/** Closes, and asserts that nothing is left: no attempt, no sleep, no stream. */
export async function assertReleased(clock: VirtualClock, peer: Peer<string, string>, shared: Shared): Promise<void> {
  shared.close();
  await clock.pass(0);
  assert.is(peer.open, 0, "attempts still open");
  assert.is(shared.running, false, "still running");
  assert.is(shared.size, 0, "keys still registered");
  assert.is(clock.asleep, 0, "somebody still sleeps");
}
