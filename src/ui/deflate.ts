/**
 * A small deflate encoder: LZ77 over a 32 KiB window, fixed Huffman codes, in a zlib wrapper.
 * Sources: RFC 1951 (3.2.5, 3.2.6), RFC 1950.
 * Not emulated: dynamic Huffman codes; screens compress well enough through matches alone.
 */

const WINDOW = 32768;
const MIN_MATCH = 3;
const MAX_MATCH = 258;
const HASH_BITS = 15;
/** Earlier places tried for a match: bounds the work a byte. */
const MAX_PROBES = 8;
const END_OF_BLOCK = 256;

/** Match lengths: first length of each code from 257, extra bits. */
const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
];
const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
/** Distances: two codes a power of two after the first four. */
const DISTANCE_BASE: number[] = [];
const DISTANCE_EXTRA: number[] = [];
for (let code = 0, base = 1; code < 30; code++) {
  const extra = code < 4 ? 0 : (code >> 1) - 1;
  DISTANCE_BASE.push(base);
  DISTANCE_EXTRA.push(extra);
  base += 1 << extra;
}

/** Index of the last base that is not above `v`. */
function codeOf(bases: readonly number[], v: number): number {
  let lo = 0;
  let hi = bases.length - 1;
  while (lo < hi) {
    const mid = (lo + hi + 1) >> 1;
    if (bases[mid]! <= v) lo = mid;
    else hi = mid - 1;
  }
  return lo;
}
const LENGTH_CODE = Uint8Array.from({ length: MAX_MATCH + 1 }, (_, n) => codeOf(LENGTH_BASE, n));

function reverse(code: number, bits: number): number {
  let r = 0;
  for (let i = 0; i < bits; i++) r |= ((code >> i) & 1) << (bits - 1 - i);
  return r;
}

/** Fixed literal/length codes, bits reversed for a stream that is filled from the low end. */
const LITERAL_CODE = new Uint16Array(288);
const LITERAL_BITS = new Uint8Array(288);
for (let i = 0; i < 288; i++) {
  const [code, bits] = i < 144 ? [0x30 + i, 8] : i < 256 ? [0x190 + i - 144, 9] : i < 280 ? [i - 256, 7] : [0xc0 + i - 280, 8];
  LITERAL_CODE[i] = reverse(code!, bits!);
  LITERAL_BITS[i] = bits!;
}

/** Bits into bytes, low bit first; grows by doubling. */
class BitWriter {
  bytes = new Uint8Array(4096);
  length = 0;
  private held = 0;
  private count = 0;

  put(value: number, bits: number): void {
    this.held |= value << this.count;
    this.count += bits;
    while (this.count >= 8) {
      this.byte(this.held & 0xff);
      this.held >>>= 8;
      this.count -= 8;
    }
  }

  align(): void {
    if (this.count > 0) this.byte(this.held & 0xff);
    this.held = 0;
    this.count = 0;
  }

  byte(v: number): void {
    if (this.length === this.bytes.length) {
      const grown = new Uint8Array(this.length * 2);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes[this.length++] = v;
  }
}

/** Adler-32 (RFC 1950, 8.2). */
function adler32(data: Uint8Array): number {
  let a = 1;
  let b = 0;
  // 5552 bytes are the most that keep b below 2^32 without a remainder.
  for (let i = 0; i < data.length; ) {
    for (const end = Math.min(i + 5552, data.length); i < end; i++) {
      a += data[i]!;
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return b * 65536 + a;
}

/** Compresses into a zlib stream. */
export function zlibCompress(data: Uint8Array): Uint8Array {
  const out = new BitWriter();
  // 32 KiB window, deflate; fast algorithm; the pair is a multiple of 31.
  out.byte(0x78);
  out.byte(0x01);
  // Last block, fixed codes.
  out.put(1, 1);
  out.put(1, 2);
  const head = new Int32Array(1 << HASH_BITS).fill(-1);
  const previous = new Int32Array(WINDOW);
  const hash = (i: number) =>
    (Math.imul(data[i]! | (data[i + 1]! << 8) | (data[i + 2]! << 16), 0x9e3779b1) >>> (32 - HASH_BITS)) | 0;
  const insert = (i: number) => {
    if (i + MIN_MATCH > data.length) return;
    const h = hash(i);
    previous[i % WINDOW] = head[h]!;
    head[h] = i;
  };
  const literal = (v: number) => out.put(LITERAL_CODE[v]!, LITERAL_BITS[v]!);

  for (let i = 0; i < data.length; ) {
    const limit = Math.min(MAX_MATCH, data.length - i);
    let best = 0;
    let from = -1;
    if (limit >= MIN_MATCH) {
      let at = head[hash(i)]!;
      for (let probe = 0; probe < MAX_PROBES && at >= 0 && i - at <= WINDOW - 1; probe++) {
        let n = 0;
        while (n < limit && data[at + n] === data[i + n]) n++;
        if (n > best) {
          best = n;
          from = at;
          if (n === limit) break;
        }
        at = previous[at % WINDOW]!;
      }
    }
    if (best < MIN_MATCH) {
      literal(data[i]!);
      insert(i++);
      continue;
    }
    const length = LENGTH_CODE[best]!;
    literal(257 + length);
    out.put(best - LENGTH_BASE[length]!, LENGTH_EXTRA[length]!);
    const distance = codeOf(DISTANCE_BASE, i - from);
    out.put(reverse(distance, 5), 5);
    out.put(i - from - DISTANCE_BASE[distance]!, DISTANCE_EXTRA[distance]!);
    // Long matches are runs as a rule: their middle need not be findable.
    const end = i + best;
    for (let k = i; k < end && k < i + 16; k++) insert(k);
    if (best > 16) insert(end - 1);
    i = end;
  }
  literal(END_OF_BLOCK);
  out.align();
  const sum = adler32(data);
  for (let s = 24; s >= 0; s -= 8) out.byte((sum >>> s) & 0xff);
  return out.bytes.slice(0, out.length);
}
