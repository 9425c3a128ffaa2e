import { ConfigError } from "../../src/errors.ts";
import { hostPort, isLoopback } from "../../src/config/hostport.ts";
import { assert, suite } from "../harness.ts";
import { jwt, messageOf } from "../jwt.ts";

const test = suite("hostport");

for (
  const [text, host, port] of [
    ["localhost:7070", "localhost", 7070],
    ["engine.example.com:443", "engine.example.com", 443],
    ["127.0.0.1:1", "127.0.0.1", 1],
    ["[::1]:65535", "::1", 65_535],
    ["[fe80::1]:7070", "fe80::1", 7070],
    [" engine:7070\n", "engine", 7070],
    ["under_score:7070", "under_score", 7070],
    ["bücher.example:7070", "bücher.example", 7070],
    ["engine:07070", "engine", 7070],
  ] as const
) {
  test(`reads ${JSON.stringify(text)}`, () => {
    assert.equal(hostPort(text), { host, port });
  });
}

const schemeWhy = "it has a scheme in front, which does not belong there";
const moreWhy = "it has something besides a host and a port";
const ipv6Why = "an IPv6 address needs brackets, as in [::1]:7070";
const bracketsWhy = "what is in the brackets is no IPv6 address";
const shapeWhy = "brackets are for IPv6";
const missingWhy = "the port is missing, 7070 by default";
const portWhy = "a port is from 1 to 65535";

for (
  const [text, why] of [
    ["", "the host is missing"],
    [":7070", "the host is missing"],
    ["localhost", missingWhy],
    ["localhost:", missingWhy],
    ["[::1]", missingWhy],
    ["[::1]:", missingWhy],
    ["localhost:0", portWhy],
    ["localhost:65536", portWhy],
    ["localhost:-1", portWhy],
    ["localhost:70.7", portWhy],
    ["localhost:0x10", portWhy],
    ["localhost:http", portWhy],
    ["localhost:700000", portWhy],
    ["localhost:٧", portWhy],
    ["http://localhost:7070", schemeWhy],
    ["dns:///localhost:7070", schemeWhy],
    ["GRPC+tls://x:1", schemeWhy],
    ["localhost:7070/", moreWhy],
    ["me@localhost:7070", moreWhy],
    ["localhost :7070", moreWhy],
    ["localhost:7070?x", moreWhy],
    ["localhost:7070#x", moreWhy],
    ["::1:7070", ipv6Why],
    ["a:b:7070", ipv6Why],
    ["[localhost]:7070", bracketsWhy],
    ["[]:7070", bracketsWhy],
    ["[127.0.0.1]:7070", bracketsWhy],
    ["[::1", shapeWhy],
    ["::1]:7070", shapeWhy],
    ["[::1]7070", shapeWhy],
    ["[[::1]]:7070", bracketsWhy],
  ] as const
) {
  test(`refuses ${JSON.stringify(text)}, and says why`, () => {
    const message = messageOf(() => hostPort(text));

    const rule = "hostPort (HATCHET_CLIENT_HOST_PORT) must be host:port, got";
    assert.is(message, `${rule} ${JSON.stringify(text)}: ${why}`);
    assert.throws(() => hostPort(text), (error: unknown) => error instanceof ConfigError);
  });
}

test("refuses what is no text, and shows no token that went astray", () => {
  const rule = "hostPort (HATCHET_CLIENT_HOST_PORT) must be host:port, got";

  assert.is(messageOf(() => hostPort(7070)), `${rule} 7070: it is no text`);
  assert.is(messageOf(() => hostPort(null)), `${rule} null: it is no text`);
  assert.is(messageOf(() => hostPort(jwt({}))), `${rule} "[token]": ${missingWhy}`);
});

test("takes only addresses of this machine for loopback", () => {
  for (const host of ["localhost", "LOCALHOST", "::1", "127.0.0.1", "127.8.9.250"]) assert.ok(isLoopback(host), host);
  for (
    const host of [
      "engine",
      "x127.0.0.1",
      "127.0.0.1.evil.example",
      "127.example",
      "128.0.0.1",
      "::2",
      "localhost.example",
      "",
    ]
  ) {
    assert.not.ok(isLoopback(host), host);
  }
});

test.run();
