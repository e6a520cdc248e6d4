/** Compression that the host does, off the machine's thread where it can. */

export interface HostCodecs {
  /**
   * Raw deflate (RFC 1951) of `data`, which may have other bytes behind its end.
   * @returns exactly `sizeBytes` bytes; undefined when the data is damaged or makes another length
   */
  inflate(data: Uint8Array, sizeBytes: number): Promise<Uint8Array | undefined>;
  /** Raw deflate with a window of at most 4 KiB (2^12 bytes). */
  deflate(data: Uint8Array): Promise<Uint8Array>;
  /** As `inflate`, for one Zstandard frame (RFC 8878). */
  unzstd(data: Uint8Array, sizeBytes: number): Promise<Uint8Array | undefined>;
}
