/**
 * Unpacks .xz: what Linux kernels of most distributions are packed in.
 * Source: "The .xz File Format" 1.1.0 (tukaani.org/xz/xz-file-format.txt); LZMA2 chunks and the x86 filter as that format's
 * filters 0x21 and 0x04.
 *
 * The chunk headers are walked first: they say how much there is, so that nothing is decoded or allocated for a file whose
 * parts do not fit together or would be too large.
 * Not done: filters other than x86 and LZMA2, several streams in a file. CRC-64 and SHA-256 of the contents are not checked
 * (every chunk must still end with the range coder empty); CRC-32 is.
 */
import { Lzma, LzmaResult, resetState } from "./lzma-core.js";
import { type UnpackCore, unpackCore } from "./unpack-core.js";

const HEADER_BYTES = 12;
const FOOTER_BYTES = 12;
const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FOOTER_MAGIC = [0x59, 0x5a];
/** Bytes of the check behind each block, by a third of the check's number, rounded up. */
const CHECK_BYTES = [0, 4, 8, 16, 32, 64];
const CHECK_CRC32 = 1;
const BlockFlag = { filters: 0x03, reserved: 0x3c, compressedSize: 0x40, size: 0x80 } as const;
const Filter = { x86: 0x04, lzma2: 0x21 } as const;
const DICTIONARY_PROPERTY_MAX = 40;
/** Blocks in a file that are looked at; kernels have one. */
const BLOCKS_MAX = 4096;

/** LZMA2's control byte. */
const Control = { end: 0, copyWithReset: 1, copy: 2, lzma: 0x80 } as const;
/** What an LZMA chunk renews, bits 5 and 6 of its control byte; each includes what stands before it. */
const Renew = { nothing: 0, state: 1, properties: 2, dictionary: 3 } as const;

/** Whether the bytes begin as an .xz file does. */
export function isXz(data: Uint8Array): boolean {
  return data.length >= MAGIC.length && MAGIC.every((b, i) => data[i] === b);
}

/** Thrown and caught in this file. */
class Damaged extends Error {}

function need(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Damaged(what);
}

interface Block {
  readonly headerAt: number;
  /** Without the CRC-32 at its end. */
  readonly headerBytes: number;
  readonly dataAt: number;
  readonly checkAt: number;
  readonly size: number;
  /** Header, data, check; no padding. */
  readonly unpaddedBytes: number;
  readonly x86: { readonly start: number } | undefined;
}

/** Everything about a file but its contents. */
interface Plan {
  readonly check: number;
  readonly blocks: readonly Block[];
  readonly size: number;
  readonly indexAt: number;
  /** Up to the CRC-32 at its end. */
  readonly indexEnd: number;
}

/** Little-endian fields of a file, every read checked. */
class Fields {
  at = 0;
  constructor(
    readonly data: Uint8Array,
    public end: number,
  ) {}

  u8(): number {
    need(this.at < this.end, "truncated");
    return this.data[this.at++]!;
  }

  u16be(): number {
    return this.u8() * 256 + this.u8();
  }

  u32(): number {
    return (this.u8() | (this.u8() << 8) | (this.u8() << 16) | (this.u8() << 24)) >>> 0;
  }

  skip(n: number): void {
    need(n <= this.end - this.at, "truncated");
    this.at += n;
  }

  /** Zero bytes up to a multiple of four from `origin`. */
  padding(origin: number): void {
    while ((this.at - origin) & 3) need(this.u8() === 0, "padding");
  }

  /** Seven bits a byte, low ones first. */
  number(): number {
    let value = 0;
    let weight = 1;
    for (let i = 0; i < 7; i++) {
      const b = this.u8();
      value += (b & 127) * weight;
      weight *= 128;
      if (b < 128) {
        need(b !== 0 || i === 0, "number");
        return value;
      }
    }
    throw new Damaged("a number over 2^49");
  }
}

/** Walks the file. @throws Damaged */
function plan(data: Uint8Array, maxBytes: number): Plan {
  const f = new Fields(data, data.length);
  need(isXz(data), "no .xz file");
  f.skip(MAGIC.length);
  need(f.u8() === 0, "stream flags");
  const check = f.u8();
  need(check < 16, "stream flags");
  f.at = HEADER_BYTES;
  const checkBytes = CHECK_BYTES[Math.ceil(check / 3)]!;
  const blocks: Block[] = [];
  let size = 0;
  need(data.length > HEADER_BYTES, "truncated");
  while (data[f.at] !== 0) {
    need(blocks.length < BLOCKS_MAX, "blocks");
    const block = planBlock(f, checkBytes, maxBytes - size);
    size += block.size;
    blocks.push(block);
  }
  const indexAt = f.at;
  f.skip(1);
  need(f.number() === blocks.length, "index");
  for (const b of blocks) need(f.number() === b.unpaddedBytes && f.number() === b.size, "index");
  f.padding(indexAt);
  const indexEnd = f.at;
  f.skip(4);
  const indexBytes = f.at - indexAt;
  f.skip(4);
  need((f.u32() + 1) * 4 === indexBytes, "backward size");
  need(f.u8() === 0 && f.u8() === check, "footer flags");
  for (const b of FOOTER_MAGIC) need(f.u8() === b, "footer");
  return { check, blocks, size, indexAt, indexEnd };
}

