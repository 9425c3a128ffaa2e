/** A JSON object. */
export type JsonObject = Record<string, unknown>;

/** Reads JSON text; undefined when it is none, or holds the null character that the engine's database refuses. */
export function parse(text: string): unknown {
  if (text.includes("\u0000") || text.includes("\\u0000")) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Whoever asked decides what bad JSON means to him.
    return undefined;
  }
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
