/**
 * Unpacks Zstandard: one frame, as Linux kernels of many distributions are packed.
 * Source: RFC 8878.
 * Not done: dictionaries, skippable frames, several frames in a file. The window size is not looked at: the output is one
 * buffer.
 */
import { type UnpackCore, unpackCore } from "./unpack-core.js";

const MAGIC = 0xfd2fb528;
const BLOCK_MAX = 131072;
const BlockType = { raw: 0, rle: 1, compressed: 2 } as const;
const LiteralsType = { raw: 0, rle: 1, compressed: 2, treeless: 3 } as const;
const TableMode = { predefined: 0, rle: 1, described: 2, repeat: 3 } as const;
/** Largest accuracy logs (4.1.1). */
const ACCURACY_MAX = { weights: 6, lengths: 9, offsets: 8 } as const;
const HUFFMAN_BITS_MAX = 11;
/** Matches from here on are copied by calls, not by a loop. */
const LONG = 64;
/** Offset codes above this would reach further than any file is long. */
const OFFSET_CODE_MAX = 31;

/** Whether the bytes begin as a Zstandard frame does. */
export function isZstd(data: Uint8Array): boolean {
  return data.length >= 4 && new DataView(data.buffer, data.byteOffset).getUint32(0, true) === MAGIC;
}

/** Thrown and caught in this file. */
class Damaged extends Error {}

function need(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Damaged(what);
}

const highBit = (v: number) => 31 - Math.clz32(v);

/** Literal and match lengths by code: what is added to the bits that follow, and how many follow (3.1.1.3.2.1.1). */
interface Codes {
  readonly base: Uint32Array;
  readonly bits: Uint8Array;
}

