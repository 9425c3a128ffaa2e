import { show } from "./show.ts";

/** The only key of an object that stands for a value which is none. */
const wrapper = "coppice:value";

/**
 * A task's input as JSON, always an object: the engine makes nothing of any other, without a word.
 *
 * @throws TypeError saying where, when JSON cannot carry the value
 */
export function encodeInput(value: unknown): string {
  return encode(value, "input");
}

/**
 * A task's output as JSON, always an object: whatever waits for any other never starts.
 *
 * @throws TypeError saying where, when JSON cannot carry the value
 */
export function encodeOutput(value: unknown): string {
  return encode(value, "output");
}

/**
 * What a durable task remembers as JSON; nothing at all is remembered as `null`.
 *
 * @throws TypeError saying where, when JSON cannot carry the value
 */
export function encodeMemo(value: unknown): string {
  return encode(value === undefined ? null : value, "memo");
}

/**
 * The same value with its keys in one order. The engine tells a durable task the same thing in one order from a worker,
 * in another from its database, and holds it to the very bytes of what it makes of that.
 *
 * @throws SyntaxError when it is nested so deeply that there is no going through it
 */
export function ordered(value: unknown): unknown {
  try {
    return sorted(value);
  } catch (cause) {
    throw new SyntaxError("What should be an input or an output is nested too deeply", { cause });
  }
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

/** The value in an input or output. @throws SyntaxError when the text is no JSON */
export function decode(text: string): unknown {
  try {
    return unwrap(JSON.parse(text));
  } catch (cause) {
    throw new SyntaxError("What should be an input or an output is no JSON", { cause });
  }
}

/** The value that an object stands for; any but ours stands for itself. */
export function unwrap(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, wrapper)) return value;
  return Object.keys(value).length === 1 ? Object.entries(value)[0]![1] : value;
}

function encode(value: unknown, name: string): string {
  const text = write(value, name) ?? "{}";
  // An object that looks like ours is wrapped as well, or reading would take it apart.
  const isObject = text.startsWith("{") && !text.startsWith(`{"${wrapper}":`);
  return isObject ? text : `{"${wrapper}":${text}}`;
}

/** JSON that the engine takes, or an error that says where it is not; `undefined` for what stands for nothing. */
function write(value: unknown, name: string): string | undefined {
  const path: Step[] = [];
  const refuse = (problem: string): never => {
    throw new TypeError(`${name}${path.slice(1).map(written).join("")} ${problem}`);
  };
  const text: string | undefined = JSON.stringify(value, function (this: unknown, key: string, inner: unknown) {
    while (path.length > 0 && path.at(-1)!.value !== this) path.pop();
    const isCycle = typeof inner === "object" && inner !== null && path.some((one) => one.value === inner);
    path.push({ key, holder: this, value: inner });
    if (isCycle) refuse("holds itself, which JSON cannot carry");
    if (key.includes("\0")) refuse("has a null character in its key, which the engine refuses");
    if (typeof inner === "string" && inner.includes("\0")) {
      refuse("has a null character in it, which the engine refuses");
    }
    if (typeof inner === "bigint" || typeof inner === "function" || typeof inner === "symbol") {
      refuse(`is ${show(inner)}, which JSON cannot carry`);
    }
    if (inner instanceof Map || inner instanceof Set) refuse("is a Map or a Set, of which JSON would carry nothing");
    return inner;
  });
  // Whoever looks for the escaped null character without parsing must not find one where a text merely spells it.
  return text?.replaceAll("\\\\u0000", "\\u005cu0000");
}

interface Step {
  readonly key: string;
  /** What holds it. */
  readonly holder: unknown;
  readonly value: unknown;
}

function written({ key, holder }: Step): string {
  if (Array.isArray(holder)) return `[${key}]`;
  return /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}