function planBlock(f: Fields, checkBytes: number, maxBytes: number): Block {
  const headerAt = f.at;
  const dataAt = headerAt + (f.u8() + 1) * 4;
  const fileEnd = f.end;
  need(dataAt <= fileEnd, "truncated");
  f.end = dataAt - 4;
  const flags = f.u8();
  need((flags & BlockFlag.reserved) === 0, "block flags");
  const compressed = flags & BlockFlag.compressedSize ? f.number() : undefined;
  const declared = flags & BlockFlag.size ? f.number() : undefined;
  let x86: Block["x86"];
  const filters = (flags & BlockFlag.filters) + 1;
  for (let i = 1; i <= filters; i++) {
    const id = f.number();
    const propertyBytes = f.number();
    if (i === filters) {
      need(id === Filter.lzma2 && propertyBytes === 1, "the last filter is not LZMA2");
      need(f.u8() <= DICTIONARY_PROPERTY_MAX, "dictionary size");
    } else {
      need(id === Filter.x86 && !x86 && (propertyBytes === 0 || propertyBytes === 4), "a filter that is not known");
      x86 = { start: propertyBytes === 4 ? f.u32() : 0 };
    }
  }
  while (f.at < f.end) need(f.u8() === 0, "header padding");
  f.end = fileEnd;
  f.at = dataAt;
  const size = walkChunks(f, maxBytes);
  need(declared === undefined || declared === size, "size");
  need(compressed === undefined || compressed === f.at - dataAt, "compressed size");
  const dataBytes = f.at - dataAt;
  f.padding(dataAt);
  const checkAt = f.at;
  f.skip(checkBytes);
  return {
    headerAt,
    headerBytes: dataAt - 4 - headerAt,
    dataAt,
    checkAt,
    size,
    unpaddedBytes: dataAt - headerAt + dataBytes + checkBytes,
    x86,
  };
}

/** From the first chunk to behind the last; how many bytes they make. Checks the order of renewals. */
function walkChunks(f: Fields, maxBytes: number): number {
  let size = 0;
  let needDictionary = true;
  let needProperties = true;
  let needState = true;
  for (;;) {
    const control = f.u8();
    if (control === Control.end) return size;
    if (control < Control.lzma) {
      need(control <= Control.copy, "chunk");
      need(control === Control.copyWithReset || !needDictionary, "a chunk without a dictionary");
      needDictionary = false;
      const bytes = f.u16be() + 1;
      size += bytes;
      f.skip(bytes);
    } else {
      const renew = (control >> 5) & 3;
      need(renew === Renew.dictionary || !needDictionary, "a chunk without a dictionary");
      need(renew >= Renew.properties || !needProperties, "a chunk without properties");
      need(renew >= Renew.state || !needState, "a chunk without a state");
      needDictionary = needProperties = needState = false;
      size += ((control & 31) << 16) + f.u16be() + 1;
      const packed = f.u16be() + 1;
      if (renew >= Renew.properties) {
        const p = f.u8();
        need(p < 9 * 5 * 5 && (p % 9) + (Math.floor(p / 9) % 5) <= 4, "properties");
      }
      need(packed >= 5 && f.data[f.at] === 0, "range coder");
      f.skip(packed);
    }
    need(size <= maxBytes, "larger than allowed");
  }
}

