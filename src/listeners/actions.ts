import { uuid } from "../ids.ts";
import type { Root } from "../root.ts";
import { LiveStream } from "../streams/stream.ts";
import type { Action } from "./action.ts";
import type { ActionsOptions } from "./listener.ts";
import { Listener } from "./listener.ts";
import { checkRegistration } from "./register.ts";

export type { ActionsOptions } from "./listener.ts";

/** From how many waiting actions on the log says so: slots should keep them far below. */
const floodAt = 10_000;

/**
 * The actions that the engine sends to a worker, with its heartbeats. Read while nobody asks, so a loop body may take
 * its time: the worker stays alive and hears cancels.
 *
 * What the engine sent into a wire that was already dead is lost with it: the engine does not repeat an action. With
 * `register` such work is handed out again after 30 s: a stream that was cut comes back as a new worker, which keeps
 * what runs, and lets the old one fall silent.
 *
 * @throws TypeError or RangeError at once, when the options make no sense
 */
export function actions(root: Root, options: ActionsOptions): LiveStream<Action> {
  if (options.register === undefined) uuid(options.workerId, "workerId");
  else checkRegistration(options.register);
  const { signal } = options;
  const listener = new Listener(root, options);
  return new LiveStream((life) => listener.read(life), {
    accept: (action) => listener.begins(action),
    signal,
    owner: root.signal,
    onQueued: (waiting) => {
      if (waiting % floodAt === 0) root.config.logger.warn("Actions wait for the loop", { stream: "actions", waiting });
    },
  });
}
