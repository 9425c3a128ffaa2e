/** What a token looks like, whole or cut off: base64url that begins as a JSON object does. */
const tokens = /eyJ[\w.-]{8,}/g;
const longest = 120;

/** The text without anything in it that looks like a token. */
export function redact(text: string): string {
  return text.replaceAll(tokens, "[token]");
}

/** A value as an error message shows it: on one line, bounded, and never a token. */
export function show(value: unknown): string {
  const text = redact(written(value));
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

function written(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "bigint":
      return `${value}n`;
    case "function":
      return "a function";
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? "an array" : "an object";
    default:
      return String(value);
  }
}
