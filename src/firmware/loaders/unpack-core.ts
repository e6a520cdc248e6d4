/**
 * The inner loops of unpacking in one WebAssembly instance: the LZMA decoder (lzma-core.ts), checksums, and the search for
 * the bytes that the x86 filter of XZ looks at.
 * Source: .xz file format 1.1.0; CRC-32 of ISO 3309 (polynomial 0xedb88320), sixteen bytes a step with as many tables;
 * xxHash specification 0.1.1 (XXH64).
 */
import { type FuncType, FunctionWriter, ModuleWriter } from "../../accel/tcg/wasm/writer.js";
import { DECODE_TYPE, decodeFunction, LZMA_STATE_END, SLACK } from "./lzma-core.js";

const PAGE = 65536;
const POLYNOMIAL = 0xedb88320;
const CRC_STEP = 16;
const CRC_TABLES = LZMA_STATE_END;
const INPUT = CRC_TABLES + CRC_STEP * 1024;
/** CALL and JMP with a 32-bit displacement, but for the lowest bit. */
const CALL_OR_JUMP = 0xe8;

/** Input and output in one memory; all addresses are its. */
export interface UnpackCore {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly input: number;
  readonly output: number;
  /** @returns LzmaResult */
  decode(input: number, inputEnd: number, output: number, outputEnd: number, code: number): number;
  crc32(from: number, end: number): number;
  /** The low half of XXH64 with seed 0. */
  xxh64(from: number, end: number): number;
  /** The first byte 0xe8 or 0xe9 at or behind `from`; `end` or more when there is none. */
  findBranch(from: number, end: number): number;
}

const RANGE: FuncType = { params: ["i32", "i32"], results: ["i32"] };

function crcFunction(): Uint8Array {
  const w = new FunctionWriter(RANGE.params);
  const [from, end] = [0, 1];
  const crc = w.local("i32");
  const word = w.local("i32");
  const table = (index: number, shift: number) => {
    w.get(word);
    if (shift) {
      w.i32(shift);
      w.op("i32.shr_u");
    }
    w.i32(255);
    w.op("i32.and");
    w.i32(2);
    w.op("i32.shl");
    w.op("i32.load", CRC_TABLES + 1024 * index);
  };
  /** Goes on while `size` bytes are left. */
  const loop = (size: number, body: () => void) => {
    const done = w.block();
    const again = w.loop();
    w.get(end);
    w.get(from);
    w.op("i32.sub");
    w.i32(size);
    w.op("i32.lt_u");
    w.brIf(done);
    body();
    w.get(from);
    w.i32(size);
    w.op("i32.add");
    w.set(from);
    w.br(again);
    w.end();
    w.end();
  };
  w.i32(-1);
  w.set(crc);
  loop(CRC_STEP, () => {
    for (let i = 0; i < CRC_STEP; i += 4) {
      w.get(from);
      w.op("i32.load", i);
      if (i === 0) {
        w.get(crc);
        w.op("i32.xor");
      }
      w.set(word);
      for (let k = 0; k < 4; k++) {
        table(CRC_STEP - 1 - i - k, 8 * k);
        if (i + k > 0) w.op("i32.xor");
      }
      // The sum so far waits on the stack.
    }
    w.set(crc);
  });
  loop(1, () => {
    w.get(crc);
    w.get(from);
    w.op("i32.load8_u");
    w.op("i32.xor");
    w.set(word);
    table(0, 0);
    w.get(crc);
    w.i32(8);
    w.op("i32.shr_u");
    w.op("i32.xor");
    w.set(crc);
  });
  w.get(crc);
  w.i32(-1);
  w.op("i32.xor");
  return w.finish();
}

/** XXH64's primes, as low and high halves. */
const PRIMES = [
  [0x85ebca87, 0x9e3779b1],
  [0x27d4eb4f, 0xc2b2ae3d],
  [0x9e3779f9, 0x165667b1],
  [0xc2b2ae63, 0x85ebca77],
  [0x165667c5, 0x27d4eb2f],
] as const;

