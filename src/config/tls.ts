import { readFile } from "node:fs/promises";
import type { Environment } from "./environment.ts";
import { variable } from "./environment.ts";
import type { Setting } from "../errors.ts";
import { ConfigError } from "../errors.ts";
import { show } from "../show.ts";
import type { TlsMaterial } from "../transport/address.ts";

/** How the connection is protected. Every key is optional; `undefined` means the variable, and then the default. */
export interface TlsOptions {
  /** `tls`: the engine shows a certificate; `mtls`: we do too; `none`: plaintext. @default "mtls" with a cert, else "tls" */
  readonly strategy?: "tls" | "mtls" | "none" | undefined;
  /** The authorities to trust, in PEM. @default the runtime's own */
  readonly ca?: string | Uint8Array | undefined;
  /** Our certificate, in PEM. */
  readonly cert?: string | Uint8Array | undefined;
  /** The key to it, in PEM. */
  readonly key?: string | Uint8Array | undefined;
  /** Where `ca` is; read at the first connect, and so are the other two. */
  readonly caFile?: string | undefined;
  /** Where `cert` is. */
  readonly certFile?: string | undefined;
  /** Where `key` is. */
  readonly keyFile?: string | undefined;
  /** The name that the engine's certificate must bear. @default the host */
  readonly serverName?: string | undefined;
  /** The oldest TLS to speak. @default "1.3" */
  readonly minVersion?: "1.2" | "1.3" | undefined;
}

/** How the connection is protected, with every default in its place, before any file is read. */
export interface TlsSettings {
  readonly ca: Pem | undefined;
  /** Only with `key`, and only for mutual TLS. */
  readonly cert: Pem | undefined;
  readonly key: Pem | undefined;
  readonly serverName: string | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

/** Something in PEM, or the path where it is. */
interface Pem {
  readonly setting: Setting;
  readonly text?: string;
  readonly path?: string;
}

const strategies = ["tls", "mtls", "none"] as const;
const versions = ["1.2", "1.3"] as const;

/** `undefined` is plaintext. @throws ConfigError naming option and variable */
export function resolveTls(options: false | TlsOptions | undefined, env: Environment): TlsSettings | undefined {
  if (options === false) return undefined;
  if (options !== undefined && (typeof options !== "object" || options === null)) {
    throw new ConfigError({ option: "tls" }, `must be false or an object, got ${show(options)}`);
  }
  const own = options ?? {};
  const strategy = oneOf(own.strategy, strategies, "tls.strategy") ??
    implied(own, env.word("TLS_STRATEGY", strategies));
  if (strategy === "none") return undefined;
  const minVersion = oneOf(own.minVersion, versions, "tls.minVersion") ?? env.word("TLS_MIN_VERSION", versions) ??
    "1.3";
  const serverName = worded(own.serverName, "tls.serverName") ?? env.text("TLS_SERVER_NAME");
  const ca = pem("ca", "ROOT_CA", own, env);
  const rest = { ca, serverName, minVersion: `TLSv${minVersion}` } as const;
  if (strategy === "tls") return { ...rest, cert: undefined, key: undefined };

  const cert = pem("cert", "CERT", own, env);
  const key = pem("key", "KEY", own, env);
  if (cert === undefined) throw missing("certFile", "CERT");
  if (key === undefined) throw missing("keyFile", "KEY");
  return { ...rest, cert, key };
}

/** Reads what is in files. @throws ConfigError naming option, variable and path */
export async function loadTls({ tls }: { readonly tls: TlsSettings | undefined }): Promise<TlsMaterial> {
  if (tls === undefined) throw new TypeError("A plaintext connection needs no certificates");
  const { ca, cert, key, serverName, minVersion } = tls;
  const [caText, certText, keyText] = await Promise.all([ca && read(ca), cert && read(cert), key && read(key)]);
  return { ca: caText, cert: certText, key: keyText, serverName, minVersion };
}

/** What a user who passes options of TLS means by them, where no strategy is among them. */
function implied(own: TlsOptions, usual: TlsOptions["strategy"] = "tls"): TlsOptions["strategy"] {
  if ([own.cert, own.certFile, own.key, own.keyFile].some((value) => value !== undefined)) return "mtls";
  // Whoever says how to encrypt must not end in plaintext because of a variable.
  return usual === "none" && Object.values(own).some((value) => value !== undefined) ? "tls" : usual;
}

/** Contents win over a path, and options over the environment. */
function pem(name: "ca" | "cert" | "key", stem: string, own: TlsOptions, env: Environment): Pem | undefined {
  const contents: Setting = variable(`TLS_${stem}`, `tls.${name}`);
  const file: Setting = variable(`TLS_${stem}_FILE`, `tls.${name}File`);
  const given = own[name];
  if (given !== undefined) return { setting: contents, text: checked(decoded(given, contents), contents) };
  const path = worded(own[`${name}File`], `tls.${name}File`);
  if (path !== undefined) return { setting: file, path };
  const variables = env.text(`TLS_${stem}`);
  // In a variable, lines are often separated by a backslash and an n.
  if (variables !== undefined) return { setting: contents, text: checked(variables.replaceAll("\\n", "\n"), contents) };
  const other = env.text(`TLS_${stem}_FILE`);
  return other === undefined ? undefined : { setting: file, path: other };
}

async function read({ setting, text: contents, path }: Pem): Promise<string> {
  if (path === undefined) return contents ?? "";
  let found: string;
  try {
    found = await readFile(path, "utf8");
  } catch (cause) {
    throw new ConfigError(setting, `cannot be read from ${show(path)}: ${word(cause)}`, { cause });
  }
  return checked(found, setting, ` in ${show(path)}`);
}

/** The system's word for an error, or the runtime's where it forbids. */
function word(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.name;
}

/** Never shows what it is: it may be a key. */
function checked(contents: string, setting: Setting, where = ""): string {
  if (contents.includes("-----BEGIN ")) return contents;
  throw new ConfigError(setting, `must be PEM, which has a line -----BEGIN …-----, and what is there${where} has none`);
}

function decoded(value: unknown, setting: Setting): string {
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array) return new TextDecoder().decode(value);
  throw new ConfigError(setting, "must be PEM, as a text or as bytes");
}

function missing(option: string, stem: string): ConfigError {
  const problem = "is missing: mutual TLS needs our own certificate and its key";
  return new ConfigError(variable(`TLS_${stem}_FILE`, `tls.${option}`), problem);
}

function worded(value: unknown, option: string): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "string" && value.trim() !== "") return value.trim();
  throw new ConfigError({ option }, `must be a text that is not empty, got ${show(value)}`);
}

function oneOf<W extends string>(value: unknown, words: readonly W[], option: string): W | undefined {
  if (value === undefined) return undefined;
  const found = words.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new ConfigError({ option }, `must be one of ${words.join(", ")}, got ${show(value)}`);
}
