import { pem } from "../server.ts";
import type { Row } from "./row.ts";
import { elsewhere, nobody, proxied, renewed, secured, withoutAlpn } from "./scene.ts";

const unsent = { code: "Unavailable", loop: "again", origin: "wire", verdict: "transient" } as const;
const distrusted = { code: "Unavailable", loop: "refused", origin: "wire", verdict: "fatal" } as const;
const trust = { ca: pem("ca.crt") };
const pings = { pingIntervalMs: 100, pingTimeoutMs: 100 };
/** Enough to meet an order of events that only sometimes comes about. */
const rounds = 10;

/** Connections that do not come about. Our session makes Unavailable of all of them. */
export const dials: readonly Row[] = [
  { ...unsent, name: "refused", scene: () => nobody("127.0.0.1") },
  { ...unsent, name: "refused localhost", scene: () => nobody("localhost") },
  {
    ...unsent,
    name: "dns NXDOMAIN",
    scene: () => elsewhere(() => Promise.resolve({ host: "nonexistent.invalid", port: 1 })),
  },
  {
    ...distrusted,
    name: "tls untrusted CA",
    scene: () => secured("server", "127.0.0.1", { ca: pem("foreign-ca.crt") }),
  },
  { ...distrusted, name: "tls hostname mismatch", scene: () => secured("elsewhere", "localhost", trust) },
  {
    ...distrusted,
    name: "tls to plaintext port",
    scene: async () => {
      const plain = await proxied((proxy) => proxy.acceptThen("garbage"));
      return { ...plain, tls: () => Promise.resolve(trust) };
    },
  },
  { ...distrusted, name: "tls no h2 ALPN", scene: withoutAlpn },
  { ...unsent, name: "tls hostname mismatch, where one fitted before", scene: renewed },
  { ...unsent, name: "h2c to TLS port", scene: () => secured("server", "127.0.0.1", undefined) },
  { ...unsent, name: "HTTP/1.1 502 origin", rounds, scene: () => proxied((proxy) => proxy.acceptThen("http502")) },
  { ...unsent, name: "accept then close", rounds, scene: () => proxied((proxy) => proxy.acceptThen("close")) },
  { ...unsent, name: "accept then RST", rounds, scene: () => proxied((proxy) => proxy.acceptThen("rst")) },
  { ...unsent, name: "garbage banner", rounds, scene: () => proxied((proxy) => proxy.acceptThen("garbage")) },
  {
    ...unsent,
    guard: "connect time-out",
    name: "accept, never answers",
    scene: () => proxied((proxy) => proxy.acceptThen("silence")),
  },
  {
    ...unsent,
    channel: pings,
    guard: "connect time-out",
    name: "accept, never answers, ping 100/100",
    scene: () => proxied((proxy) => proxy.acceptThen("silence")),
  },
  {
    ...unsent,
    channel: pings,
    guard: "connect time-out",
    name: "blackhole before connect, ping 100/100",
    scene: () => proxied((proxy) => proxy.stall()),
  },
  {
    ...unsent,
    call: (client) => client.heartbeat({ workerId: "w" }, { timeoutMs: 100 }),
    code: "DeadlineExceeded",
    guard: "timeoutMs",
    loop: "call",
    name: "accept, never answers, timeoutMs 100",
    scene: () => proxied((proxy) => proxy.acceptThen("silence")),
  },
];
