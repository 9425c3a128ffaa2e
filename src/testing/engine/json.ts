/** A JSON object. */
export type JsonObject = Record<string, unknown>;

/** What the engine finds wrong with the JSON in a field; undefined when nothing is. */
export function flaw(text: string, field: string): string | undefined {
  if (hasNull(text)) return `encoded jsonb contains invalid null character \\u0000 in field \`${field}\``;
  return text !== "" && parse(text) === undefined ? `invalid json in field \`${field}\`` : undefined;
}

/** Reads JSON text; undefined when it is none, or holds the null character that the engine's database refuses. */
export function parse(text: string): unknown {
  if (hasNull(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Whoever asked decides what bad JSON means to him.
    return undefined;
  }
}

/** Whether a text is JSON, and a key or a value in it has a null character. */
export function hasNull(text: string): boolean {
  if (!text.includes("\\u0000")) return false;
  let found = false;
  try {
    JSON.parse(text, (key, value: unknown) => {
      found ||= key.includes("\u0000") || (typeof value === "string" && value.includes("\u0000"));
      return value;
    });
  } catch {
    return false; // No JSON.
  }
  return found;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The object in a text, or undefined for everything else, bad JSON included. */
export function objectIn(text: string): JsonObject | undefined {
  const value = parse(text);
  return isObject(value) ? value : undefined;
}

const escapes: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/** Writes JSON as the engine does: keys sorted, and the characters that are special in HTML escaped. */
export function write(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => isObject(inner) ? sorted(inner) : inner)
    .replace(/[<>&\u2028\u2029]/g, (character) => escapes[character]!);
}

function sorted(value: JsonObject): JsonObject {
  const ordered = Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : 1);
  return Object.fromEntries(ordered);
}