function xxh64Function(): Uint8Array {
  const w = new FunctionWriter(RANGE.params);
  const [from, end] = [0, 1];
  const lanes = [w.local("i64"), w.local("i64"), w.local("i64"), w.local("i64")];
  const hash = w.local("i64");
  const start = w.local("i32");
  const prime = (n: 1 | 2 | 3 | 4 | 5) => w.i64(PRIMES[n - 1]![0], PRIMES[n - 1]![1]);
  const op = (...names: string[]) => names.forEach((name) => void w.op(`i64.${name}`));
  const rotate = (bits: number) => {
    w.i64n(bits);
    op("rotl");
  };
  /** value on the stack * prime 2, rotated, * prime 1 */
  const round = () => {
    prime(2);
    op("mul");
    rotate(31);
    prime(1);
    op("mul");
  };
  const advance = (size: number) => {
    w.get(from);
    w.i32(size);
    w.op("i32.add");
    w.set(from);
  };
  const whileLeft = (size: number, body: () => void) => {
    const done = w.block();
    const again = w.loop();
    w.get(end);
    w.get(from);
    w.op("i32.sub");
    w.i32(size);
    w.op("i32.lt_u");
    w.brIf(done);
    body();
    advance(size);
    w.br(again);
    w.end();
    w.end();
  };
  const xorShift = (bits: number) => {
    w.tee(hash);
    w.get(hash);
    w.i64n(bits);
    op("shr_u", "xor");
  };
  w.get(from);
  w.set(start);
  prime(1);
  prime(2);
  op("add");
  w.set(lanes[0]!);
  prime(2);
  w.set(lanes[1]!);
  w.i64n(0);
  prime(1);
  op("sub");
  w.set(lanes[3]!);
  prime(5);
  w.set(hash);
  w.get(end);
  w.get(from);
  w.op("i32.sub");
  w.i32(32);
  w.op("i32.ge_u");
  w.if();
  whileLeft(32, () => {
    for (const [i, lane] of lanes.entries()) {
      w.get(lane);
      w.get(from);
      w.op("i64.load", 8 * i);
      prime(2);
      op("mul", "add");
      rotate(31);
      prime(1);
      op("mul");
      w.set(lane);
    }
  });
  for (const [i, lane] of lanes.entries()) {
    w.get(lane);
    rotate([1, 7, 12, 18][i]!);
    if (i > 0) op("add");
  }
  w.set(hash);
  for (const lane of lanes) {
    w.get(hash);
    w.get(lane);
    round();
    op("xor");
    prime(1);
    op("mul");
    prime(4);
    op("add");
    w.set(hash);
  }
  w.end();
  w.get(hash);
  w.get(end);
  w.get(start);
  w.op("i32.sub");
  op("extend_i32_u", "add");
  w.set(hash);
  whileLeft(8, () => {
    w.get(hash);
    w.get(from);
    w.op("i64.load");
    round();
    op("xor");
    rotate(27);
    prime(1);
    op("mul");
    prime(4);
    op("add");
    w.set(hash);
  });
  whileLeft(4, () => {
    w.get(hash);
    w.get(from);
    w.op("i64.load32_u");
    prime(1);
    op("mul", "xor");
    rotate(23);
    prime(2);
    op("mul");
    prime(3);
    op("add");
    w.set(hash);
  });
  whileLeft(1, () => {
    w.get(hash);
    w.get(from);
    w.op("i64.load8_u");
    prime(5);
    op("mul", "xor");
    rotate(11);
    prime(1);
    op("mul");
    w.set(hash);
  });
  w.get(hash);
  xorShift(33);
  prime(2);
  op("mul");
  xorShift(29);
  prime(3);
  op("mul");
  xorShift(32);
  w.op("i32.wrap_i64");
  return w.finish();
}

function findFunction(): Uint8Array {
  const w = new FunctionWriter(RANGE.params);
  const [from, end] = [0, 1];
  const found = w.local("i32");
  const none = w.block();
  const again = w.loop();
  w.get(from);
  w.get(end);
  w.op("i32.ge_u");
  w.brIf(none);
  w.get(from);
  w.op("v128.load");
  w.i32(0xfe);
  w.op("i8x16.splat");
  w.op("v128.and");
  w.i32(CALL_OR_JUMP);
  w.op("i8x16.splat");
  w.op("i8x16.eq");
  w.op("i8x16.bitmask");
  w.tee(found);
  w.if();
  w.get(from);
  w.get(found);
  w.op("i32.ctz");
  w.op("i32.add");
  w.return();
  w.end();
  w.get(from);
  w.i32(16);
  w.op("i32.add");
  w.set(from);
  w.br(again);
  w.end();
  w.end();
  w.get(end);
  return w.finish();
}

function fillCrcTables(tables: Uint32Array): void {
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ POLYNOMIAL : c >>> 1;
    tables[i] = c;
  }
  // Table n: the same with n zero bytes behind.
  for (let i = 256; i < tables.length; i++) {
    const c = tables[i - 256]!;
    tables[i] = tables[c & 255]! ^ (c >>> 8);
  }
}

/** An instance with a copy of `input` and room for `outputBytes`. */
export function unpackCore(input: Uint8Array, outputBytes: number): UnpackCore {
  const output = Math.ceil((INPUT + input.length + SLACK) / PAGE) * PAGE;
  const pages = Math.ceil((output + outputBytes + SLACK) / PAGE);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const m = new ModuleWriter(pages, false, false);
  m.add(DECODE_TYPE, decodeFunction(), "decode");
  m.add(RANGE, crcFunction(), "crc32");
  m.add(RANGE, xxh64Function(), "xxh64");
  m.add(RANGE, findFunction(), "findBranch");
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.finish()), { env: { memory } });
  const bytes = new Uint8Array(memory.buffer);
  bytes.set(input, INPUT);
  fillCrcTables(new Uint32Array(memory.buffer, CRC_TABLES, CRC_STEP * 256));
  return {
    bytes,
    words: new Uint32Array(memory.buffer),
    input: INPUT,
    output,
    ...(exports as unknown as Pick<UnpackCore, "decode" | "crc32" | "xxh64" | "findBranch">),
  };
}
