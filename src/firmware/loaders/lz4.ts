/**
 * LZ4 in the legacy frame format, in which Linux kernels and initial RAM disks are packed.
 * Source: LZ4 Frame Format 1.6.1 "Legacy frame"; LZ4 Block Format.
 */

/** The first four bytes of a legacy frame, little-endian. */
const LZ4_LEGACY_MAGIC = 0x184c2102;

/** Whether the bytes begin as a legacy frame does. */
export function isLz4Legacy(data: Uint8Array): boolean {
  return data.length >= 8 && new DataView(data.buffer, data.byteOffset).getUint32(0, true) === LZ4_LEGACY_MAGIC;
}

/**
 * Unpacks a legacy frame.
 * @param maxBytes no more than this is ever allocated
 * @param sizeBytes how much it is expected to be, when that is known; only saves time
 * @returns undefined when the data is damaged, truncated or would be larger than `maxBytes`
 */
export function unpackLz4Legacy(data: Uint8Array, maxBytes: number, sizeBytes = data.length * 4): Uint8Array | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (!isLz4Legacy(data)) return undefined;
  let out = new Uint8Array(Math.min(maxBytes, sizeBytes, data.length * EXPANSION_MAX));
  let length = 0;
  let at = 4;
  while (at + 4 <= data.length) {
    const blockSize = view.getUint32(at, true);
    at += 4;
    if (blockSize === LZ4_LEGACY_MAGIC) continue;
    // What follows the last block (a kernel's size field) is no block.
    if (blockSize === 0 || at + blockSize > data.length) break;
    // A block that outgrows the buffer is done again with a larger one; blocks do not depend on earlier ones.
    for (;;) {
      const end = unpackBlock(data.subarray(at, at + blockSize), out, length);
      if (end >= 0) {
        length = end;
        break;
      }
      if (end === DAMAGED || out.length >= maxBytes) return undefined;
      const bigger = new Uint8Array(Math.min(maxBytes, Math.max(65536, out.length * 2)));
      bigger.set(out.subarray(0, length));
      out = bigger;
    }
    at += blockSize;
  }
  return length > 0 ? out.subarray(0, length) : undefined;
}

/** A byte of a match's length stands for 255. */
const EXPANSION_MAX = 256;
/** Up to here a loop copies faster than a call. */
const SHORT = 32;
const DAMAGED = -1;
const FULL = -2;

/** Unpacks one block behind `from`; returns the new length, DAMAGED or FULL. */
function unpackBlock(src: Uint8Array, out: Uint8Array, from: number): number {
  let s = 0;
  let d = from;
  const n = src.length;
  while (s < n) {
    const token = src[s++]!;
    let literals = token >> 4;
    if (literals === 15) {
      let b: number;
      do {
        if (s >= n) return DAMAGED;
        b = src[s++]!;
        literals += b;
      } while (b === 255);
    }
    if (s + literals > n) return DAMAGED;
    if (d + literals > out.length) return FULL;
    if (literals > SHORT) {
      out.set(src.subarray(s, s + literals), d);
      s += literals;
      d += literals;
    } else for (const end = s + literals; s < end; ) out[d++] = src[s++]!;
    if (s === n) return d;
    if (s + 2 > n) return DAMAGED;
    const distance = src[s]! | (src[s + 1]! << 8);
    s += 2;
    if (distance === 0 || distance > d - from) return DAMAGED;
    let match = (token & 15) + 4;
    if (match === 19) {
      let b: number;
      do {
        if (s >= n) return DAMAGED;
        b = src[s++]!;
        match += b;
      } while (b === 255);
    }
    if (d + match > out.length) return FULL;
    if (distance >= match && match > SHORT) {
      out.copyWithin(d, d - distance, d - distance + match);
      d += match;
    } else for (const end = d + match; d < end; d++) out[d] = out[d - distance]!;
  }
  return d;
}
