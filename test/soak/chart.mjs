// Draws what a soak read, by hand: a panel for each measure, a line for each runtime, the phases side by side.
import { cpus, release, totalmem, type } from "node:os";

const colors = ["#2f7d32", "#1565c0", "#c2410c"];
const dashes = ["", "7 3", "2 3"];
const panels = [
  { measure: "heap", title: "Heap after garbage collection, MB", scale: 1e6 },
  { measure: "listeners", title: "Listeners on AbortSignals", scale: 1 },
  { measure: "timers", title: "Timers pending", scale: 1 },
  { measure: "sockets", title: "Open TCP sockets (both ends)", scale: 1 },
];
const width = 900;
const left = 62;
const right = 20;
const top = 86;
const high = 130;
const gap = 46;

/** The whole picture, as the text of an SVG. */
export function draw(courses) {
  const phases = Object.keys(courses[0].phases);
  const bottom = top + panels.length * (high + gap);
  const height = bottom + 70;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">`,
    `<title>Nothing grows</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(
      left,
      22,
      "Nothing grows: one process per runtime, from its first message to its last wait",
      `font-size="15" font-weight="600"`,
    ),
    ...courses.flatMap(({ version }, at) => legend(version, at)),
    ...panels.flatMap((panel, at) => plot(panel, top + at * (high + gap), courses, phases)),
    ...caption(courses, bottom),
    `</svg>`,
  ];
  return `${parts.join("\n")}\n`;
}

function legend(version, at) {
  const x = left + at * 130;
  return [
    `<path d="M${x} 41h28" stroke="${colors[at]}" stroke-width="2" stroke-dasharray="${dashes[at]}"/>`,
    text(x + 34, 45, version),
  ];
}

function plot({ measure, scale, title }, y, courses, phases) {
  const series = courses.map((course) =>
    phases.flatMap((phase) =>
      course.phases[phase].map((reading) => reading[measure] === null ? NaN : reading[measure] / scale)
    )
  );
  const most = ceiling(Math.max(1, ...series.flat().filter((value) => !Number.isNaN(value))));
  const count = series[0].length;
  const px = (at) => left + (at + 0.5) / count * (width - left - right);
  const py = (value) => y + high - value / most * high;
  const lines = [0, 0.5, 1].map((share) => {
    const at = py(share * most);
    return `<path d="M${left} ${at}H${width - right}" stroke="#ddd"/>${
      text(left - 8, at + 4, format(share * most), `text-anchor="end"`)
    }`;
  });
  const bands = phases.map((phase, at) => {
    const wide = (width - left - right) / phases.length;
    const x = left + at * wide;
    const edge = at === 0 ? "" : `<path d="M${x} ${y}v${high}" stroke="#bbb" stroke-dasharray="3 3"/>`;
    const done = courses[0].amount[phase].toLocaleString("en");
    return `${edge}${text(x + wide / 2, y + high + 16, `${done} ${phase} →`, `text-anchor="middle" fill="#555"`)}`;
  });
  const drawn = series.map((values, at) => {
    const path = values.map((value, index) =>
      `${index === 0 ? "M" : "L"}${px(index).toFixed(1)} ${py(value).toFixed(1)}`
    ).join("");
    return Number.isNaN(values[0])
      ? ""
      : `<path d="${path}" fill="none" stroke="${colors[at]}" stroke-width="1.8" stroke-dasharray="${dashes[at]}"/>`;
  });
  return [text(left, y - 8, title, `font-weight="600"`), ...lines, ...bands, ...drawn];
}

function caption(courses, y) {
  const [{ model }] = cpus();
  const machine = `${type()} ${release()}, ${cpus().length} × ${model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  const took = courses.map(({ tookMs, version }) => `${version} ${Math.round(tookMs / 1000)} s`).join(", ");
  return [
    text(
      left,
      y,
      "Each phase goes from left to right, read 40 times at rest. Flat means: over a phase, by the median slope behind its first third,",
      `fill="#555"`,
    ),
    text(
      left,
      y + 17,
      "the heap grows by less than 1 MiB and each of the others by no more than 2. A heartbeat under way is 4 listeners.",
      `fill="#555"`,
    ),
    text(left, y + 34, `${took}. ${new Date().toISOString().slice(0, 10)}.`, `fill="#555"`),
    text(left, y + 51, machine, `fill="#555"`),
  ];
}

function text(x, y, content, attributes = "") {
  return `<text x="${x}" y="${y}" ${attributes}>${content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`;
}

/** The next number that halves well. */
function ceiling(value) {
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((times) => times * step).find((one) => one >= value * 1.05) ?? 20 * step;
}

function format(value) {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}
