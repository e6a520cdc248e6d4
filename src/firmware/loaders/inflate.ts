/**
 * Unpacks gzip.
 * Sources: RFC 1951 (deflate), RFC 1952 (gzip).
 * Not done: several members in a file; the header's own CRC-16 is not checked.
 */
import { unpackCore } from "./unpack-core.js";

const ID = 0x8b1f;
const DEFLATE = 8;
const HEADER_BYTES = 10;
const TRAILER_BYTES = 8;
/** Bits of the header's flags. */
const Flag = { headerCrc: 2, extra: 4, name: 8, comment: 16, reserved: 0xe0 } as const;
/** No byte of deflate makes more than this: a match of 258 takes two bits at least. */
const EXPANSION_MAX = 1032;

const MAX_BITS = 15;
const END_OF_BLOCK = 256;
const LITERALS = 286;
const DISTANCES = 30;
const BlockType = { stored: 0, fixed: 1, dynamic: 2 } as const;
/** The order in which the lengths of the code for code lengths come. */
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Match lengths and distances by code: the first of each, and how many bits are added. */
const LENGTH_BASE = new Uint16Array(29);
const LENGTH_BITS = new Uint8Array(29);
for (let code = 0, base = 3; code < 28; code++) {
  LENGTH_BASE[code] = base;
  LENGTH_BITS[code] = code < 8 ? 0 : (code >> 2) - 1;
  base += 1 << LENGTH_BITS[code]!;
}
LENGTH_BASE[28] = 258;
const DISTANCE_BASE = new Uint16Array(DISTANCES);
const DISTANCE_BITS = new Uint8Array(DISTANCES);
for (let code = 0, base = 1; code < DISTANCES; code++) {
  DISTANCE_BASE[code] = base;
  DISTANCE_BITS[code] = code < 4 ? 0 : (code >> 1) - 1;
  base += 1 << DISTANCE_BITS[code]!;
}

/** A prefix code as a table over the next `bits` bits: symbol * 16 + length; 0 where no code is. */
interface Code {
  readonly table: Uint16Array;
  readonly bits: number;
}

/**
 * The code with these lengths; undefined when more codes are claimed than there can be, or fewer. A code with one symbol may
 * be incomplete, and so may one with none (a block without matches).
 */
function makeCode(lengths: Uint8Array): Code | undefined {
  const count = new Uint16Array(MAX_BITS + 1);
  for (const n of lengths) count[n]!++;
  count[0] = 0;
  let bits = 0;
  let left = 1;
  let used = 0;
  const nextCode = new Uint16Array(MAX_BITS + 2);
  for (let n = 1; n <= MAX_BITS; n++) {
    left = left * 2 - count[n]!;
    if (left < 0) return undefined;
    if (count[n]) bits = n;
    used += count[n]!;
    nextCode[n + 1] = (nextCode[n]! + count[n]!) << 1;
  }
  if (left > 0 && used > 1) return undefined;
  const table = new Uint16Array(1 << bits);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const n = lengths[symbol]!;
    if (n === 0) continue;
    const code = nextCode[n]!++;
    let reversed = 0;
    for (let i = 0; i < n; i++) reversed |= ((code >> i) & 1) << (n - 1 - i);
    for (let i = reversed; i < table.length; i += 1 << n) table[i] = symbol * 16 + n;
  }
  return { table, bits };
}

const FIXED_LITERALS = makeCode(Uint8Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)))!;
const FIXED_DISTANCES = makeCode(new Uint8Array(32).fill(5))!;