function codes(first: number, plain: number, bits: readonly number[]): Codes {
  const all = [...new Array<number>(plain).fill(0), ...bits];
  const base = new Uint32Array(all.length);
  let next = first;
  for (const [i, n] of all.entries()) {
    base[i] = next;
    next += 2 ** n;
  }
  return { base, bits: Uint8Array.from(all) };
}
const LITERAL_LENGTHS = codes(0, 16, [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
const MATCH_LENGTHS = codes(3, 32, [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

/** A finite state entropy table: by state the symbol, how many bits to read, and what to add to them for the next state. */
interface Fse {
  readonly accuracy: number;
  readonly symbol: Uint8Array;
  readonly bits: Uint8Array;
  readonly base: Uint16Array;
}

/** From normalised probabilities; -1 stands for less than 1 (4.1.1). */
function makeFse(probabilities: readonly number[], accuracy: number): Fse {
  const size = 1 << accuracy;
  const symbol = new Uint8Array(size);
  const next = new Uint16Array(probabilities.length);
  let high = size;
  for (const [s, p] of probabilities.entries()) {
    next[s] = Math.abs(p);
    if (p === -1) symbol[--high] = s;
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (const [s, p] of probabilities.entries())
    for (let i = 0; i < p; i++) {
      symbol[at] = s;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  const bits = new Uint8Array(size);
  const base = new Uint16Array(size);
  for (let i = 0; i < size; i++) {
    const state = next[symbol[i]!]!++;
    bits[i] = accuracy - highBit(state);
    base[i] = (state << bits[i]!) - size;
  }
  return { accuracy, symbol, bits, base };
}

const oneSymbol = (s: number): Fse => ({
  accuracy: 0,
  symbol: Uint8Array.of(s),
  bits: new Uint8Array(1),
  base: new Uint16Array(1),
});

const times = (n: number, v: number) => new Array<number>(n).fill(v);
/** The three tables of sequences: their codes, limits, and default probabilities (3.1.1.3.2.2). */
const TABLES = [
  {
    symbols: LITERAL_LENGTHS.base.length,
    accuracyMax: ACCURACY_MAX.lengths,
    predefined: makeFse([4, 3, ...times(11, 2), 1, 1, 1, ...times(9, 2), 3, 2, ...times(5, 1), ...times(4, -1)], 6),
  },
  {
    symbols: OFFSET_CODE_MAX + 1,
    accuracyMax: ACCURACY_MAX.offsets,
    predefined: makeFse([...times(6, 1), 2, 2, 2, ...times(15, 1), ...times(5, -1)], 5),
  },
  {
    symbols: MATCH_LENGTHS.base.length,
    accuracyMax: ACCURACY_MAX.lengths,
    predefined: makeFse([1, 4, 3, ...times(6, 2), ...times(37, 1), ...times(7, -1)], 6),
  },
] as const;

/** Bits from the end of a stretch of bytes towards its beginning (4.1: the highest bit set in the last byte marks the end). */
class BackwardBits {
  /** Bits left; below 0 when more were read than there are. */
  left: number;

  constructor(
    private readonly view: DataView,
    private readonly from: number,
    end: number,
  ) {
    const last = end > from ? view.getUint8(end - 1) : 0;
    need(last !== 0, "bits");
    this.left = (end - from - 1) * 8 + highBit(last);
  }

  /** At most 24 bits; those before the beginning are 0. */
  read(n: number): number {
    const at = this.left - n;
    this.left = at;
    if (at >= 0) return (this.view.getUint32(this.from + (at >> 3), true) >>> (at & 7)) & ((1 << n) - 1);
    const have = at + n;
    return have <= 0 ? 0 : ((this.view.getUint32(this.from, true) & ((1 << have) - 1)) << -at) & ((1 << n) - 1);
  }
}

/** A Huffman table: by the next `bits` bits, symbol * 16 + length. */
interface Huffman {
  readonly bits: number;
  readonly table: Uint16Array;
}

/** What one block leaves to the next. */
class Frame {
  private huffman: Huffman | undefined;
  private readonly tables: (Fse | undefined)[] = [undefined, undefined, undefined];
  private readonly repeats: [number, number, number] = [1, 4, 8];
  private readonly literals = new Uint8Array(BLOCK_MAX);
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private at = 0;
  private end = 0;

  constructor(
    core: UnpackCore,
    private readonly outStart: number,
    private readonly outEnd: number,
  ) {
    this.bytes = core.bytes;
    this.view = new DataView(core.bytes.buffer);
  }

  private u8(): number {
    need(this.at < this.end, "truncated");
    return this.bytes[this.at++]!;
  }

  /** Little-endian. */
  private uint(count: number): number {
    let v = 0;
    for (let i = 0; i < count; i++) v += this.u8() * 2 ** (8 * i);
    return v;
  }

  /** Decodes a compressed block to `out`; returns where its output ends. */
  block(from: number, end: number, out: number): number {
    this.at = from;
    this.end = end;
    const count = this.readLiterals();
    return this.readSequences(count, out);
  }

  /** Fills `literals`; how many there are (3.1.1.3.1). */
  private readLiterals(): number {
    const first = this.u8();
    const type = first & 3;
    const format = (first >> 2) & 3;
    this.at--;
    if (type === LiteralsType.raw || type === LiteralsType.rle) {
      const size = (format & 1) === 0 ? this.uint(1) >> 3 : this.uint(format === 1 ? 2 : 3) >> 4;
      need(size <= BLOCK_MAX, "literals");
      if (type === LiteralsType.rle) this.literals.fill(this.u8(), 0, size);
      else {
        need(size <= this.end - this.at, "truncated");
        this.literals.set(this.bytes.subarray(this.at, this.at + size));
        this.at += size;
      }
      return size;
    }
    const sizeBits = format < 2 ? 10 : format === 2 ? 14 : 18;
    const header = Math.floor(this.uint((4 + 2 * sizeBits) >> 3) / 16);
    const size = header % 2 ** sizeBits;
    const packed = Math.floor(header / 2 ** sizeBits);
    need(size <= BLOCK_MAX && packed <= this.end - this.at, "literals");
    const end = this.at + packed;
    if (type === LiteralsType.compressed) this.huffman = this.readHuffman(end);
    const huffman = this.huffman;
    need(huffman !== undefined, "no Huffman table");
    if (format === 0) this.readStream(huffman, this.at, end, 0, size);
    else {
      need(end - this.at > 6, "streams");
      const sizes = [this.uint(2), this.uint(2), this.uint(2)];
      const each = (size + 3) >> 2;
      need(3 * each <= size, "streams");
      let from = this.at;
      for (let i = 0; i < 4; i++) {
        const to = i < 3 ? from + sizes[i]! : end;
        need(to <= end, "streams");
        this.readStream(huffman, from, to, i * each, i < 3 ? (i + 1) * each : size);
        from = to;
      }
    }
    this.at = end;
    return size;
  }

  /** One stream of Huffman codes, into `literals` from `to` up to `stop`. */
  private readStream(h: Huffman, from: number, end: number, to: number, stop: number): void {
    const bits = new BackwardBits(this.view, from, end);
    const { table, bits: width } = h;
    const { literals, view } = this;
    const mask = (1 << width) - 1;
    // Two at a time, out of one word of 32 bits, as long as that lies within the stream.
    let left = bits.left;
    while (left >= 32 && to + 1 < stop) {
      const at = left - 25;
      const word = view.getUint32(from + (at >> 3), true) >>> (at & 7);
      const first = table[(word >>> (25 - width)) & mask]!;
      const second = table[(word >>> (25 - width - (first & 15))) & mask]!;
      literals[to] = first >> 4;
      literals[to + 1] = second >> 4;
      to += 2;
      left -= (first & 15) + (second & 15);
    }
    bits.left = left;
    while (to < stop) {
      const entry = table[bits.read(width)]!;
      bits.left += width - (entry & 15);
      literals[to++] = entry >> 4;
    }
    need(bits.left === 0, "a Huffman stream does not end");
  }

  /** A Huffman table's description (4.2.1). */
  private readHuffman(limit: number): Huffman {
    const header = this.u8();
    const weights: number[] = [];
    if (header >= 128) {
      const count = header - 127;
      for (let i = 0; i < count; i += 2) {
        const b = this.u8();
        weights.push(b >> 4, b & 15);
      }
      weights.length = count;
    } else {
      const end = this.at + header;
      need(end <= limit, "truncated");
      const fse = this.readFse(256, ACCURACY_MAX.weights, end);
      const bits = new BackwardBits(this.view, this.at, end);
      // Two states take turns; the one whose turn it is when the bits are used up has a last symbol.
      const states = [bits.read(fse.accuracy), bits.read(fse.accuracy)];
      need(bits.left >= 0, "weights");
      for (let turn = 0; ; turn ^= 1) {
        const state = states[turn]!;
        weights.push(fse.symbol[state]!);
        need(weights.length < 255, "weights");
        states[turn] = fse.base[state]! + bits.read(fse.bits[state]!);
        if (bits.left < 0) {
          weights.push(fse.symbol[states[turn ^ 1]!]!);
          break;
        }
      }
      this.at = end;
    }
    // The last symbol's weight makes the sum a power of two.
    let sum = 0;
    for (const w of weights) {
      need(w <= HUFFMAN_BITS_MAX, "weights");
      sum += (1 << w) >> 1;
    }
    need(sum > 0, "weights");
    const width = highBit(sum) + 1;
    const rest = (1 << width) - sum;
    need(width <= HUFFMAN_BITS_MAX && (rest & (rest - 1)) === 0, "weights");
    weights.push(highBit(rest) + 1);
    const table = new Uint16Array(1 << width);
    let at = 0;
    for (let w = 1; w <= width; w++)
      for (const [symbol, weight] of weights.entries())
        if (weight === w) {
          table.fill(symbol * 16 + width + 1 - w, at, at + (1 << (w - 1)));
          at += 1 << (w - 1);
        }
    return { bits: width, table };
  }

  /** A table's description (4.1.1), whose bytes are read from the front. */
  private readFse(symbols: number, accuracyMax: number, end: number): Fse {
    const { bytes, at: from } = this;
    let position = 0;
    const peek = (n: number) => {
      const i = from + (position >> 3);
      need(i < end, "truncated");
      const word = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16);
      return (word >> (position & 7)) & ((1 << n) - 1);
    };
    const accuracy = peek(4) + 5;
    position += 4;
    need(accuracy <= accuracyMax, "accuracy");
    const probabilities: number[] = [];
    let remaining = 1 << accuracy;
    while (remaining > 0) {
      need(probabilities.length < symbols, "probabilities");
      // Values up to remaining + 1; the smallest of them take a bit less.
      const width = highBit(remaining + 1) + 1;
      const low = (1 << (width - 1)) - 1;
      const short = (1 << width) - 1 - (remaining + 1);
      let value = peek(width);
      position += width;
      if ((value & low) < short) {
        value &= low;
        position--;
      } else if (value > low) value -= short;
      const p = value - 1;
      remaining -= Math.abs(p);
      probabilities.push(p);
      if (p !== 0) continue;
      for (let more = 3; more === 3; ) {
        more = peek(2);
        position += 2;
        for (let i = 0; i < more; i++) probabilities.push(0);
        need(probabilities.length <= symbols, "probabilities");
      }
    }
    need(remaining === 0, "probabilities");
    this.at = from + ((position + 7) >> 3);
    need(this.at <= end, "truncated");
    return makeFse(probabilities, accuracy);
  }

  /** Sequences: literals and matches, written to `out` (3.1.1.3.2). */
  private readSequences(literalCount: number, start: number): number {
    const { bytes, literals, outStart, outEnd } = this;
    let out = start;
    let from = 0;
    let count = this.u8();
    if (count === 255) count = this.uint(2) + 0x7f00;
    else if (count >= 128) count = ((count - 128) << 8) + this.u8();
    if (count > 0) {
      const modes = this.u8();
      need((modes & 3) === 0, "modes");
      for (const [i, t] of TABLES.entries()) {
        const mode = (modes >> (6 - 2 * i)) & 3;
        if (mode === TableMode.predefined) this.tables[i] = t.predefined;
        else if (mode === TableMode.rle) {
          const symbol = this.u8();
          need(symbol < t.symbols, "symbol");
          this.tables[i] = oneSymbol(symbol);
        } else if (mode === TableMode.described) this.tables[i] = this.readFse(t.symbols, t.accuracyMax, this.end);
        else need(this.tables[i] !== undefined, "no table to repeat");
      }
      const [ll, of, ml] = this.tables as [Fse, Fse, Fse];
      const bits = new BackwardBits(this.view, this.at, this.end);
      let llState = bits.read(ll.accuracy);
      let ofState = bits.read(of.accuracy);
      let mlState = bits.read(ml.accuracy);
      const repeats = this.repeats;
      const blockEnd = Math.min(outEnd, start + BLOCK_MAX);
      for (let i = count; ; ) {
        const ofCode = of.symbol[ofState]!;
        const mlCode = ml.symbol[mlState]!;
        const llCode = ll.symbol[llState]!;
        // Distances of 16 MiB and more do not fit one read; none of 1 GiB is right.
        need(ofCode < 30, "distance");
        const high = ofCode > 16 ? bits.read(ofCode - 16) << 16 : 0;
        const value = (1 << ofCode) | high | bits.read(Math.min(ofCode, 16));
        let match = MATCH_LENGTHS.base[mlCode]! + bits.read(MATCH_LENGTHS.bits[mlCode]!);
        const literal = LITERAL_LENGTHS.base[llCode]! + bits.read(LITERAL_LENGTHS.bits[llCode]!);
        let distance: number;
        if (value > 3) {
          distance = value - 3;
          repeats[2] = repeats[1];
          repeats[1] = repeats[0];
          repeats[0] = distance;
        } else {
          // One of the last three; after no literals the first would be pointless, so all move up.
          const which = literal === 0 ? value : value - 1;
          distance = which === 3 ? repeats[0] - 1 : repeats[which]!;
          if (which > 1) repeats[2] = repeats[1];
          if (which > 0) repeats[1] = repeats[0];
          repeats[0] = distance;
        }
        need(out + literal + match <= blockEnd && from + literal <= literalCount, "lengths");
        for (const end = from + literal; from < end; ) bytes[out++] = literals[from++]!;
        need(distance > 0 && distance <= out - outStart, "distance");
        if (match > LONG) {
          // What overlaps repeats itself: each copy is as long as all before it.
          const source = out - distance;
          for (let n = distance; match > 0; n = out - source) {
            if (n > match) n = match;
            bytes.copyWithin(out, source, source + n);
            out += n;
            match -= n;
          }
        } else for (let source = out - distance; match > 0; match--) bytes[out++] = bytes[source++]!;
        if (--i === 0) break;
        llState = ll.base[llState]! + bits.read(ll.bits[llState]!);
        mlState = ml.base[mlState]! + bits.read(ml.bits[mlState]!);
        ofState = of.base[ofState]! + bits.read(of.bits[ofState]!);
        need(bits.left >= 0, "truncated");
      }
      need(bits.left === 0, "sequences do not end");
    } else need(this.at === this.end, "bytes behind no sequences");
    const rest = literalCount - from;
    need(out + rest <= Math.min(outEnd, start + BLOCK_MAX), "lengths");
    bytes.set(literals.subarray(from, literalCount), out);
    return out + rest;
  }
}

interface Block {
  readonly type: number;
  readonly at: number;
  readonly size: number;
}

/** The frame's parts. @throws Damaged */
function walk(data: Uint8Array): {
  blocks: Block[];
  contentSize: number | undefined;
  checksumAt: number | undefined;
  end: number;
} {
  need(isZstd(data), "no Zstandard frame");
  const u = (at: number, count: number) => {
    need(at + count <= data.length, "truncated");
    let v = 0;
    for (let i = 0; i < count; i++) v += data[at + i]! * 2 ** (8 * i);
    return v;
  };
  const descriptor = u(4, 1);
  const singleSegment = (descriptor & 0x20) !== 0;
  need((descriptor & 0x08) === 0, "reserved bit");
  let at = singleSegment ? 5 : 6;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  need(u(at, dictionaryBytes) === 0, "a dictionary");
  at += dictionaryBytes;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 && !singleSegment ? 0 : 1 << sizeFlag;
  const contentSize = sizeBytes === 0 ? undefined : u(at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  at += sizeBytes;
  const blocks: Block[] = [];
  for (let last = false; !last; ) {
    const header = u(at, 3);
    at += 3;
    last = (header & 1) === 1;
    const type = (header >> 1) & 3;
    const size = header >> 3;
    need(type <= BlockType.compressed && size <= BLOCK_MAX, "block");
    blocks.push({ type, at, size });
    at += type === BlockType.rle ? 1 : size;
    need(at <= data.length, "truncated");
  }
  const checksumAt = descriptor & 0x04 ? at : undefined;
  if (checksumAt !== undefined) {
    u(at, 4);
    at += 4;
  }
  return { blocks, contentSize, checksumAt, end: at };
}

/**
 * Unpacks a frame; what follows it is left alone.
 * @param sizeBytes how much it holds, where that is known from elsewhere
 * @param maxBytes nothing is decoded when it claims more; and nothing is allocated beyond what its blocks can make
 * @returns undefined when the data is damaged or truncated, holds another size, or needs a dictionary. The bytes are a view
 *   into a larger buffer that is used for nothing else.
 */
export function unpackZstd(data: Uint8Array, maxBytes: number, sizeBytes?: number): Uint8Array | undefined {
  try {
    const f = walk(data);
    const most = f.blocks.reduce((n, b) => n + (b.type === BlockType.compressed ? BLOCK_MAX : b.size), 0);
    const size = sizeBytes ?? f.contentSize ?? Math.min(most, maxBytes);
    need(size <= maxBytes && size <= most && (f.contentSize === undefined || f.contentSize === size), "size");
    const core = unpackCore(data.subarray(0, f.end), size);
    const { bytes, input, output } = core;
    const outEnd = output + size;
    const frame = new Frame(core, output, outEnd);
    let out = output;
    for (const b of f.blocks) {
      const at = input + b.at;
      if (b.type === BlockType.compressed) out = frame.block(at, at + b.size, out);
      else {
        need(b.size <= outEnd - out, "size");
        if (b.type === BlockType.rle) bytes.fill(bytes[at]!, out, out + b.size);
        else bytes.copyWithin(out, at, at + b.size);
        out += b.size;
      }
    }
    need(out === outEnd || (sizeBytes === undefined && f.contentSize === undefined), "size");
    if (f.checksumAt !== undefined) {
      const want = new DataView(bytes.buffer).getInt32(input + f.checksumAt, true);
      need(core.xxh64(output, out) === want, "checksum");
    }
    return bytes.subarray(output, out);
  } catch (error) {
    if (error instanceof Damaged) return undefined;
    throw error;
  }
}
