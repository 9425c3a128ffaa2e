import type { Event } from "./schedule.ts";

/**
 * The smallest schedule found that still fails: events are left out as long as it does, large parts first, then what
 * lasts is shortened, and what durable tasks do.
 */
export async function shrink(
  events: readonly Event[],
  fails: (events: readonly Event[]) => Promise<boolean>,
): Promise<readonly Event[]> {
  let smallest = events;
  for (let size = Math.ceil(events.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let from = 0; from < smallest.length;) {
      const without = [...smallest.slice(0, from), ...smallest.slice(from + size)];
      if (await fails(without)) smallest = without;
      else from += size;
    }
  }
  for (let index = 0; index < smallest.length; index++) {
    for (;;) {
      const event = smallest[index];
      if (event === undefined || !("forMs" in event) || event.forMs < 200) break;
      const shorter = smallest.with(index, { ...event, forMs: Math.floor(event.forMs / 2) });
      if (!await fails(shorter)) break;
      smallest = shorter;
    }
  }
  for (let index = 0; index < smallest.length; index++) {
    for (let part = 0;;) {
      const event = smallest[index];
      if (event?.do !== "durable" || part >= event.parts.length) break;
      const shorter = smallest.with(index, { ...event, parts: event.parts.toSpliced(part, 1) });
      if (await fails(shorter)) smallest = shorter;
      else part++;
    }
  }
  return smallest;
}
