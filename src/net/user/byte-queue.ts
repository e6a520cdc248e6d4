/** Bytes that wait to be sent and then to be acknowledged, without being moved. */

/** Pieces smaller than this are gathered into blocks of this size. */
const BLOCK = 16384;

export class ByteQueue {
  private chunks: Uint8Array[] = [];
  /** Bytes of the last chunk's block that are in use, when it is one of ours; -1 otherwise. */
  private blockUsed = -1;
  private block: Uint8Array | undefined;
  /** Bytes of the first chunk that are gone. */
  private head = 0;
  length = 0;

  /** Takes the bytes; the caller does not change them afterwards. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.length += bytes.length;
    if (bytes.length >= BLOCK) {
      this.chunks.push(bytes);
      this.block = undefined;
      return;
    }
    const { block } = this;
    if (block && this.chunks.length > 0 && this.blockUsed + bytes.length <= BLOCK) {
      block.set(bytes, this.blockUsed);
      this.blockUsed += bytes.length;
      this.chunks[this.chunks.length - 1] = block.subarray(0, this.blockUsed);
      return;
    }
    const fresh = new Uint8Array(BLOCK);
    fresh.set(bytes);
    this.block = fresh;
    this.blockUsed = bytes.length;
    this.chunks.push(fresh.subarray(0, bytes.length));
  }

  /** Copies bytes from `offset` on; there are enough. */
  copyTo(offset: number, out: Uint8Array): void {
    let skip = offset + this.head;
    let done = 0;
    for (let i = 0; done < out.length; i++) {
      const c = this.chunks[i]!;
      if (skip >= c.length) {
        skip -= c.length;
        continue;
      }
      const n = Math.min(c.length - skip, out.length - done);
      out.set(c.subarray(skip, skip + n), done);
      done += n;
      skip = 0;
    }
  }

  /** Lets go of the first bytes. */
  drop(count: number): void {
    this.length -= count;
    this.head += count;
    let gone = 0;
    while (gone < this.chunks.length && this.head >= this.chunks[gone]!.length) this.head -= this.chunks[gone++]!.length;
    if (gone > 0) this.chunks.splice(0, gone);
    if (this.chunks.length === 0) this.block = undefined;
  }

  clear(): void {
    this.chunks = [];
    this.block = undefined;
    this.head = 0;
    this.length = 0;
  }
}
