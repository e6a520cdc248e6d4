/**
 * Bits of qcow2's tables: big-endian entries of 64 bits whose offsets are multiples of 512.
 * Source: docs/interop/qcow2.txt "Cluster mapping". Offsets of 2^53 and more, which no file has, read as `BAD_OFFSET`.
 */

/** Bit 63 of L1 and L2 entries: the refcount is exactly one. */
export const COPIED = 0x80000000;
/** Bit 62 of L2 entries. */
export const COMPRESSED = 0x40000000;
/** Bit 0 of L2 entries (version 3). */
export const ZERO = 1;

const HIGH = 2 ** 32;
const OFFSET_HIGH = 0x00ffffff;
const OFFSET_LOW = 0xfffffe00;
/** What is too large for a file, and for a number. */
export const BAD_OFFSET = 2 ** 53;

/** The bytes of a table and their view. */
export interface Table {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export function tableOf(bytes: Uint8Array): Table {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

export function get64(view: DataView, at: number): number {
  const high = view.getUint32(at);
  return high >= 0x200000 ? BAD_OFFSET : high * HIGH + view.getUint32(at + 4);
}

export function set64(view: DataView, at: number, value: number, flags = 0): void {
  view.setUint32(at, (Math.floor(value / HIGH) | flags) >>> 0);
  view.setUint32(at + 4, value >>> 0);
}

/** Bits 9 to 55 of an L1, L2 or refcount table entry. */
export function offsetAt(view: DataView, at: number): number {
  const high = view.getUint32(at) & OFFSET_HIGH;
  return high >= 0x200000 ? BAD_OFFSET : high * HIGH + ((view.getUint32(at + 4) & OFFSET_LOW) >>> 0);
}

/** Bits 56 to 63. */
export function flagsAt(view: DataView, at: number): number {
  return (view.getUint32(at) & 0xff000000) >>> 0;
}

/** A compressed cluster's place: where its bytes begin, and in how many sectors of 512 bytes, the first one included, they lie. */
export function compressedAt(view: DataView, at: number, clusterBits: number): { offset: number; sectors: number } {
  const value = ((BigInt(view.getUint32(at)) & 0x3fffffffn) << 32n) | BigInt(view.getUint32(at + 4));
  const shift = BigInt(62 - (clusterBits - 8));
  const offset = value & ((1n << shift) - 1n);
  return { offset: offset >= BigInt(BAD_OFFSET) ? BAD_OFFSET : Number(offset), sectors: Number(value >> shift) + 1 };
}

export function setCompressed(view: DataView, at: number, clusterBits: number, offset: number, sectors: number): void {
  const shift = BigInt(62 - (clusterBits - 8));
  const value = (1n << 62n) | (BigInt(sectors - 1) << shift) | BigInt(offset);
  view.setBigUint64(at, value);
}
