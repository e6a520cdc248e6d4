/** Compression of a stream whose pieces the other side must be able to read as they come. Source: RFC 1950, 1951. */

/** One zlib stream. */
export interface Deflater {
  /** Compresses and flushes: the answer ends at a byte boundary (Z_SYNC_FLUSH). Calls are answered in order. */
  deflate(data: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

/** `level`: 0 (none) to 9. */
export type CreateDeflater = (level: number) => Deflater;
