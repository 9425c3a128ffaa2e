import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pause, until } from "../server.ts";
import type { Child } from "./child.ts";
import { path, startBound } from "./child.ts";

/** How a proxy is to behave. */
export interface ProxyOptions {
  /** How long a stream may be idle, in milliseconds. */
  readonly idleMs?: number;
  /** How long what is under way may go on after a reload, in milliseconds. */
  readonly graceMs?: number;
  /** More of nginx's own directives for the server. */
  readonly directives?: string;
}

/** A proxy that runs before a port. */
export interface Proxy {
  readonly port: number;
  /** Reads its configuration again as a deploy does: new connections are served by new processes. */
  reload(): Promise<void>;
  /** Ends it, and all that it started. */
  end(): Promise<void>;
}

/** A kind of proxy. */
export interface ProxyKind {
  readonly name: string;
  /** Why there is none, or undefined. */
  readonly lack: string | undefined;
  /** The HTTP status that stands for an upstream that is down. */
  readonly down: number;
  start(upstream: number, options?: ProxyOptions): Promise<Proxy>;
}

interface Plan extends Required<ProxyOptions> {
  readonly folder: string;
  readonly port: number;
  readonly upstream: number;
}

function lackOf(program: string, flag: string): string | undefined {
  const { status } = spawnSync(program, [flag], { env: { ...process.env, PATH: path }, stdio: "ignore" });
  return status === 0 ? undefined : `there is no ${program}`;
}

/** nginx 1.22 and later. */
export const nginx: ProxyKind = {
  name: "nginx",
  lack: lackOf("nginx", "-v"),
  down: 502,
  async start(upstream, options = {}) {
    let child: Child | undefined;
    const plan = await started(upstream, options, (plan) => {
      writeFileSync(join(plan.folder, "conf"), nginxConf(plan));
      return child = startBound("nginx", ["-e", "stderr", "-p", plan.folder, "-c", join(plan.folder, "conf")]);
    });
    return {
      port: plan.port,
      reload: async () => {
        child?.signal("SIGHUP");
        await pause(100);
      },
      async end() {
        await child?.end();
        rmSync(plan.folder, { recursive: true, force: true });
      },
    };
  },
};

function nginxConf({ directives, folder, graceMs, idleMs, port, upstream }: Plan): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `
    ${process.getuid?.() === 0 ? "user root;" : ""}
    daemon off;
    pid ${join(folder, "pid")};
    worker_processes 1;
    worker_shutdown_timeout ${graceMs}ms;
    events { worker_connections 500; }
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${join(folder, name)};`).join("\n      ")}
      server {
        listen 127.0.0.1:${port} http2;
        client_max_body_size 0;
        client_body_timeout ${idleMs}ms;
        grpc_read_timeout ${idleMs}ms;
        grpc_send_timeout ${idleMs}ms;
        location / { grpc_pass grpc://127.0.0.1:${upstream}; }
        ${directives}
      }
    }
  `;
}

/** haproxy 2.4 and later. */
export const haproxy: ProxyKind = {
  name: "haproxy",
  lack: lackOf("haproxy", "-v"),
  down: 503,
  async start(upstream, options = {}) {
    const children: Child[] = [];
    const run = (folder: string, ...flags: string[]) => {
      const child = startBound("haproxy", ["-db", "-f", join(folder, "conf"), ...flags]);
      children.push(child);
      return child;
    };
    const plan = await started(upstream, options, (plan) => {
      writeFileSync(join(plan.folder, "conf"), haproxyConf(plan));
      return run(plan.folder);
    });
    return {
      port: plan.port,
      reload: async () => {
        const old = children.at(-1);
        run(plan.folder, "-sf", `${old?.pid}`);
        await pause(200);
      },
      async end() {
        await Promise.all(children.map((child) => child.end()));
        rmSync(plan.folder, { recursive: true, force: true });
      },
    };
  },
};

function haproxyConf({ graceMs, idleMs, port, upstream }: Plan): string {
  return `
global
  maxconn 500
  hard-stop-after ${graceMs}ms
defaults
  mode http
  retries 0
  timeout connect 500ms
  timeout client ${idleMs}ms
  timeout server ${idleMs}ms
frontend clients
  bind 127.0.0.1:${port} proto h2
  default_backend engine
backend engine
  server engine 127.0.0.1:${upstream} proto h2
`;
}

/** Starts a proxy on a port that was free a moment ago, and waits until it is served. */
async function started(upstream: number, options: ProxyOptions, run: (plan: Plan) => Child): Promise<Plan> {
  const { directives = "", idleMs = 10_000, graceMs = 5000 } = options;
  for (let tries = 1;; tries++) {
    const folder = mkdtempSync(join(tmpdir(), "coppice-proxy-"));
    const plan = { directives, folder, graceMs, idleMs, port: await freePort(), upstream };
    const child = run(plan);
    let isServed = false;
    await until(() => {
      if (!isServed) knock(plan.port, () => isServed = true);
      return isServed || child.ended;
    });
    if (isServed) return plan;
    rmSync(folder, { recursive: true, force: true });
    if (tries === 3) throw new Error(`did not start: ${child.complaints}`);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // It listens on a port, not on a pipe.
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function knock(port: number, answered: () => void): void {
  const socket = connect(port, "127.0.0.1", () => {
    answered();
    socket.destroy();
  });
  socket.on("error", () => {
    // Nobody is there yet.
  });
}
