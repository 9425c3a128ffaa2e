import process from "node:process";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { base64url, jwt } from "../jwt.ts";

const own = process.env["COPPICE_SEED"];
const seed = own === undefined ? 1 : Number(own);
const isNode = process.versions["bun"] === undefined && process.versions["deno"] === undefined;
const longestMs = 60_000;

/** What must never be seen: part of the token below, and of every other secret that a test hands in. */
export const hush = "hush-hush";
export const token: string = jwt({ sub: "nobody", grpc_broadcast_address: "127.0.0.1:1", secret: hush });

/** Everything on Node; a tenth elsewhere, for what differs between the runtimes. */
function share(count: number): number {
  return isNode ? count : Math.ceil(count / 10);
}

/**
 * Asserts that a property holds for so many cases, drawn by COPPICE_SEED, or 1. What fails is shrunk, and the message
 * says with which seed it comes again.
 */
export async function holds<T>(
  count: number,
  values: fc.Arbitrary<T>,
  property: (value: T) => void | Promise<void>,
): Promise<void> {
  const checked = await fc.check(fc.asyncProperty(values, async (value) => await property(value)), {
    seed,
    numRuns: share(count),
    interruptAfterTimeLimit: longestMs,
    markInterruptAsFailure: true,
  });
  if (!checked.failed) return;
  const { counterexample, errorInstance } = checked;
  const why = errorInstance instanceof Error ? errorInstance.message : fc.stringify(errorInstance ?? "interrupted");
  throw new Error(`COPPICE_SEED=${seed}: ${why}; for ${cut(fc.stringify(counterexample?.[0]))}`, {
    cause: errorInstance,
  });
}

/** How a call ended. */
export type Ended<T> = { readonly value: T; readonly error?: undefined } | { readonly error: unknown };

/** Waits for a call, and throws when it hangs. */
export async function ended<T>(call: Promise<T> | (() => T | Promise<T>), limitMs = 3000): Promise<Ended<T>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(hung), limitMs);
  });
  const hung = new Error(`hung for ${limitMs} ms`);
  try {
    const value = await Promise.race([typeof call === "function" ? (async () => await call())() : call, late]);
    return { value };
  } catch (error) {
    if (error === hung) throw error;
    return { error };
  } finally {
    clearTimeout(timer);
  }
}

/** @throws when a secret can be read in any of these, however deep inside */
export function assertQuiet(...told: readonly unknown[]): void {
  for (const one of told) {
    const text = typeof one === "string" ? one : `${inspect(one, { depth: 8, showHidden: true })} ${messages(one)}`;
    if (secrets.some((secret) => text.includes(secret))) throw new Error(`a secret in ${cut(text)}`);
  }
}

/** The secret as it is, and as base64 has it, wherever in a group of three it begins. */
const secrets: readonly string[] = [
  hush,
  ...[0, 1, 2].map((shift) => base64url(`${" ".repeat(shift)}${hush}`).slice(shift === 0 ? 0 : shift + 1, -2)),
];

function messages(error: unknown, depth = 8): string {
  if (!(error instanceof Error) || depth === 0) return "";
  return `${error.message} ${error.stack} ${messages(error.cause, depth - 1)}`;
}

function cut(text: string): string {
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}