/** Deflate data into `out`; how many bytes of it were used. Undefined when the data is damaged or makes another length. */
export function inflate(data: Uint8Array, out: Uint8Array): number | undefined {
  let at = 0;
  let to = 0;
  /** Bits not used yet, low ones first; behind the data come zeroes. */
  let buffer = 0;
  let held = 0;
  const end = data.length;
  const fill = (n: number) => {
    while (held < n) {
      if (at < end) buffer |= data[at]! << held;
      at++;
      held += 8;
    }
  };
  const take = (n: number) => {
    fill(n);
    const v = buffer & ((1 << n) - 1);
    buffer >>>= n;
    held -= n;
    return v;
  };
  const symbolOf = (code: Code) => {
    fill(code.bits);
    const entry = code.table[buffer & ((1 << code.bits) - 1)]!;
    if (entry === 0) return -1;
    buffer >>>= entry & 15;
    held -= entry & 15;
    return entry >> 4;
  };

  /** The two codes of a dynamic block. */
  const readCodes = (): [Code, Code] | undefined => {
    const literals = take(5) + 257;
    const distances = take(5) + 1;
    const ordered = take(4) + 4;
    if (literals > LITERALS || distances > DISTANCES) return undefined;
    const own = new Uint8Array(19);
    for (let i = 0; i < ordered; i++) own[LENGTH_ORDER[i]!] = take(3);
    const code = makeCode(own);
    if (!code) return undefined;
    const lengths = new Uint8Array(literals + distances);
    for (let i = 0; i < lengths.length; ) {
      const symbol = symbolOf(code);
      if (symbol < 0 || at > end + 4) return undefined;
      if (symbol < 16) {
        lengths[i++] = symbol;
        continue;
      }
      if (symbol === 16 && i === 0) return undefined;
      const value = symbol === 16 ? lengths[i - 1]! : 0;
      const times = symbol === 16 ? 3 + take(2) : symbol === 17 ? 3 + take(3) : 11 + take(7);
      if (i + times > lengths.length) return undefined;
      lengths.fill(value, i, i + times);
      i += times;
    }
    const first = makeCode(lengths.subarray(0, literals));
    const second = makeCode(lengths.subarray(literals));
    return first && second && lengths[END_OF_BLOCK] ? [first, second] : undefined;
  };

  /** Literals and matches up to the end of the block; false when damaged. The loop that takes the time: `take` is written out. */
  const readBlock = (literals: Code, distances: Code): boolean => {
    const literalTable = literals.table;
    const literalMask = (1 << literals.bits) - 1;
    const distanceTable = distances.table;
    const distanceMask = (1 << distances.bits) - 1;
    for (;;) {
      while (held < 15) {
        if (at < end) buffer |= data[at]! << held;
        at++;
        held += 8;
      }
      let entry = literalTable[buffer & literalMask]!;
      if (entry === 0) return false;
      buffer >>>= entry & 15;
      held -= entry & 15;
      const symbol = entry >> 4;
      if (symbol < END_OF_BLOCK) {
        if (to >= out.length) return false;
        out[to++] = symbol;
        continue;
      }
      if (symbol === END_OF_BLOCK) return true;
      if (symbol >= LITERALS || at > end + 8) return false;
      const length = LENGTH_BASE[symbol - 257]! + take(LENGTH_BITS[symbol - 257]!);
      fill(15);
      entry = distanceTable[buffer & distanceMask]!;
      buffer >>>= entry & 15;
      held -= entry & 15;
      const code = entry >> 4;
      if (entry === 0 || code >= DISTANCES) return false;
      const distance = DISTANCE_BASE[code]! + take(DISTANCE_BITS[code]!);
      const stop = to + length;
      if (distance > to || stop > out.length) return false;
      for (let from = to - distance; to < stop; ) out[to++] = out[from++]!;
    }
  };

  for (let last = false; !last; ) {
    last = take(1) === 1;
    const type = take(2);
    if (type === BlockType.stored) {
      // From the next whole byte on; bytes already in the buffer go back.
      at -= held >> 3;
      buffer = held = 0;
      if (at + 4 > end) return undefined;
      const length = data[at]! | (data[at + 1]! << 8);
      if ((length ^ (data[at + 2]! | (data[at + 3]! << 8))) !== 0xffff) return undefined;
      at += 4;
      if (at + length > end || to + length > out.length) return undefined;
      out.set(data.subarray(at, at + length), to);
      at += length;
      to += length;
    } else if (type === BlockType.fixed) {
      if (!readBlock(FIXED_LITERALS, FIXED_DISTANCES)) return undefined;
    } else if (type === BlockType.dynamic) {
      const codes = readCodes();
      if (!codes || !readBlock(...codes)) return undefined;
    } else return undefined;
    if (at - (held >> 3) > end) return undefined;
  }
  return to === out.length ? at - (held >> 3) : undefined;
}

/** Whether the bytes begin as a gzip file does. */
export function isGzip(data: Uint8Array): boolean {
  return data.length >= 2 && (data[0]! | (data[1]! << 8)) === ID;
}

/**
 * Unpacks a gzip file of one member, whose last four bytes say how much it holds.
 * @param maxBytes nothing is decoded or allocated when it claims more
 * @returns undefined when the data is damaged or truncated or claims too much
 */
export function gunzip(data: Uint8Array, maxBytes: number): Uint8Array | undefined {
  if (!isGzip(data) || data.length < HEADER_BYTES + TRAILER_BYTES || data[2] !== DEFLATE) return undefined;
  const flags = data[3]!;
  if (flags & Flag.reserved) return undefined;
  const trailerAt = data.length - TRAILER_BYTES;
  let at = HEADER_BYTES;
  if (flags & Flag.extra) at += 2 + (data[at]! | (data[at + 1]! << 8));
  for (const text of [Flag.name, Flag.comment])
    if (flags & text) {
      while (at < trailerAt && data[at] !== 0) at++;
      at++;
    }
  if (flags & Flag.headerCrc) at += 2;
  if (at >= trailerAt) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const size = view.getUint32(trailerAt + 4, true);
  if (size > maxBytes || size > (trailerAt - at) * EXPANSION_MAX) return undefined;
  const core = unpackCore(new Uint8Array(0), size);
  const out = core.bytes.subarray(core.output, core.output + size);
  if (inflate(data.subarray(at, trailerAt), out) !== trailerAt - at) return undefined;
  return core.crc32(core.output, core.output + size) >>> 0 === view.getUint32(trailerAt, true) ? out : undefined;
}
