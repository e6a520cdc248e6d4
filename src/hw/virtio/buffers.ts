/** Scratch memory for requests in flight, used again: sizes are powers of two, and what is kept is bounded. */

const MIN_BYTES = 4096;
/** How many free buffers of one size are kept. */
const MAX_KEPT = 16;

export class BufferPool {
  private readonly free = new Map<number, Uint8Array[]>();

  /** @param maxBytes largest buffer that may be asked for */
  constructor(readonly maxBytes: number) {}

  /** A buffer of at least `bytes`; its contents are left over from earlier use. */
  take(bytes: number): Uint8Array {
    let size = MIN_BYTES;
    while (size < bytes) size *= 2;
    return this.free.get(size)?.pop() ?? new Uint8Array(size);
  }

  give(buffer: Uint8Array): void {
    let list = this.free.get(buffer.length);
    if (!list) {
      list = [];
      this.free.set(buffer.length, list);
    }
    if (list.length < MAX_KEPT) list.push(buffer);
  }
}
