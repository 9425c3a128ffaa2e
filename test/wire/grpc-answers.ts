import type { Row, Serve } from "./grpc.ts";
import { hear, heed } from "./grpc.ts";

export type Fields = Readonly<Record<string, string>>;
interface Answer {
  /** Nothing at all when it is `undefined`. */
  readonly head: Fields | undefined;
  readonly notes?: readonly Uint8Array[];
  readonly trailers?: Fields;
  readonly reset?: number;
  readonly goaway?: number;
}

/** Writes the frames of one answer. */
export function frames({ goaway, head, notes = [], reset, trailers }: Answer): () => Serve {
  const alone = notes.length === 0 && trailers === undefined && reset === undefined;
  return () => ({
    frames: (connection, id) => {
      if (head !== undefined) connection.headers(id, head, alone);
      for (const one of notes) connection.data(id, one);
      if (trailers !== undefined) connection.headers(id, trailers, true);
      if (reset !== undefined) connection.reset(id, reset);
      if (goaway !== undefined) connection.goaway(goaway, 0);
    },
  });
}

/** How a unary call and a server stream end. */
export async function both({ client, log }: Parameters<Row["play"]>[0]): Promise<void> {
  await hear(log, client.unary({}));
  await heed(log, client.down({}));
}

/** The same word of both. */
export function twice(text: string): string[] {
  return [text, text];
}
