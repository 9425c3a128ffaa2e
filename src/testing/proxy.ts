import type { Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import type { Cut, LinkRules, Trap } from "./link.ts";
import { Link } from "./link.ts";

/** Which way bytes go: up to the server, down to the client. */
type Direction = "up" | "down" | "both";

/** What goes with a {@link CuttingProxy}. */
export interface ProxyOptions {
  /** The port to listen on. @default 0, which takes a free one */
  readonly port?: number | undefined;
}

/** A wire that breaks on demand. */
export interface CuttingProxy extends AsyncDisposable {
  /** Where to connect, as "host:port"; stays the same for the proxy's whole life. */
  readonly hostPort: string;
  /** How many connections are open. */
  readonly connections: number;
  /** How many connections were ever accepted. */
  readonly accepted: number;
  /** Cuts every open connection, on both sides. */
  cut(how: Cut): void;
  /** Holds all bytes and endings silently, those of new connections too; nothing is closed. @default "both" */
  stall(direction?: Direction): void;
  /** Lets go of everything that was held, in order. */
  resume(): void;
  /** Delays everything that comes from now on, each way. */
  delay(ms: number): void;
  /** Closes the port, or opens the same one again; open connections live on. Resolves when done. */
  refuse(on: boolean): Promise<void>;
  /** What new connections meet from now on; `undefined` serves them. */
  acceptThen(trap: Trap | undefined): void;
  /** Cuts the connection that carries the last of this many bytes down from now on, right behind it; once. */
  cutAfter(bytes: number, how: Cut): void;
  /** Closes the port and every connection. Idempotent. */
  close(): Promise<void>;
}

/**
 * Listens on loopback and passes every connection on to `target` ("host:port", or a function asked for each connection)
 * until told otherwise. Errors of sockets end those sockets and nothing else.
 *
 * @example
 * ```ts
 * const proxy = await cuttingProxy(`127.0.0.1:${port}`);
 * proxy.cut("rst"); // whoever is connected through proxy.hostPort is not any more
 * await proxy.close();
 * ```
 */
export async function cuttingProxy(target: string | (() => string), options: ProxyOptions = {}): Promise<CuttingProxy> {
  const proxy = new LoopbackProxy(typeof target === "string" ? () => target : target);
  await proxy.listen(options.port ?? 0);
  return proxy;
}

class LoopbackProxy implements CuttingProxy {
  accepted = 0;
  readonly #target: () => string;
  readonly #links = new Set<Link>();
  #server: Server | undefined;
  #port = 0;
  #delayMs = 0;
  #trap: Trap | undefined;
  #held = { up: false, down: false };
  #quota: { readonly bytes: number; readonly how: Cut } | undefined;
  #closed = false;
  readonly #rules: LinkRules = { delayMs: () => this.#delayMs, quota: (bytes) => this.#spend(bytes) };

  constructor(target: () => string) {
    this.#target = target;
  }

  get hostPort(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get connections(): number {
    return this.#links.size;
  }

  cut(how: Cut): void {
    for (const link of this.#links) link.cut(how);
  }

  stall(direction: Direction = "both"): void {
    if (direction !== "down") this.#held.up = true;
    if (direction !== "up") this.#held.down = true;
    for (const link of this.#links) this.#hold(link);
  }

  resume(): void {
    this.#held = { up: false, down: false };
    for (const { up, down } of this.#links) {
      up.resume();
      down.resume();
    }
  }

  delay(ms: number): void {
    this.#delayMs = ms;
  }

  async refuse(on: boolean): Promise<void> {
    if (on) this.#shut();
    else if (this.#server === undefined && !this.#closed) await this.listen(this.#port);
  }

  acceptThen(trap: Trap | undefined): void {
    this.#trap = trap;
  }

  cutAfter(bytes: number, how: Cut): void {
    this.#quota = { bytes, how };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#shut();
    this.cut("rst");
    await Promise.all([...this.#links].map((link) => link.closed));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A port that was ours a moment ago may still be on its way out: it is asked for a few times. */
  async listen(port: number, tries = 20): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, "127.0.0.1", resolve);
      });
    } catch (error) {
      if (port === 0 || tries === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
      return this.listen(port, tries - 1);
    }
    server.on("error", () => {
      // A connection that could not be accepted: its client sees that for itself.
    });
    const address = server.address();
    if (typeof address === "object" && address !== null) this.#port = address.port;
    this.#server = server;
  }

  #shut(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  #accept(client: Socket): void {
    // It was in the queue of the port when that closed.
    if (this.#server === undefined) return void client.destroy();
    this.accepted++;
    const trap = this.#trap;
    const link = new Link(client, trap === undefined ? this.#dial() : undefined, this.#rules);
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
    this.#hold(link);
    if (trap !== undefined) link.spring(trap);
  }

  #dial(): Socket {
    const target = this.#target();
    const colon = target.lastIndexOf(":");
    return connect({ host: target.slice(0, colon), port: Number(target.slice(colon + 1)), allowHalfOpen: true });
  }

  /** Counts bytes that go down; they are the last ones when the quota is used up. */
  #spend(bytes: number): { readonly bytes: number; readonly how: Cut } | undefined {
    const quota = this.#quota;
    if (quota === undefined) return undefined;
    const spent = bytes >= quota.bytes;
    this.#quota = spent ? undefined : { ...quota, bytes: quota.bytes - bytes };
    return spent ? quota : undefined;
  }

  #hold(link: Link): void {
    if (this.#held.up) link.up.hold();
    if (this.#held.down) link.down.hold();
  }
}
