import { authority } from "../../src/transport/address.ts";
import { assert, suite } from "../harness.ts";

const test = suite("address");

test("requests name the server's name, or the address, an IPv6 one in brackets", () => {
  const material = { serverName: "usual.example" };

  const names = [
    authority({ host: "engine", port: 7070 }, undefined),
    authority({ host: "::1", port: 7070 }, {}),
    authority({ host: "::1", port: 7070 }, material),
    authority({ host: "::1", port: 7070, serverName: "own.example" }, material),
  ];

  assert.equal(names, ["engine:7070", "[::1]:7070", "usual.example", "own.example"]);
});

test.run();
