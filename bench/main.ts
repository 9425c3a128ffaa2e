// `npm run bench`: measures Coppice beside connect-node, grpc-js and nice-grpc, and writes docs/performance.md. About 25
// minutes. `npm run bench -- --quick` takes less than two, and only prints; so does `--only=read,unary`, see `Part` in plan.ts.
// `--rounds=N`, `--runtimes=node,bun`, `--minutes=N`.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { command } from "../tools/with.mjs";
import { runtimes } from "./measure.ts";
import { full, quick } from "./plan.ts";
import { report } from "./report.ts";
import { run } from "./run.ts";
import { Series } from "./series.ts";
import { bundle } from "./size.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    runtimes: { type: "string" },
  },
});
const base = values.quick ? quick : full;
const plan = {
  ...base,
  rounds: values.rounds === undefined ? base.rounds : Number(values.rounds),
  parts: base.parts.filter((part) => values.only?.split(",").includes(part) ?? true),
  runtimes: runtimes.filter((runtime) => values.runtimes?.split(",").includes(runtime) ?? true),
};

const series = new Series();
const before = loadavg()[0] ?? NaN;
const rounds = await run(plan, series, Number(values.minutes) * 60_000, (line) => console.error(line));
const document = report(series, plan, {
  date: new Date().toISOString().slice(0, 10),
  machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
  kernel: `${type()} ${release()}`,
  versions: versions(),
  cores: cpus().length,
  load: [before, loadavg()[0] ?? NaN],
  rounds,
  command: "npm run bench",
}, bundle);
if (values.quick || values.only !== undefined) console.log(document);
else writeFileSync(new URL("../docs/performance.md", import.meta.url), document);
for (const failure of series.failures) console.error(failure);
process.exit(series.failures.length > 0 ? 1 : 0);

function versions(): Record<string, string> {
  const packages = ["@connectrpc/connect-node", "@grpc/grpc-js", "nice-grpc", "@bufbuild/protobuf"];
  return Object.fromEntries([
    ...plan.runtimes.map((runtime) => {
      const { stdout } = spawnSync(command(runtime)[0] ?? "", ["--version"], { encoding: "utf8" });
      return [runtime, /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? "unknown"];
    }),
    ...packages.map((name) => {
      const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
      return [name, JSON.parse(readFileSync(file, "utf8")).version];
    }),
  ]);
}
