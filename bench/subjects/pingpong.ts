// How many round trips a second one bidirectional stream makes: pingpong.ts NAME ECHO SOURCE WARMUP COUNT, two HOST:PORT of
// one process.
import process from "node:process";
import { rate, tell } from "./clock.ts";
import type { PlayerName } from "./players.ts";
import { players } from "./players.ts";

const [name = "", hostPort = "", source = "", ...numbers] = process.argv.slice(2);
const [warmup = 0, count = 0] = numbers.map(Number);
const play = players[name as PlayerName](hostPort); // The plan knows the names.
await play(warmup);
tell(await rate(source, count, () => play(count)));
