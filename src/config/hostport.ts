import { isIPv6 } from "node:net";
import type { Setting } from "../errors.ts";
import { ConfigError } from "../errors.ts";
import { show } from "../show.ts";

/** Where the engine listens. */
export interface HostPort {
  /** A name or an IP address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** The names of the setting, for whoever reports trouble with it. */
export const hostPortSetting: Setting = { option: "hostPort", variable: "HATCHET_CLIENT_HOST_PORT" };

/** Takes an address apart. @throws ConfigError saying what it lacks */
export function hostPort(value: unknown): HostPort {
  const refuse = (why: string): never => {
    throw new ConfigError(hostPortSetting, `must be host:port, got ${show(value)}: ${why}`);
  };
  if (typeof value !== "string") return refuse("it is no text");
  const text = value.trim();
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) refuse("it has a scheme in front, which does not belong there");
  if (/[\s/?#@]/.test(text)) refuse("it has something besides a host and a port");
  const [, bracketed, plain, port] = /^(?:\[(.*)\]|([^[\]]*?))(?::([^:[\]]*))?$/.exec(text) ??
    refuse("brackets are for IPv6");
  const host = bracketed ?? plain ?? "";
  if (host.includes(":") && bracketed === undefined) refuse("an IPv6 address needs brackets, as in [::1]:7070");
  if (bracketed !== undefined && !isIPv6(bracketed)) refuse("what is in the brackets is no IPv6 address");
  if (host === "") refuse("the host is missing");
  if (port === undefined || port === "") return refuse("the port is missing, 7070 by default");
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) refuse("a port is from 1 to 65535");
  return { host, port: Number(port) };
}

/** Whether it leads to this machine and nowhere else. */
export function isLoopback(host: string): boolean {
  return host.toLowerCase() === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
