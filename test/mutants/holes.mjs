/** What the reference client gets wrong, put into ours. */
export const holes = [
  {
    name: "H1 counters reset on connect",
    file: "src/streams/course.ts",
    find: "    this.wasLive = true;\n",
    replace: "    this.wasLive = true;\n    this.#suspects = this.#failures = 0;\n",
    why: "an engine that accepts and drops is asked without end and never found stalled",
    hint: "test/streams/reconnect.test.ts",
  },
  {
    name: "H2 the shared stream hangs on its first caller",
    file: "src/streams/subscriptions.ts",
    find: "    return this.#registry.wait(key, this.#wasLive",
    replace:
      "    if (!this.#running && signal !== undefined) Object.assign(this.#options, { signal });\n    return this.#registry.wait(key, this.#wasLive",
    why: "one caller who leaves ends the stream of all",
    hint: "test/streams/subscriptions.test.ts",
  },
  {
    name: "H3 joiners share the first caller's fate",
    file: "src/streams/singleflight.ts",
    find: "?? this.#depart(key, call);",
    replace: "?? this.#depart(key, () => call(signal ?? new AbortController().signal));",
    why: "who only joined a call is aborted with whoever began it",
    hint: "test/streams/singleflight.test.ts",
  },
  {
    name: "H4 heartbeat errors are only logged",
    file: "src/listeners/heartbeat.ts",
    find: "switch (meaning(error)) {",
    replace: 'switch ("logged" as string) {',
    why: "a worker that the engine has forgotten or does not hear beats on for ever and gets nothing",
    hint: "test/listeners/heartbeat.test.ts",
  },
  {
    name: "H6 any Unimplemented downgrades",
    file: "src/listeners/listener.ts",
    find: "    const usual = this.#root.doubt.decorate(verdict, ending);\n",
    replace: "    const usual = this.#root.doubt.decorate(verdict, ending);\n" +
      "    if (isUnimplemented(error)) {\n      this.#oldUntil = Infinity;\n" +
      '      return "transient";\n    }\n',
    why: "a proxy's 404 puts a worker on the old stream, whose end the engine does not notice",
    hint: "test/listeners/actions.test.ts",
  },
  {
    name: "H6 a downgrade is for good",
    file: "src/listeners/listener.ts",
    find: "const oldListenMs = 600_000;",
    replace: "const oldListenMs = Infinity;",
    why: "an engine that was upgraded is listened to in the old way until the worker restarts",
    hint: "test/listeners/actions.test.ts",
  },
  {
    name: "H7 a clean end is no failure",
    file: "src/streams/course.ts",
    find: "const healthy = proof.wasSteady",
    replace: "const healthy = error === undefined || proof.wasSteady",
    why: "an engine that ends each stream at once is asked in the first window for ever",
    hint: "test/streams/reconnect.test.ts",
  },
  {
    name: "H7 nothing waits after a clean end",
    file: "src/streams/course.ts",
    find: "    const pushbackMs = pushback(error, now);\n",
    replace: "    if (error === undefined) return;\n    const pushbackMs = pushback(error, now);\n",
    why: "an engine that ends each stream at once is asked in a hot loop",
    hint: "test/streams/reconnect.test.ts",
  },
  {
    name: "H8 the receive loop waits for its reader",
    file: "src/streams/pump.ts",
    find: "if (this.put(message)) await this.#room();",
    replace: "this.put(message);\n        if (this.#head < this.#queue.length) await this.#room();",
    why: "one slow handler stops all reading, and a cut behind it goes unnoticed",
    hint: "test/streams/pump.test.ts",
  },
  {
    name: "H8 the worker waits for its handlers",
    file: "src/worker/worker.ts",
    find: "else if (this.#stopping === undefined) this.#attempts.start(action);",
    replace: "else if (this.#stopping === undefined) {\n          this.#attempts.start(action);\n" +
      "          await this.#attempts.idle();\n        }",
    why: "a worker with a hundred slots runs one task at a time, and hears no cancel of it",
    hint: "test/worker/worker.test.ts",
  },
  {
    name: "H9 the peer's Canceled ends the loop",
    file: "src/streams/verdict.ts",
    find: '    case "engine":\n',
    replace:
      '    case "engine":\n      if (error instanceof ConnectError && error.code === Code.Canceled) return "end";\n',
    why: "an engine that stops leaves a worker that has stopped and says nothing",
    hint: "test/listeners/actions.test.ts",
  },
];
