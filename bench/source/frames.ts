/** Cuts bytes that come in any pieces into the messages of a gRPC stream; a message lives until the next piece. */
export class Frames {
  #rest: Uint8Array = new Uint8Array();

  /** Takes a piece, and tells each message that is whole now. */
  take(piece: Uint8Array, tell: (message: Uint8Array) => void): void {
    const bytes = this.#rest.length === 0 ? piece : joined(this.#rest, piece);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (at + 5 <= bytes.length) {
      const end = at + 5 + view.getUint32(at + 1);
      if (end > bytes.length) break;
      tell(bytes.subarray(at + 5, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