/** Decodes the chunks of a block to `output`; their headers have been checked. @throws Damaged */
function decodeChunks(core: UnpackCore, from: number, output: number): void {
  const { bytes, words } = core;
  let at = from;
  let out = output;
  for (;;) {
    const control = bytes[at++]!;
    if (control === Control.end) return;
    let size = bytes[at]! * 256 + bytes[at + 1]! + 1;
    at += 2;
    if (control < Control.lzma) {
      if (control === Control.copyWithReset) words[Lzma.dictionaryStart >> 2] = out;
      bytes.copyWithin(out, at, at + size);
      at += size;
    } else {
      const renew = (control >> 5) & 3;
      size += (control & 31) << 16;
      const packed = bytes[at]! * 256 + bytes[at + 1]! + 1;
      at += 2;
      if (renew === Renew.dictionary) words[Lzma.dictionaryStart >> 2] = out;
      if (renew >= Renew.properties) {
        const p = bytes[at++]!;
        words[Lzma.lc >> 2] = p % 9;
        words[Lzma.lpMask >> 2] = (1 << (Math.floor(p / 9) % 5)) - 1;
        words[Lzma.pbMask >> 2] = (1 << Math.floor(p / 45)) - 1;
      }
      if (renew >= Renew.state) resetState(bytes.buffer as ArrayBuffer);
      // One byte 0, then the first four of the code, high byte first.
      const code = (bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!;
      need(core.decode(at + 5, at + packed, out, out + size, code) === LzmaResult.done, "damaged");
      at += packed;
    }
    out += size;
  }
}

/**
 * Undoes the x86 filter: the operands of CALL and JMP become relative again. An operand is one that was made absolute when
 * its top byte is 00 or FF; bytes E8 and E9 that lie within the four before it, and were left alone, make that doubtful:
 * with one of them the operand counts only if that one's own top byte does not look like an operand's, with more never.
 * @param start address of the first byte
 */
function undoX86(core: UnpackCore, from: number, end: number, start: number): void {
  const { bytes } = core;
  const isSign = (b: number) => b === 0 || b === 0xff;
  const last = end - 5;
  /** Opcodes left alone one, two, three bytes before `seenAt` + 1: bits 0, 1, 2. */
  let seen = 0;
  let seenAt = from - 4;
  for (let i = core.findBranch(from, end); i <= last; i = core.findBranch(i, end)) {
    const distance = i - seenAt;
    seen = distance > 3 ? 0 : (seen << (distance - 1)) & 7;
    seenAt = i;
    // How far back the one opcode is that makes it doubtful; 0 for none.
    const doubt = seen === 4 ? 3 : seen;
    const certain = seen === 0 || ((seen & (seen - 1)) === 0 && !isSign(bytes[i + 4 - doubt]!));
    if (!certain || !isSign(bytes[i + 4]!)) {
      seen = (seen << 1) | 1;
      i++;
      continue;
    }
    const address = i - from + start + 5;
    const absolute = bytes[i + 1]! | (bytes[i + 2]! << 8) | (bytes[i + 3]! << 16) | (bytes[i + 4]! << 24);
    let operand = (absolute - address) | 0;
    // What lies in the doubtful place must not look like an operand's top byte; where it would, the filter went round once
    // more with the bits below inverted. (That turns it into the inverse of what is there now, which does not look so.)
    const low = 32 - 8 * doubt;
    if (doubt > 0 && isSign((operand >>> (low - 8)) & 255)) operand = ((operand ^ ((1 << low) - 1)) - address) | 0;
    bytes[i + 1] = operand;
    bytes[i + 2] = operand >> 8;
    bytes[i + 3] = operand >> 16;
    // The top byte is the sign of bit 24.
    bytes[i + 4] = operand & 0x01000000 ? 0xff : 0;
    i += 5;
    seen = 0;
    seenAt = i - 1;
  }
}

/**
 * Unpacks an .xz file; what follows its end is left alone.
 * @param maxBytes nothing is decoded or allocated when the file would make more than this
 * @returns undefined when the data is damaged or truncated, would be larger than `maxBytes` or uses filters that are not known.
 *   The bytes are a view into a larger buffer that is used for nothing else.
 */
export function unpackXz(data: Uint8Array, maxBytes: number): Uint8Array | undefined {
  try {
    return unpack(data, maxBytes);
  } catch (error) {
    if (error instanceof Damaged) return undefined;
    throw error;
  }
}

function unpack(data: Uint8Array, maxBytes: number): Uint8Array {
  const p = plan(data, maxBytes);
  const fileEnd = p.indexEnd + 4 + FOOTER_BYTES;
  const core = unpackCore(data.subarray(0, fileEnd), p.size);
  const view = new DataView(core.bytes.buffer);
  /** Checks the CRC-32 of file bytes. */
  const checked = (from: number, end: number, crcAt: number) =>
    need(core.crc32(core.input + from, core.input + end) >>> 0 === view.getUint32(core.input + crcAt, true), "CRC-32");
  checked(MAGIC.length, HEADER_BYTES - 4, HEADER_BYTES - 4);
  checked(p.indexAt, p.indexEnd, p.indexEnd);
  checked(fileEnd - 8, fileEnd - 2, fileEnd - FOOTER_BYTES);
  for (const b of p.blocks) checked(b.headerAt, b.headerAt + b.headerBytes, b.headerAt + b.headerBytes);
  let out = core.output;
  for (const b of p.blocks) {
    decodeChunks(core, core.input + b.dataAt, out);
    if (b.x86) undoX86(core, out, out + b.size, b.x86.start);
    if (p.check === CHECK_CRC32)
      need(core.crc32(out, out + b.size) >>> 0 === view.getUint32(core.input + b.checkAt, true), "CRC-32 of the contents");
    out += b.size;
  }
  return core.bytes.subarray(core.output, out);
}
