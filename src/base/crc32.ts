/** CRC-32 (ISO 3309, ITU-T V.42; polynomial 0x04c11db7 reflected), four bytes a step. */

const TABLES = [0, 1, 2, 3].map(() => new Uint32Array(256));
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  TABLES[0]![n] = c;
}
for (let t = 1; t < 4; t++)
  for (let n = 0; n < 256; n++) {
    const c = TABLES[t - 1]![n]!;
    TABLES[t]![n] = TABLES[0]![c & 255]! ^ (c >>> 8);
  }

/** The checksum of bytes; `previous` is that of what came before them. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  const [t0, t1, t2, t3] = TABLES as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  let c = ~previous;
  let i = 0;
  for (const end = bytes.length & ~3; i < end; i += 4) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    c = t3[c & 255]! ^ t2[(c >>> 8) & 255]! ^ t1[(c >>> 16) & 255]! ^ t0[c >>> 24]!;
  }
  for (; i < bytes.length; i++) c = t0[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
}
