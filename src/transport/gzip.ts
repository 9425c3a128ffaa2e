import { promisify } from "node:util";
import { gunzip, gzip as deflate } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { tooLarge } from "./frames.ts";

const [compress, decompress] = [promisify(deflate), promisify(gunzip)];

/** The compression that gRPC servers know; what Connect's own is, without the servers that come with it. */
export const gzip: Compression = {
  name: "gzip",
  compress: async (bytes) => plain(await compress(bytes)),
  decompress: async (bytes, maxBytes) => {
    try {
      return plain(await decompress(bytes, { maxOutputLength: maxBytes }));
    } catch (error) {
      if (error instanceof RangeError) throw tooLarge(undefined, maxBytes);
      throw new ConnectError(`protocol error: ${String(error)}`, Code.Internal);
    }
  },
};

/** A Buffer's `subarray` makes Buffers, and a message's fields of bytes would be some. */
function plain({ buffer, byteLength, byteOffset }: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
