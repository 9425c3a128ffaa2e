// `npm run faults`: what every fault looks like today, on Node, Deno and Bun, as the page docs/faults.md.
// `npm run faults -- deno` or `RUNTIME=deno` for one of them. Exits 1 when a fault is not what the tests say.
// To renew the page: `npm run --silent faults > docs/faults.md`.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, type } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { chosen, command } from "./with.mjs";

const limitMs = 120_000;
const root = fileURLToPath(new URL("..", import.meta.url));
const [runtimes] = chosen(process.argv.slice(2), ["node", "deno", "bun"]);

/** What stands in the table for the words of the tests. */
const words = {
  again: "opens again",
  call: "(a call) is thrown",
  ended: "ends",
  held: "nothing: it waits",
  none: "not asked",
  own: "our own signal",
  reason: "throws the signal's reason",
  refused: "throws `refused`",
  stalled: "throws `stalled`",
  thrown: "throws what the caller threw",
  unanswered: "the session: closed without a response",
  "connect time-out": "the connect time-out",
  ping: "PING",
  "size limit": "the size limit",
};

const measured = new Map();
const strange = [];
for (const runtime of runtimes) {
  for (const row of await run(runtime)) {
    const byRuntime = measured.get(row.name) ?? new Map();
    measured.set(row.name, byRuntime.set(runtime, row));
    strange.push(...row.deviations.map((deviation) => `- ${runtime}, ${row.name}: ${deviation}`));
  }
}
console.log(page());
process.exitCode = strange.length > 0 ? 1 : 0;

/** The rows that a runtime measured; one that fell silent counts with what it had said. */
function run(runtime) {
  const [program, ...args] = commandOf(runtime);
  const child = spawn(program, [...args, "test/wire/faults/main.ts"], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
    timeout: limitMs,
    killSignal: "SIGKILL",
  });
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  return new Promise((done) => {
    child.on("close", (code, signal) => {
      if (code !== 0) strange.push(`- ${runtime}: ended early, by ${signal ?? `exit ${code}`}`);
      done(output.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line)));
    });
  });
}

function page() {
  const headings = new Map();
  for (const byRuntime of measured.values()) {
    const { heading } = one(byRuntime);
    headings.set(heading, [...(headings.get(heading) ?? []), line(byRuntime)]);
  }
  const columns = ["fault", ...runtimes, "origin", "verdict", "what the loop did", "ms"];
  const top = [columns, columns.map(() => "---")].map(joined);
  return `${intro()}
${[...headings].map(([heading, lines]) => `## ${heading}\n\n${[...top, ...lines].join("\n")}\n`).join("\n")}
${
    strange.length === 0
      ? "All of it is what the tests demand."
      : `Not what the tests demand:\n\n${strange.join("\n")}`
  }`;
}

function line(byRuntime) {
  const { name } = one(byRuntime);
  const rows = [...byRuntime.values()];
  const all = (key) => [...new Set(rows.flatMap((row) => row[key]))].filter((value) => value !== null);
  const guards = all("guards").filter((guard) => guard !== "signal").map((guard) => words[guard] ?? guard);
  const loops = all("loops").map((loop) => words[loop] ?? loop).join(", or ");
  const took = rows.flatMap(({ tookMs }) => tookMs).map(Math.round);
  const [least, most] = [Math.min(...took), Math.max(...took)];
  return joined([
    name,
    ...runtimes.map((runtime) => byRuntime.get(runtime)?.codes.sort().join(", ") ?? "not measured"),
    all("origins").map((origin) => words[origin] ?? origin).join(", or "),
    all("verdicts").map((verdict) => words[verdict] ?? verdict).join(", or "),
    guards.length > 0 ? `${loops} (noticed by ${guards.join(", or ")})` : loops,
    least === most ? least : `${least}–${most}`,
  ]);
}

function intro() {
  const version = (runtime) => {
    const [program] = commandOf(runtime);
    const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
    return `${runtime[0].toUpperCase()}${runtime.slice(1)} ${/\d+\.\d+\.\d+/.exec(stdout)?.[0]}`;
  };
  const packages = ["@connectrpc/connect", "@bufbuild/protobuf"].map((name) =>
    `${name} ${JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, "utf8")).version}`
  );
  return `# Faults: what goes wrong, and what a stream makes of it

Measured by \`npm run faults\` on ${new Date().toISOString().slice(0, 10)}, over loopback, with ${
    runtimes.map(version).join(", ")
  }, ${packages.join(", ")}, on ${type()} ${release()}, ${cpus().length} × ${cpus()[0]?.model.trim()}.

Each fault meets a \`reconnect()\` over a channel of Coppice's own, with its waits and pings scaled down: every wait is
20 ms, a connect may take 200 ms. A name with \`[pre]\` strikes in place of the answer, one without behind headers and a
message. The code is what the caller gets; it tells little, for a proxy and the wire have the engine's own. Where
several were seen, all are there. Who ended the stream is asked first, then what that means. "Opens again" is after the
wait, on the next connection if need be, and the next message arrives. The milliseconds are from the fault to its
ending, over all runtimes. After each of them nothing was left: no stream on the server, no connection, no listener on
the caller's signal.

\`sess_destroy\` is what the server's own node:http2 does, and servers run on the runtime measured: Node's cuts the
connection, those of Deno and Bun end each stream first. Other faults of streams are made byte by byte, the same on all.
`;
}

function commandOf(runtime) {
  try {
    return command(runtime);
  } catch (error) {
    console.error(error.message);
    process.exit(2);
  }
}

function one(byRuntime) {
  return byRuntime.values().next().value;
}

function joined(cells) {
  return `| ${cells.join(" | ")} |`;
}
