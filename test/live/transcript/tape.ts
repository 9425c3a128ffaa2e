import { Code, ConnectError } from "@connectrpc/connect";

/** What one engine said to a script, line by line; ids and times are masked, so that two tapes can be compared. */
export class Tape {
  /** By label, in the order in which they came. */
  readonly lines: Map<string, string> = new Map();
  readonly #ids = new Map<string, string>();

  /** @throws Error when the label was used before: lines are compared by their labels */
  note(label: string, text: string): void {
    if (this.lines.has(label)) throw new Error(`two lines are called ${label}`);
    this.lines.set(label, this.#masked(text));
  }

  #masked(text: string): string {
    return text
      .replaceAll(/[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-\d\d/g, "<trace>")
      .replaceAll(/[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/gi, (id) => this.#id(id.toLowerCase()))
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)/g, "<time>");
  }

  /** The nth id that was seen is `#n`: so an id that comes again is seen to be the same. */
  #id(id: string): string {
    if (id.startsWith("00000000-0000-")) return `#${id.slice(-4)}`;
    const name = this.#ids.get(id) ?? `#${this.#ids.size + 1}`;
    this.#ids.set(id, name);
    return name;
  }
}

/** Fields that hold JSON: their keys come in no order that anybody promises, and are shown sorted. */
const json: readonly string[] = [
  "actionPayload",
  "additionalMetadata",
  "eventPayload",
  "input",
  "output",
  "payload",
  "data",
  "memoResultPayload",
];

/** A message, with the fields that are set; bytes as text. */
export function show(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes ${JSON.stringify(new TextDecoder().decode(value))}`;
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return text(value);
  if ("$typeName" in value && value.$typeName === "google.protobuf.Timestamp") return "<time>";
  const fields = Object.entries(value).filter(([key, field]) => key !== "$typeName" && field !== undefined);
  return `{${fields.map(([key, field]) => `${key}: ${json.includes(key) ? sorted(field) : show(field)}`).join(", ")}}`;
}

function sorted(field: unknown): string {
  const words = field instanceof Uint8Array ? new TextDecoder().decode(field) : field;
  if (typeof words !== "string") return show(field);
  try {
    return `json ${text(inOrder(JSON.parse(words)))}`;
  } catch {
    return show(field); // No JSON.
  }
}

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : 1);
  return Object.fromEntries(entries.map(([key, inner]) => [key, inOrder(inner)]));
}

/** How a call or a stream ended. What is wrong with an argument each engine says in its own words. */
export function ending(error: unknown): string {
  if (error === undefined) return "OK";
  if (!(error instanceof ConnectError)) return error instanceof Error ? String(error) : typeof error;
  if (error.code === Code.InvalidArgument) return "InvalidArgument";
  const details = error.details.map((detail) => "type" in detail ? ` [${detail.type}]` : "").join("");
  return `${Code[error.code]} ${JSON.stringify(error.rawMessage)}${details}`;
}

/** A text that is very long is shown by its length. */
function text(value: unknown): string {
  const shown = JSON.stringify(value) ?? "undefined";
  return shown.length > 2000 ? `${shown.slice(0, 40)}… ${shown.length} characters` : shown;
}
