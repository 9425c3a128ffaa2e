import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { AnyRequest } from "./begun.ts";

/** Where one method is. */
interface Target {
  /** As interceptors see it. */
  readonly url: string;
  /** As it is sent. */
  readonly path: string;
}

/** Where the methods of services are below one URL: found once for each, for parsing a URL is a part of a call's price. */
export class Targets {
  readonly #base: string;
  readonly #origin: string;
  readonly #known: WeakMap<DescMethod, Target> = new WeakMap();

  constructor(baseUrl: string) {
    this.#base = baseUrl.replace(/\/$/, "");
    this.#origin = new URL(baseUrl).origin;
  }

  of(method: DescMethod): Target {
    const known = this.#known.get(method);
    if (known !== undefined) return known;
    const url = `${this.#base}/${method.parent.typeName}/${method.name}`;
    const target = { url, path: new URL(url).pathname };
    this.#known.set(method, target);
    return target;
  }

  /** Where a request goes: only what an interceptor has changed is parsed. @throws ConnectError for another origin */
  path({ method, url }: AnyRequest): string {
    const target = this.of(method);
    if (url === target.url) return target.path;
    const { origin, pathname, search } = new URL(url);
    if (origin === this.#origin) return pathname + search;
    throw new ConnectError(`cannot make a request to ${origin}: the channel leads to ${this.#origin}`, Code.Internal);
  }
}
